"""One real ComfyUI for all tests of this folder; without COMFYUI_PATH they are skipped, and say so."""

import sys
from pathlib import Path

import pytest

sys.path.insert(0, str(Path(__file__).parent))
import real_server  # noqa: E402

collect_ignore = ["inside"]


@pytest.fixture(scope="session")
def server(tmp_path_factory):
    if not real_server.COMFYUI:
        pytest.skip("COMFYUI_PATH names no ComfyUI checkout")
    with real_server.comfyui(tmp_path_factory.mktemp("comfyui")) as running:
        yield running
