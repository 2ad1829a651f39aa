"""The pure core: no I/O, no clock, no async, no logging; state and time in, values out."""
