"""WebSockets on which clients ask for calls: each call is admitted, followed and ended like a request of its own."""
