"""Tells operators: follows the journal under a lease, keeps a queue in the store, and sends it over HTTP."""
