"""Databases for stores and the history: how to open one, its schema, its errors in one line. They know no budgets."""
