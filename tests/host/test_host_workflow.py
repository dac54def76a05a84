"""Does a graph saved by the editor become the prompt that the editor itself would send?"""

import copy

import pytest
from host_graphs import Ui

from imagen_host.ui_graph import WorkflowError
from imagen_host.workflow import fits, workflow_to_prompt


@pytest.fixture
def ui(object_info):
    return Ui(object_info)


def convert(ui, object_info, **more):
    return workflow_to_prompt(ui.json(**more), object_info)


def inputs_of(ui, object_info, node):
    return convert(ui, object_info)[str(node["id"])]["inputs"]


def test_widgets_links_titles_and_order(ui, object_info):
    show, number = ui.node("Show", ["label"], title="Look"), ui.node("Number", [7])
    show["order"], number["order"] = 1, 0
    ui.link(number, show, "value")
    assert convert(ui, object_info) == {
        "2": {"class_type": "Number", "inputs": {"value": 7}, "_meta": {"title": "A Number"}},
        "1": {"class_type": "Show", "inputs": {"label": "label", "value": ["2", 0]}, "_meta": {"title": "Look"}},
    }
    assert list(convert(ui, object_info)) == ["2", "1"]


@pytest.mark.parametrize("control", ["fixed", "randomize", "increment", "decrement", "increment-wrap"])
def test_what_happens_to_a_seed_after_a_run_is_no_input(ui, object_info, control):
    node = ui.node("Seeded", [42, control, 2.5])
    assert inputs_of(ui, object_info, node) == {"seed": 42, "scale": 2.5}


def test_a_seed_saved_without_control_is_read_too(ui, object_info):
    assert inputs_of(ui, object_info, ui.node("Seeded", [42, 2.5])) == {"seed": 42, "scale": 2.5}


def test_upload_button_is_no_input(ui, object_info):
    assert inputs_of(ui, object_info, ui.node("LoadImage", ["a.png", "image"])) == {"image": "a.png"}


def test_named_values_win_over_their_order(ui, object_info):
    node = ui.node("Seeded", [1, "fixed", 1.0], widgets_values_named={"seed": 5, "scale": 0.5})
    assert inputs_of(ui, object_info, node) == {"seed": 5, "scale": 0.5}


def test_values_by_name_and_missing_values(ui, object_info):
    by_name, short = ui.node("Seeded", {"scale": 3.0}), ui.node("Choice", [])
    assert inputs_of(ui, object_info, by_name) == {"scale": 3.0, "seed": 0}
    assert inputs_of(ui, object_info, short) == {"kind": "red"}


def test_a_linked_widget_keeps_its_place_and_the_link_wins(ui, object_info):
    number, add = ui.node("Number", [1]), ui.node("Add", [2, 3])
    ui.link(number, add, "a")
    ui.link(number, add, "b")
    assert inputs_of(ui, object_info, add) == {"a": ["1", 0], "b": ["1", 0], "c": 3}


def test_a_list_value_is_wrapped_so_that_it_is_no_link(ui, object_info):
    node = ui.node("Choice", [["red", "green"]])
    assert inputs_of(ui, object_info, node) == {"kind": {"__value__": ["red", "green"]}}


def test_reroutes_primitives_and_notes_vanish(ui, object_info):
    number, first, second, add = ui.node("Number", [1]), ui.reroute(), ui.reroute(), ui.node("Add", [0, 0])
    ui.link(number, first, "")
    ui.link(first, second, "")
    ui.link(second, add, "a")
    ui.link(ui.primitive(9), add, "b")
    ui.node("Note", ["remember"])
    assert set(convert(ui, object_info)) == {"1", "4"}
    assert inputs_of(ui, object_info, add) == {"a": ["1", 0], "b": 9, "c": 0}


def test_what_a_muted_node_feeds_keeps_the_widgets_value(ui, object_info):
    number, add = ui.node("Number", [1], mode=2), ui.node("Add", [5, 0])
    ui.link(number, add, "a")
    ui.link(number, add, "b")
    assert convert(ui, object_info)["2"]["inputs"] == {"b": 5, "c": 0}


def test_a_bypassed_node_passes_on_the_input_of_the_fitting_type(ui, object_info):
    number, middle, show = ui.node("Number", [1]), ui.node("Add", [0, 0], mode=4), ui.node("Show", [""])
    ui.link(number, middle, "a")
    ui.link(middle, show, "value")
    assert inputs_of(ui, object_info, show)["value"] == ["1", 0]


def test_a_bypassed_node_without_fitting_input_passes_on_nothing(ui, object_info):
    picture, add = ui.node("Named", [1], mode=4), ui.node("Picture", [0, "fixed", 1, 8, 8, 0])
    ui.link(picture, add, "text")
    assert "text" not in inputs_of(ui, object_info, add)


def test_type_lists_overlap_and_wildcards_fit():
    assert fits("IMAGE,MASK", "mask") and fits("*", "IMAGE") and not fits("IMAGE", "MASK")


def test_links_as_objects_give_the_same_prompt(ui, object_info):
    number, show = ui.node("Number", [1]), ui.node("Show", [""])
    ui.link(number, show, "value")
    names = ("id", "origin_id", "origin_slot", "target_id", "target_slot", "type")
    objects = [dict(zip(names, link, strict=True)) for link in ui.links]
    assert convert(ui, object_info, links=objects, version=1) == convert(ui, object_info)


