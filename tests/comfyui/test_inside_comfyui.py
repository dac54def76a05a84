"""Do the nodes for ComfyUI's own MODEL hold inside ComfyUI? Runs inside/check_*.py in a process of its own.

A process of its own, because ComfyUI's top-level modules (nodes, server, utils) would shadow other tests'.
COMFYUI_PATH: a checkout; COMFYUI_PYTHON: its interpreter, when that is not this one.
"""

import os
import subprocess
import sys
from pathlib import Path

import pytest

HERE = Path(__file__).resolve().parent
COMFYUI = os.environ.get("COMFYUI_PATH")


@pytest.mark.parametrize("part", sorted(path.stem for path in HERE.glob("inside/check_*.py")))
def test_inside(part):
    python = os.environ.get("COMFYUI_PYTHON", sys.executable)
    options = ["--import-mode=importlib", "-p", "no:cacheprovider", "-q", "-c", os.devnull, "--rootdir", str(HERE)]
    command = [python, "-m", "pytest", *options, str(HERE / "inside" / f"{part}.py")]
    done = subprocess.run(command, cwd=COMFYUI, capture_output=True, text=True, timeout=1800)
    assert done.returncode == 0, done.stdout + done.stderr
