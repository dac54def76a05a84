"""Are subgraphs unfolded, and do the values that their instances hold reach the widgets inside, as in the editor?"""

import copy
import json

import pytest
from host_graphs import BOX, Ui, definition, instance

from imagen_host.graphs.forms import WorkflowError
from imagen_host.graphs.workflow import workflow_to_prompt

INNER = "cccc-dddd"


@pytest.fixture
def ui(object_info):
    return Ui(object_info)


@pytest.fixture
def add(object_info):
    """What is inside most subgraphs here: Add with the id 11 and the values b=3, c=4."""
    return Ui(object_info).node("Add", [3, 4], id=11)


@pytest.fixture
def seeded(object_info):
    """Another: a seed with its control, and a scale."""
    return Ui(object_info).node("Seeded", [7, "randomize", 2.0], id=11)


def convert(ui, object_info, *definitions):
    return workflow_to_prompt(ui.json(definitions={"subgraphs": list(definitions)}), object_info)


def test_a_subgraph_unfolds_with_ids_outer_inner(ui, object_info, add):
    number, box, show = ui.node("Number", [1]), instance(ui, ["a", "b"]), ui.node("Show", [""])
    ui.link(number, box, "a")
    ui.link(box, show, "value")
    prompt = convert(ui, object_info, definition(add, ["a", "b"]))
    assert prompt["2:11"]["inputs"] == {"a": ["1", 0], "b": 3, "c": 4}
    assert prompt["3"]["inputs"]["value"] == ["2:11", 0]


@pytest.mark.parametrize(
    "settings",
    [{"values": [5]}, {"values": [5], "widgets_values_named": {"b": 6}}, {"widgets_values_named": {"b": 5}},
     {"values": {"b": 5}}, {"values": [5, 99]}],
)  # fmt: skip
def test_a_promoted_widget_replaces_the_inner_value(ui, object_info, add, settings):
    instance(ui, ["a", "b"], **settings)
    assert convert(ui, object_info, definition(add, ["a", "b"]))["1:11"]["inputs"] == {"b": 5, "c": 4}


@pytest.mark.parametrize("values, expected", [([], (3, 4)), ([5], (5, 4)), ([5, 6], (5, 6)), ([None, 6], (None, 6))])
def test_values_go_to_promoted_widgets_in_the_order_of_the_inputs(ui, object_info, add, values, expected):
    box = instance(ui, ["c", "b", "a"], values)  # its own order does not count
    box["inputs"].reverse()
    inputs = convert(ui, object_info, definition(add, ["b", "a", "c"]))["1:11"]["inputs"]
    assert (inputs["b"], inputs["c"]) == expected


def test_a_promoted_widget_that_is_linked_takes_the_link(ui, object_info, add):
    box = instance(ui, ["a", "b"], [5])
    ui.link(ui.node("Number", [1]), box, "b")
    assert convert(ui, object_info, definition(add, ["a", "b"]))["1:11"]["inputs"]["b"] == ["2", 0]


@pytest.mark.parametrize("kind, mode", [("Number", 2), ("Number", 4), ("PrimitiveNode", 0)])
def test_a_promoted_widget_fed_by_nothing_that_runs_keeps_the_inner_value(ui, object_info, add, kind, mode):
    box = instance(ui, ["a", "b"], [5])
    source = ui.primitive(9) if kind == "PrimitiveNode" else ui.node("Number", [1])
    source["mode"] = mode
    ui.link(source, box, "b")
    assert convert(ui, object_info, definition(add, ["a", "b"]))["1:11"]["inputs"] == {"b": 3, "c": 4}


def test_an_input_that_feeds_a_widget_and_a_socket_gives_both_its_value(ui, object_info, add):
    box = definition(add, ["a", "b"])
    box["inputs"] = [{**box["inputs"][1], "linkIds": [100, 101]}]
    box["links"][1]["origin_slot"] = 0
    instance(ui, ["b"], [5])
    assert convert(ui, object_info, box)["1:11"]["inputs"] == {"a": 5, "b": 5, "c": 4}