def subgraph(object_info):
    """A definition with input `x` (feeds Add.a) and `b` (promoted widget of Add), output Add's."""
    inside = Ui(object_info)
    add = inside.node("Add", [11, 0])
    add["inputs"][0]["link"], add["inputs"][1]["link"] = 1, 2
    add["outputs"][0]["links"] = [3]
    ends = [(1, -10, 0, 1, 0), (2, -10, 1, 1, 1), (3, 1, 0, -20, 0)]
    names = ("id", "origin_id", "origin_slot", "target_id", "target_slot")
    return {
        "id": "aaaa-bbbb",
        "nodes": inside.nodes,
        "links": [{**dict(zip(names, end, strict=True)), "type": "INT"} for end in ends],
        "inputs": [{"id": "i1", "name": "x", "type": "INT", "linkIds": [1]}, {"id": "i2", "name": "b", "linkIds": [2]}],
        "outputs": [{"id": "o1", "name": "INT", "type": "INT", "linkIds": [3]}],
        "inputNode": {"id": -10},
        "outputNode": {"id": -20},
    }


def with_instance(ui, **settings):
    number, show = ui.node("Number", [1]), ui.node("Show", [""])
    slots = [{"name": "x", "type": "INT", "link": None}, {"name": "b", "type": "INT", "widget": {}, "link": None}]
    outputs = [{"name": "INT", "type": "INT", "links": []}]
    box = ui.node("aaaa-bbbb", settings.pop("values", []), inputs=slots, outputs=outputs, **settings)
    ui.link(number, box, "x")
    ui.link(box, show, "value")
    return box


def convert_boxed(ui, object_info, definition):
    return convert(ui, object_info, definitions={"subgraphs": [definition]})


def test_a_subgraph_unfolds_with_ids_outer_inner(ui, object_info):
    with_instance(ui)
    prompt = convert_boxed(ui, object_info, subgraph(object_info))
    assert prompt["3:1"]["inputs"] == {"a": ["1", 0], "b": 11, "c": 0}
    assert prompt["2"]["inputs"]["value"] == ["3:1", 0]


@pytest.mark.parametrize("settings", [{"values": [5]}, {"widgets_values_named": {"b": 5}}, {"values": {"b": 5}}])
def test_a_promoted_widget_replaces_the_inner_value(ui, object_info, settings):
    with_instance(ui, **settings)
    assert convert_boxed(ui, object_info, subgraph(object_info))["3:1"]["inputs"]["b"] == 5


def test_a_promoted_widget_that_is_linked_takes_the_link(ui, object_info):
    box = with_instance(ui, values=[5])
    ui.link(ui.nodes[0], box, "b")
    assert convert_boxed(ui, object_info, subgraph(object_info))["3:1"]["inputs"]["b"] == ["1", 0]


@pytest.mark.parametrize("mode", [2, 4])
def test_a_muted_or_bypassed_subgraph_runs_nothing_inside(ui, object_info, mode):
    with_instance(ui, mode=mode)
    prompt = convert_boxed(ui, object_info, subgraph(object_info))
    assert set(prompt) == {"1", "2"}
    assert prompt["2"]["inputs"].get("value") == (["1", 0] if mode == 4 else None)


def test_a_subgraph_inside_a_subgraph(ui, object_info):
    inner = subgraph(object_info)
    outer = copy.deepcopy(inner) | {"id": "cccc"}
    outer["nodes"][0] |= {"type": "aaaa-bbbb", "widgets_values": [6], "inputs": outer["nodes"][0]["inputs"][:2]}
    outer["nodes"][0]["inputs"][0]["name"] = "x"
    box = with_instance(ui)
    box["type"] = "cccc"
    prompt = workflow_to_prompt(ui.json(definitions={"subgraphs": [inner, outer]}), object_info)
    assert prompt["3:1:1"]["inputs"] == {"a": ["1", 0], "b": 6, "c": 0}
    assert prompt["2"]["inputs"]["value"] == ["3:1:1", 0]


def broken_graphs():
    loop = [{"id": 1, "type": "Reroute", "inputs": [{"name": "", "type": "*", "link": 1}], "outputs": [{}]}]
    user = {"id": 2, "type": "Show", "inputs": [{"name": "value", "type": "*", "link": 2}], "outputs": []}
    box = {"id": 1, "type": "box", "inputs": [], "outputs": []}
    return {
        "unknown class 'Nope'": {"nodes": [{"id": 4, "type": "Nope"}]},
        "two nodes have the id 4": {"nodes": [{"id": 4, "type": "Note"}, {"id": "4", "type": "Note"}]},
        "without id or type": {"nodes": [{"id": 4}]},
        "malformed link": {"nodes": [], "links": [[1, 2]]},
        "links should be a list": {"nodes": [], "links": "none"},
        "link is not a number": {"nodes": [{"id": 1, "type": "Note", "inputs": [{"name": "a", "link": [1]}]}]},
        "node 9, which does not exist": {"nodes": [user], "links": [[2, 9, 0, 2, 0, "INT"]]},
        "loop of reroutes": {"nodes": [*loop, user], "links": [[1, 1, 0, 1, 0, "*"], [2, 1, 0, 2, 0, "*"]]},
        "contains itself": {"nodes": [box], "definitions": {"subgraphs": [{"id": "box", "nodes": [box]}]}},
        "no list of nodes": {"nodes": {}},
    }


@pytest.mark.parametrize("message", broken_graphs())
def test_a_broken_graph_is_named_not_crashed_on(object_info, message):
    with pytest.raises(WorkflowError, match=message):
        workflow_to_prompt(broken_graphs()[message], object_info)
