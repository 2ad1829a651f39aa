"""Where a request goes: the readings of its path, the model that it names, and what costs nothing."""
