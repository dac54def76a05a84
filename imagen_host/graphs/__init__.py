"""How is a saved graph read as the editor reads it? `reading.read_prompt` is the way in; one file a kind of oddity."""
