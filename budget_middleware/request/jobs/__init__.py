"""Work that goes on after the request that began it: what later requests and answers show of it is booked."""
