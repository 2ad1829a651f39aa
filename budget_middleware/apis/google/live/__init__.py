"""Gemini Live: a session on a WebSocket, each turn of which is a call."""
