"""The store of one process: tables in its memory."""
