"""OpenAI's sessions on a WebSocket that are billed by what is said or by their time: realtime, translations, live."""
