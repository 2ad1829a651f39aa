"""An answer on its way to the client: its facts are gathered, its bytes go on."""
