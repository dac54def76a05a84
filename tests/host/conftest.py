"""Lets the tests of this folder import host_graphs.py beside them, and loads the test pack."""

import sys
from pathlib import Path

import pytest

sys.path.insert(0, str(Path(__file__).parent))

from host_graphs import PACK

from imagen_host.execution.engine import Engine
from imagen_host.registry import load_registry
from imagen_host.runtime import Runtime


@pytest.fixture(scope="session")
def registry():
    return load_registry(PACK)


@pytest.fixture(scope="session")
def object_info(registry):
    return registry.object_info()


@pytest.fixture
def flow(registry):
    """The module of the pack's flow nodes, with its records empty."""
    module = sys.modules[registry.classes["Number"].run.__module__]
    module.CALLS.clear()
    module.STATE["version"] = 0
    return module


@pytest.fixture
def host(tmp_path):
    return Runtime(
        input_directories=[tmp_path / "input"], output_directory=tmp_path / "out", temp_directory=tmp_path / "temp"
    )


@pytest.fixture
def events():
    return []


@pytest.fixture
def engine(registry, host, events):
    return Engine(registry, host, on_event=lambda kind, data: events.append((kind, data)))