def test_an_input_that_names_no_link_to_a_widget_is_no_widget(ui, object_info, add):
    box = definition(add, ["a", "b"])
    box["inputs"][1]["linkIds"] = []
    instance(ui, ["a", "b"], [5])
    assert convert(ui, object_info, box)["1:11"]["inputs"] == {"b": 3, "c": 4}


PROXIES = {  # what the instance lists and holds, and b and c of the node inside
    "direct": ([("11", "b"), ("11", "c")], [5, 6], (5, 6)),
    "reordered": ([("11", "c"), ("11", "b")], [5, 6], (6, 5)),
    "fewer values": ([("11", "c"), ("11", "b")], [5], (3, 5)),
    "one twice": ([("11", "b"), ("11", "b")], [5, 6], (6, 4)),
    "a node and a widget that are gone": ([("12", "b"), ("11", "x"), ("11", "c")], [5, 6, 7], (3, 7)),
    "a preview": ([("11", "$$canvas-image-preview"), ("11", "b")], [5, 6], (6, 4)),
    "an id before the name": ([("11", "11: b")], [5], (5, 4)),
    "numbers for ids": ([(11, "b")], [5], (3, 4)),
    "null": ([("11", "b")], [None], (None, 4)),
}


@pytest.mark.parametrize("case", PROXIES)
def test_widgets_that_an_older_editor_lists(ui, object_info, add, case):
    proxies, values, expected = PROXIES[case]
    instance(ui, ["a"], values, proxies)
    inputs = convert(ui, object_info, definition(add, ["a"]))["1:11"]["inputs"]
    assert (inputs["b"], inputs["c"]) == expected


@pytest.mark.parametrize("proxies, expected", [([("11", "c"), ("11", "b")], (6, 5)), ([("-1", "c"), ("-1", "b")], (6, 5)),
                                               ([("11", "c")], (5, 5))])  # fmt: skip
def test_listed_widgets_that_inputs_lead_to(ui, object_info, add, proxies, expected):
    instance(ui, ["b", "c"], [5, 6][: len(proxies)], proxies)
    inputs = convert(ui, object_info, definition(add, ["b", "c"]))["1:11"]["inputs"]
    assert (inputs["b"], inputs["c"]) == expected


def test_the_list_may_be_json_in_a_text(ui, object_info, add):
    box = instance(ui, ["a"], [5])
    box["properties"]["proxyWidgets"] = json.dumps([["11", "b"]])
    assert convert(ui, object_info, definition(add, ["a"]))["1:11"]["inputs"]["b"] == 5


def test_a_listed_control_of_a_seed_has_a_value_and_no_input(ui, object_info, seeded):
    instance(ui, [], [42, "fixed", 3.0], [("11", "seed"), ("11", "control_after_generate"), ("11", "scale")])
    assert convert(ui, object_info, definition(seeded, []))["1:11"]["inputs"] == {"seed": 42, "scale": 3.0}


def test_each_instance_has_its_own_values(ui, object_info, add):
    instance(ui, ["a"], [5, 6], [("11", "b"), ("11", "c")])
    instance(ui, ["a"], [7], [("11", "c")])
    instance(ui, ["a"])
    prompt = convert(ui, object_info, definition(add, ["a"]))
    assert [(prompt[key]["inputs"]["b"], prompt[key]["inputs"]["c"]) for key in ("1:11", "2:11", "3:11")] == [
        (5, 6), (3, 7), (3, 4)
    ]  # fmt: skip


def nested(object_info, add, inner_values, inner_proxies):
    """The subgraph Box holds an instance, with the id 12, of the subgraph Inner, which holds the node 11."""
    middle = instance(Ui(object_info), ["a"], inner_values, inner_proxies, INNER, id=12)
    return definition(middle, ["a"], first=200), definition(add, ["a"], key=INNER)


