"""What tells how likely a noisy picture shows something? Noisy classifiers, which guide (guidance/classifier.py)."""
