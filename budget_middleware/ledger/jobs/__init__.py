"""Jobs: work that goes on long after the request that began it. See `tickets`."""