@pytest.mark.parametrize(
    "proxies, values, expected",
    [(None, None, (5, 6)), ([("12", "c")], [8], (5, 8)), ([("12", "11: c"), ("12", "b")], [8, 9], (9, 8)),
     ([("12", "c", "11")], [8], (5, 8)), ([("12", "x")], [8], (5, 6))],
)  # fmt: skip
def test_values_of_an_instance_inside_a_subgraph(ui, object_info, add, proxies, values, expected):
    instance(ui, ["a"], values, proxies)
    definitions = nested(object_info, add, [5, 6], [("11", "b"), ("11", "c")])
    inputs = convert(ui, object_info, *definitions)["1:12:11"]["inputs"]
    assert (inputs["b"], inputs["c"]) == expected


def test_definitions_inside_definitions_are_found(ui, object_info, add):
    outer, inner = nested(object_info, add, [5], [("11", "b")])
    instance(ui, ["a"])
    prompt = convert(ui, object_info, {**outer, "definitions": {"subgraphs": [inner]}})
    assert prompt["1:12:11"]["inputs"]["b"] == 5


@pytest.mark.parametrize("values, expected", [([5], 5), ([], 9)])
def test_a_listed_primitive_inside_gives_way_to_the_instances_value(ui, object_info, add, values, expected):
    inside = Ui(object_info)
    primitive = inside.primitive(9)
    primitive["id"] = 21
    box = definition(add, ["a"])
    box["nodes"].append(primitive)
    box["links"].append(
        {"id": 150, "origin_id": 21, "origin_slot": 0, "target_id": 11, "target_slot": 1, "type": "INT"}
    )
    add["inputs"][1]["link"] = 150
    instance(ui, ["a"], values, [("21", "value")] if values else None)
    assert convert(ui, object_info, box)["1:11"]["inputs"]["b"] == expected


@pytest.mark.parametrize("mode", [2, 4])
def test_a_muted_or_bypassed_instance_runs_nothing_inside(ui, object_info, add, mode):
    number, box, show = ui.node("Number", [1]), instance(ui, ["a"], mode=mode), ui.node("Show", [""])
    ui.link(number, box, "a")
    ui.link(box, show, "value")
    prompt = convert(ui, object_info, definition(add, ["a"]))
    assert set(prompt) == {"1", "3"}
    assert prompt["3"]["inputs"].get("value") == (["1", 0] if mode == 4 else None)


def test_a_node_inside_whose_id_is_taken_gets_the_next_free_one(ui, object_info, add):
    ui.node("Number", [1], id=11)
    instance(ui, ["a"], [5], [("11", "b")])
    prompt = convert(ui, object_info, definition(add, ["a"]))
    assert set(prompt) == {"11", "2:1"}  # as no `last_node_id` says otherwise
    assert prompt["2:1"]["inputs"] == {"b": 5, "c": 4}


def test_a_subgraph_that_passes_its_input_on(ui, object_info):
    number, box, show = ui.node("Number", [1]), instance(ui, ["x"]), ui.node("Show", [""])
    ui.link(number, box, "x")
    ui.link(box, show, "value")
    through = definition({"id": 11, "type": "Note", "inputs": []}, [])
    through["inputs"] = [{"name": "x", "type": "INT", "linkIds": [100]}]
    through["links"] = [{"id": 100, "origin_id": -10, "origin_slot": 0, "target_id": -20, "target_slot": 0}]
    assert convert(ui, object_info, through)["3"]["inputs"]["value"] == ["1", 0]


def test_subgraphs_that_hold_each_other_or_too_many_are_refused(ui, object_info, add):
    one, other = nested(object_info, add, [], None)
    instance(ui, ["a"])
    other["nodes"].append({"id": 40, "type": BOX})
    with pytest.raises(WorkflowError, match="node 40: the subgraph aaaa-bbbb contains itself"):
        convert(ui, object_info, one, other)
    doubling = [
        {"id": f"d{i}", "nodes": [{"id": 100 + 2 * i + j, "type": f"d{i + 1}"} for j in (0, 1)]} for i in range(30)
    ]
    ui.nodes = [{"id": 1, "type": "d0"}]
    last = copy.deepcopy(definition(add, [], key="d30"))
    with pytest.raises(WorkflowError, match="unfold into more than"):
        convert(ui, object_info, *doubling, last)
