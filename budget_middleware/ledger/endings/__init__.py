"""Endings: sent until the store has answered; what is owed meanwhile, in memory and on disk. See `endings`."""
