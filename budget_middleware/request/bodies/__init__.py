"""What a client has sent: read once, in bounded room and time, and what the app gets in its place."""
