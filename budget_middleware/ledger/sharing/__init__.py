"""What a worker shares through the store beside its verbs: lessons, notes and refusals. No request waits for it."""
