"""What does `python -m imagen_host` do? The same as the command `imagen`."""

from .cli import main

raise SystemExit(main())
