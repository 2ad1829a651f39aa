"""What an answer is billed at, by whom it has answered, and what operators are told of that."""
