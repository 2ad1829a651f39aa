"""What operators ask of a ledger, as functions that return values: no printing, no HTTP, no exit codes."""
