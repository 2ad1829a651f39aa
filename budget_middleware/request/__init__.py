"""One metered request, from its body to its one ending: what happens between the server and the app."""
