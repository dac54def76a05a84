"""How much does the pack add to ComfyUI's start? Imports ComfyUI's modules first, then the pack as its loader does.

    COMFYUI_PATH=... python benchmarks/import_time.py [ROUNDS]

Without COMFYUI_PATH: over torch alone. Each round is a process of its own; prints the medians
of wall clock and processor time, in seconds: on a busy machine only the second means anything.
"""

from __future__ import annotations

import os
import statistics
import subprocess
import sys
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
ONCE = """
import importlib.util, os, sys, time
host, pack = os.environ.get("COMFYUI_PATH"), sys.argv[1]
import torch
if host:
    sys.path.insert(0, host)
    from comfy.cli_args import args
    args.cpu = not torch.cuda.is_available()
    import nodes, comfy.model_management, folder_paths, comfy.utils
start, start_cpu = time.perf_counter(), time.process_time()
spec = importlib.util.spec_from_file_location("pack", pack + "/__init__.py", submodule_search_locations=[pack])
module = importlib.util.module_from_spec(spec)
sys.modules["pack"] = module
spec.loader.exec_module(module)
print(time.perf_counter() - start, time.process_time() - start_cpu)
"""


def seconds() -> tuple[float, float]:
    """The pack's import time in a new process: wall clock and processor."""
    command = [sys.executable, "-c", ONCE, str(ROOT)]
    done = subprocess.run(command, cwd=ROOT.parent, check=True, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL)
    wall, processor = map(float, done.stdout.split()[-2:])
    return wall, processor


if __name__ == "__main__":
    rounds = [seconds() for _ in range(int(sys.argv[1]) if len(sys.argv) > 1 else 5)]
    over = "ComfyUI" if os.environ.get("COMFYUI_PATH") else "torch"
    wall, processor = (statistics.median(times) for times in zip(*rounds, strict=True))
    print(f"over {over}, median of {len(rounds)}: {wall:.3f} s wall clock, {processor:.3f} s processor time")
