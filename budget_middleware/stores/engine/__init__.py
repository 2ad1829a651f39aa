"""The verbs of stores over tables: the core's rules, in one transaction. See `engine` for its theory of operation."""
