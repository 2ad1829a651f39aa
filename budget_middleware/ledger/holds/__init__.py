"""Holds of this process: what their owners see, how they grow with an answer, and how long they live."""
