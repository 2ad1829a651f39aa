"""Google's APIs: Gemini's content, interactions and decisions, and the older models' `:predict`."""
