"""Which prompts wait, which one runs, and what became of those that ended? Knows no server: whoever listens is told."""
