"""How does a test run a program in two processes that know of each other? By torchrun, on this machine."""

from __future__ import annotations

import os
import subprocess
import sys


def by_two(*command: str) -> str:
    """What they printed, the command's own exit status checked."""
    around = {**os.environ, "OMP_NUM_THREADS": "1", "PYTHONPATH": os.pathsep.join(p for p in sys.path if p)}
    torchrun = [sys.executable, "-m", "torch.distributed.run", "--standalone", "--nproc-per-node", "2"]
    done = subprocess.run([*torchrun, *command], capture_output=True, text=True, env=around, timeout=300)
    assert done.returncode == 0, done.stderr
    return done.stdout
