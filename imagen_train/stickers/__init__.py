"""What does imagen-mini's open vocabulary learn from? Openly licensed drawings of named things, composed into scenes."""
