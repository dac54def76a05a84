"""Lets the tests of this folder be coroutines and import server_client.py beside them."""

import asyncio
import inspect
import sys
from pathlib import Path

import pytest

sys.path.insert(0, str(Path(__file__).parent))


@pytest.hookimpl(tryfirst=True)
def pytest_pyfunc_call(pyfuncitem):
    if not inspect.iscoroutinefunction(pyfuncitem.obj):
        return None
    names = pyfuncitem._fixtureinfo.argnames
    asyncio.run(asyncio.wait_for(pyfuncitem.obj(**{name: pyfuncitem.funcargs[name] for name in names}), timeout=600))
    return True


@pytest.fixture
def server(registry, host, flow, tmp_path):
    """What `server_client.running` needs to start a server in this test's folders."""
    (tmp_path / "frontend").mkdir()
    (tmp_path / "frontend" / "index.html").write_text("<!doctype html><title>editor</title>")
    return {
        "registry": registry,
        "host": host,
        "pack": Path(__file__).parents[1] / "tiny_pack",
        "user_directory": tmp_path / "user",
        "frontend": tmp_path / "frontend",
    }
