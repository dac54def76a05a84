"""How do stages get on and off the disk? One file a format."""
