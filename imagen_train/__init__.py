"""What does it take to train imagen-mini: captioned scenes, datasets, losses, the loop, metrics."""
