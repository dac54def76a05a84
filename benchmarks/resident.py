"""How much memory does this process hold, now and at its peak?"""

from __future__ import annotations

import resource
import sys
from pathlib import Path

STATUS = Path("/proc/self/status")


def _status_mib(field: str) -> float:
    line = next(line for line in STATUS.read_text().splitlines() if line.startswith(field))
    return int(line.split()[1]) / 1024


def peak_mib() -> float:
    """Highest resident size so far. VmHWM starts anew at exec; getrusage's would include the parent that forked us."""
    if STATUS.exists():
        return _status_mib("VmHWM")
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    return peak / (2**20 if sys.platform == "darwin" else 2**10)


def resident_mib() -> float:
    """Resident size now (where the system does not say: the peak so far)."""
    return _status_mib("VmRSS") if STATUS.exists() else peak_mib()
