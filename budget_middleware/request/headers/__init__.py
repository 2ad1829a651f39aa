"""What clients are told of their budgets: by a refusal, and by the headers of an answer."""
