"""What each API says of a call, its answer and its sessions, in one vocabulary: what the request layer knows."""
