"""A durable history of ledgers: what their journals said, in a database, for as long as one wants."""
