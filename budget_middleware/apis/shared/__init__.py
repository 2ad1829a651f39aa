"""What dialects share: JSON in and out, usage under OpenAI's names, errors of both sides, tools, clamped outputs."""
