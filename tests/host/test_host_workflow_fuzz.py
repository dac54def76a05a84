"""Does every broken workflow end as a prompt or in one line that a person can read?

`IMAGEN_FUZZ=20000 pytest tests/host/test_host_workflow_fuzz.py -s` tries more, and says how many ended in what.
"""

import collections
import json
import os
import random
import re
import warnings
from pathlib import Path

import pytest
from hypothesis import HealthCheck, Phase, given, settings
from hypothesis import strategies as st
from mutations import Bases, as_bytes, broken

from imagen_host.graphs import overrides
from imagen_host.graphs.forms import WorkflowError
from imagen_host.graphs.reading import missing_classes, read_workflow
from imagen_host.registry import load_registry
from imagen_host.terminal import explain
from imagen_host.validation import form_error, validate

ROOT = Path(__file__).resolve().parents[2]
EXAMPLES = int(os.environ.get("IMAGEN_FUZZ", 300))
PYTHON = re.compile(r"Traceback|object at 0x|\b[A-Z][a-z]+\w*(?:Error|Exception)\b|NoneType|<class")
FIXED = settings(
    max_examples=EXAMPLES,
    derandomize=True,
    deadline=None,
    database=None,
    phases=[Phase.generate],  # a smaller seed is no simpler workflow
    suppress_health_check=list(HealthCheck),
)
SEEN = collections.Counter()


@pytest.fixture(scope="module")
def bases(object_info):
    return Bases(object_info).all


@pytest.fixture(scope="module", autouse=True)
def counted():
    yield
    print("\nfuzzed workflows:", dict(SEEN))


def check_line(text):
    assert text and len(text.splitlines()) == 1, text
    assert not PYTHON.search(text), text
    assert len(text) < 1000, text
    text.encode("utf-8", "backslashreplace")


def check_lines(lines):
    for line in lines:
        check_line(line)


def run(path, data, registry, object_info):
    """What `imagen convert` and `imagen run` do before anything runs; returns how it ended."""
    path.write_bytes(data)
    try:
        loaded = read_workflow(path, object_info)
    except WorkflowError as error:
        check_line(str(error))
        return "refused"
    json.dumps(loaded.prompt)
    error = form_error(loaded.prompt, registry)
    if error is not None:
        check_line(error["message"])
        return "no prompt"
    try:
        changes = overrides.plan(loaded.prompt, registry.node_classes(), seed=3)
    except WorkflowError as error:
        check_line(str(error))
        changes = []
    if loaded.ui is not None:
        json.dumps(overrides.apply_to_ui(loaded.ui, changes, object_info))
    overrides.apply(loaded.prompt, changes, loaded.names)
    checked = validate(loaded.prompt, registry)
    check_lines(explain(checked, loaded.prompt))
    return "prompt" if checked.outputs else "refused by a node"


@pytest.fixture(scope="module")
def pack():
    """The pack's own classes, as far as they are here, and the shipped workflows in both forms."""
    registry = load_registry(ROOT)
    info = registry.object_info()
    paths = [
        path for path in sorted((ROOT / "workflows").glob("*.json")) if not missing_classes(path, registry.classes)
    ]
    return (
        registry,
        info,
        [json.loads(p.read_bytes()) for path in paths for p in (path, path.parent / "api" / path.name)],
    )


@settings(FIXED, max_examples=max(EXAMPLES // 2, 1))
@given(seed=st.integers(0, 2**32))
def test_a_broken_shipped_workflow_is_read_or_refused_in_a_line(tmp_path, pack, seed):
    registry, info, workflows = pack
    chance = random.Random(seed)
    data = broken(chance.choice(workflows), chance)
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        SEEN["shipped: " + run(tmp_path / "broken", json.dumps(data).encode(), registry, info)] += 1
    check_lines(str(item.message) for item in caught)


@FIXED
@given(seed=st.integers(0, 2**32))
def test_a_broken_workflow_is_read_or_refused_in_a_line(tmp_path, bases, registry, object_info, seed):
    chance = random.Random(seed)
    data = broken(chance.choice(bases), chance)
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        ended = run(tmp_path / "broken", as_bytes(data, chance), registry, object_info)
    check_lines(str(item.message) for item in caught)
    SEEN[ended] += 1


@settings(FIXED, max_examples=max(EXAMPLES // 5, 1))
@given(
    data=st.recursive(
        st.none() | st.booleans() | st.integers() | st.floats() | st.text(),
        lambda inner: (
            st.lists(inner)
            | st.dictionaries(
                st.sampled_from(["nodes", "links", "id", "type", "inputs", "prompt", "workflow", "class_type"]), inner
            )
        ),
    )
)
def test_any_json_is_read_or_refused_in_a_line(tmp_path, registry, object_info, data):
    SEEN["any: " + run(tmp_path / "any.json", json.dumps(data).encode(), registry, object_info)] += 1


def test_whole_workflows_are_read(tmp_path, bases, registry, object_info):
    assert {run(tmp_path / "whole", json.dumps(base).encode(), registry, object_info) for base in bases} == {"prompt"}
