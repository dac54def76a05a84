"""What does `python -m imagen_train` do? The training commands."""

import sys

from .cli import main

if __name__ == "__main__":
    sys.exit(main())
