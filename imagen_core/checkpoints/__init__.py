"""How do networks get on and off the disk? `readers/` has one file a format, the rest is what they share."""
