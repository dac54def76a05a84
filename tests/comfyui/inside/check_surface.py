"""Is every name of ComfyUI's that the pack leans on there, and does it take what we give it?"""

import importlib
import inspect
import sys
from pathlib import Path

import pytest

sys.path.insert(0, str(Path(__file__).resolve().parents[2] / "nodes"))
import host_surface

LEANED = [
    (owner, name, keywords)
    for table in (host_surface.NAMES, host_surface.ATTRIBUTES)
    for owner, names in table.items()
    for name, keywords in names.items()
]


def found(dotted):
    """The module or class of that name."""
    try:
        return importlib.import_module(dotted)
    except ModuleNotFoundError:
        owner, _, name = dotted.rpartition(".")
        return getattr(found(owner), name)


@pytest.mark.parametrize("owner, name, keywords", LEANED, ids=lambda part: part if isinstance(part, str) else "")
def test_it_is_there_and_takes_what_we_give_it(owner, name, keywords):
    here = getattr(found(owner), name)
    if keywords is not None:
        taken = inspect.signature(here).parameters
        anything = any(each.kind is inspect.Parameter.VAR_KEYWORD for each in taken.values())
        assert anything or set(keywords) <= set(taken)
