"""Does every graph that was ever saved still open and run: are all recorded nodes, inputs, outputs and types there?"""

import copy

import pytest
import snapshot
from pack import NODES

NODE = "ImagenThreshold"


@pytest.fixture
def record():
    return copy.deepcopy(snapshot.read())


@pytest.fixture
def now():
    return copy.deepcopy(snapshot.current())


def test_no_saved_graph_breaks(record, now):
    assert snapshot.breaks(record, now) == []


def test_everything_new_is_recorded(record, now):
    assert snapshot.grown(record, now) == record, "run `make snapshot`, and look at what it adds"


@pytest.mark.parametrize(
    "part, change, says",
    [
        ("inputs", lambda slots: slots.pop(0), "method"),
        ("inputs", lambda slots: slots.reverse(), "was method"),
        ("inputs", lambda slots: slots[1].update(name="renamed"), "renamed"),
        ("inputs", lambda slots: slots[1].update(type="INT"), "FLOAT"),
        ("inputs", lambda slots: slots[0]["options"].remove("static"), "static"),
        ("inputs", lambda slots: slots.append({"name": "new", "type": "INT", "required": True}), "optional"),
        ("outputs", lambda slots: slots.clear(), "threshold"),
    ],
)
def test_a_break_is_named_and_allowed_only_by_a_migration(record, now, part, change, says):
    before = {each["name"] for each in now[NODE][part]}
    change(now[NODE][part])
    lines = snapshot.breaks(record, now)
    assert lines and all(line.startswith(NODE) for line in lines) and says in " ".join(lines)
    changed = before | {each["name"] for each in now[NODE][part]}
    record["migrations"] = {f"{NODE}.{name}": "a test" for name in changed}
    assert snapshot.breaks(record, now) == []


def test_a_node_that_is_gone_is_named(record, now):
    del now[NODE]
    assert snapshot.breaks(record, now) == [f"the node {NODE} is gone"]
    record["migrations"] = {NODE: "a test"}
    assert snapshot.breaks(record, now) == []


def test_an_optional_input_at_the_end_breaks_nothing_and_is_recorded(record, now):
    now[NODE]["inputs"].append({"name": "new", "type": "INT", "required": False})
    assert snapshot.breaks(record, now) == []
    added = snapshot.grown(record, now)["nodes"][NODE]["inputs"][-1]
    assert added["name"] == "new" and added["since"]


def test_seeds_say_that_the_editor_puts_a_control_behind_them():
    """It does so by the name alone; a graph that is built without that value has every later one at the wrong widget."""
    seeds = 0
    for name, node in NODES.items():
        for inputs in node.INPUT_TYPES().values():
            for key, spec in inputs.items():
                if key in ("seed", "noise_seed") and spec[0] == "INT":
                    assert spec[1].get("control_after_generate") is True, f"{name}.{key}"
                    seeds += 1
    assert seeds > 4
