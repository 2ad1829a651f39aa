"""Stores over databases: the engine's tables as rows, and the drivers that bring them there."""
