"""One real ComfyUI for all tests of this folder; without COMFYUI_PATH they are skipped, and say so."""

import os
import re
import subprocess
import sys
from pathlib import Path

import pytest

sys.path.insert(0, str(Path(__file__).parent))
import real_server

collect_ignore = ["inside"]


def pytest_collection_modifyitems(items):
    """ComfyUI is GPL-3, in no registry of packages, and so never installed by the tests themselves."""
    if not real_server.COMFYUI:
        here = Path(__file__).parent
        for item in items:
            if here in item.path.parents:
                item.add_marker(pytest.mark.skip(reason="COMFYUI_PATH names no ComfyUI checkout"))


@pytest.fixture(scope="session")
def server(tmp_path_factory):
    with real_server.comfyui(tmp_path_factory.mktemp("comfyui")) as running:
        yield running


@pytest.fixture(scope="session")
def ours(tmp_path_factory):
    """The address of an `imagen serve`."""
    folder = tmp_path_factory.mktemp("imagen_serve")
    (folder / "index.html").write_text("<!doctype html>")
    command = [sys.executable, "-m", "imagen_host", "serve", "--no-open", "--port", "0", "--frontend", "."]
    environment = {**os.environ, "PYTHONPATH": str(real_server.ROOT)}
    process = subprocess.Popen(command, cwd=folder, env=environment, stdout=subprocess.PIPE, text=True)
    try:
        yield re.search(r"http://\S+", process.stdout.readline())[0]
    finally:
        process.terminate()
        process.wait(20)
        process.stdout.close()
