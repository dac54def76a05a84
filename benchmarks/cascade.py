"""How long does the first picture at 1024 px take, and how much memory? Prints one line of JSON; imports no torch.

The whole of `imagen run text_to_image_1024` in a process of its own: start, weights, text, three stages, PNG.
"""

from __future__ import annotations

import argparse
import json
import os
import subprocess
import sys
import tempfile
import time
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]
WEIGHTS = ROOT / "models" / "imagen-mini"
STAGES = ("things64", "sr256", "sr1024")
PROMPT = "a 3D emoji of a red fox on a pink background"
COMMAND = [sys.executable, "-m", "imagen_host", "run", "text_to_image_1024", "--quiet", "--prompt", PROMPT]


def first_picture(threads: int, folder: str) -> dict[str, float]:
    """Wall seconds and peak MiB of one run; SystemExit when it failed."""
    environment = os.environ | {"OMP_NUM_THREADS": str(threads), "PYTHONPATH": str(ROOT)}
    command = [*COMMAND, "--out", folder]
    start = time.perf_counter()
    child = subprocess.Popen(command, cwd=ROOT, env=environment, stdout=sys.stderr)
    _, status, usage = os.wait4(child.pid, 0)
    seconds = time.perf_counter() - start
    if os.waitstatus_to_exitcode(status) or not list(Path(folder).rglob("*.png")):
        raise SystemExit(f"{' '.join(command)} did not draw a picture; run it by hand to see why")
    return {"seconds": seconds, "peak_mib": usage.ru_maxrss / (2**20 if sys.platform == "darwin" else 2**10)}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--threads", type=int, default=2)
    threads = parser.parse_args().threads
    missing = [name for name in STAGES if not (WEIGHTS / f"{name}.safetensors").exists()]
    if missing:
        print(json.dumps({"missing": f"not measured: {WEIGHTS.relative_to(ROOT)} lacks {', '.join(missing)}"}))
        return
    with tempfile.TemporaryDirectory() as folder:
        print(json.dumps(first_picture(threads, folder)))


if __name__ == "__main__":
    main()
