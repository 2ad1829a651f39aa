"""Work that goes on after the answer: what creates it, what it plans, and how it stands with it later."""
