"""CLIP (arXiv 2103.00020): two towers that bring pictures and sentences into one space; nothing is imported here."""
