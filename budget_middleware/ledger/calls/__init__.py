"""A call of the store: tried again, spared in an outage, timed, and seen in a span. See `verb_call`."""
