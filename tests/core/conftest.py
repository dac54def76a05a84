"""Where do the core tests find what they share? Beside themselves: the modules here that are no tests."""

import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parent))
