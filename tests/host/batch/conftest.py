"""Lets the tests of this folder import batch_graphs.py beside them, and work in a folder of their own with the tiny pack."""

import sys
from pathlib import Path

import pytest

sys.path.insert(0, str(Path(__file__).parent))

from host_graphs import PACK


@pytest.fixture(autouse=True)
def workplace(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("IMAGEN_PACK", str(PACK))
    return tmp_path
