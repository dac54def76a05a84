"""Runs ComfyUI's own execution tests against the embedded host, and prints how many pass.

    python tests/host/comfy_execution/run.py COMFYUI_PATH [pytest options, such as -k async]

COMFYUI_PATH is a checkout of ComfyUI (0.33 was tried), of which nothing is copied and nothing but its tests, their nodes
and the writer of graphs that these use is run. The tests start a `main.py`; here it is the one beside this file. Only one
of their cache settings applies to this host (classic). Needs `pip install websocket-client`.
"""

import argparse
import os
import subprocess
import sys
import tempfile
from pathlib import Path

HERE = Path(__file__).resolve().parent
FILES = ("test_execution.py", "test_async_nodes.py", "test_public_api.py", "test_progress_isolation.py")
OTHER_CACHES = "not server1 and not server2"


def main() -> int:
    parser = argparse.ArgumentParser(description="Runs ComfyUI's execution tests against the embedded host.")
    parser.add_argument("checkout", type=Path, metavar="COMFYUI_PATH")
    parser.add_argument("--port", default="8210")
    options, more = parser.parse_known_args()
    checkout = options.checkout.resolve()
    tests = checkout / "tests" / "execution"
    if not tests.is_dir():
        parser.error(f"no folder tests/execution in {checkout}: name a checkout of ComfyUI")
    with tempfile.TemporaryDirectory(prefix="imagen-") as folder:
        python = Path(folder, "bin", "python")  # the tests start `python main.py` in the working folder
        python.parent.mkdir()
        python.write_text(f'#!/bin/sh\nexec "{sys.executable}" "$@"\n')
        python.chmod(0o755)
        Path(folder, "main.py").symlink_to(HERE / "main.py")
        environment = os.environ | {
            "PATH": f"{python.parent}{os.pathsep}{os.environ.get('PATH', '')}",
            "PYTHONPATH": str(HERE.parents[2]),
            "PYTHONDONTWRITEBYTECODE": "1",
            "COMFYUI_PATH": str(checkout),
            "IMAGEN_PACK": str(tests / "testing_nodes" / "testing-pack"),
        }
        command = [sys.executable, "-m", "pytest", "-c", str(checkout / "pytest.ini"), "--rootdir", str(checkout)]
        command += [
            "-q",
            "-o",
            "addopts=",
            "-p",
            "no:cacheprovider",
            "--output_dir",
            str(Path(folder, "output")),
            "--port",
            options.port,
        ]
        command += ["-k", OTHER_CACHES, *more, *(str(tests / name) for name in FILES)]
        return subprocess.run(command, cwd=folder, env=environment, check=False).returncode


if __name__ == "__main__":
    sys.exit(main())
