"""Windows of budgets, replayed with the calls of traces through the memory store."""
