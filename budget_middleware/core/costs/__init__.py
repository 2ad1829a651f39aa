"""What a call may cost, what it has cost, what is booked of that, and its bill."""
