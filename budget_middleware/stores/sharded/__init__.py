"""A store over the shards of one ledger. See `store` for its theory of operation."""
