"""Which limits bind a request, by what the store says of them, and in which counters they are kept."""
