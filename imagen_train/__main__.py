"""What does `python -m imagen_train` do? The training commands."""

import sys

from .cli import main

if __name__ == "__main__":
    try:
        sys.exit(main())
    except (ValueError, OSError) as error:  # what was asked for cannot be: a line, as of `imagen train`
        print(f"error: {error}", file=sys.stderr)
        sys.exit(2)
