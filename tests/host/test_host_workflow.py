"""Does a graph saved by the editor become the prompt that the editor itself would send?"""

import pytest
from host_graphs import Ui

from imagen_host.graphs.bypass import fits
from imagen_host.graphs.forms import WorkflowError
from imagen_host.graphs.workflow import workflow_to_prompt


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


@pytest.mark.parametrize(
    "control", ["fixed", "randomize", "increment", "decrement", "increment-wrap", True, False, None]
)
def test_what_happens_to_a_seed_after_a_run_is_no_input(ui, object_info, control):
    node = ui.node("Seeded", [42, control, 2.5])
    assert inputs_of(ui, object_info, node) == {"seed": 42, "scale": 2.5}


def test_a_seed_saved_without_control_is_read_too(ui, object_info):
    assert inputs_of(ui, object_info, ui.node("Seeded", [42, 2.5])) == {"seed": 42, "scale": 2.5}


def test_upload_button_is_no_input(ui, object_info):
    assert inputs_of(ui, object_info, ui.node("LoadImage", ["a.png", "image"])) == {"image": "a.png"}


def test_listed_values_win_over_named_ones(ui, object_info):
    node = ui.node("Seeded", [1, "fixed", 1.0], widgets_values_named={"seed": 5, "scale": 0.5})
    assert inputs_of(ui, object_info, node) == {"seed": 1, "scale": 1.0}
    fewer = ui.node("Seeded", [1, "fixed", 2.0], widgets_values_named={"seed": 5})
    assert inputs_of(ui, object_info, fewer) == {"seed": 1, "scale": 2.0}
    short = ui.node("Seeded", [1], widgets_values_named={"seed": 5, "scale": 0.5})
    assert inputs_of(ui, object_info, short) == {"seed": 1, "scale": 1.0}


def test_values_by_name_and_missing_values(ui, object_info):
    by_name, short = ui.node("Seeded", {"scale": 3.0}), ui.node("Choice", [])
    assert inputs_of(ui, object_info, by_name) == {"scale": 3.0, "seed": 0}
    assert inputs_of(ui, object_info, short) == {"kind": "red"}
    only_named = ui.node("Seeded", None, widgets_values_named={"seed": 5})
    assert inputs_of(ui, object_info, only_named) == {"seed": 5, "scale": 1.0}


def test_a_choice_saved_as_null_is_the_first_one(ui, object_info):
    assert inputs_of(ui, object_info, ui.node("Choice", [None])) == {"kind": "red"}


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


@pytest.mark.parametrize("mode", [0, 2, 4])
def test_a_primitive_gives_its_value_in_any_mode(ui, object_info, mode):
    add, primitive = ui.node("Add", [5, 6]), ui.primitive(9)
    primitive["mode"] = mode
    ui.link(primitive, add, "b")
    assert inputs_of(ui, object_info, add) == {"b": 9, "c": 6}


@pytest.mark.parametrize("value, expected", [(900, 100), (-7, 0), (2.5, 3), (None, 0), ("x", "x")])
def test_a_primitives_number_is_fitted_to_its_targets_limits(ui, object_info, value, expected):
    add = ui.node("Add", [5, 6])
    ui.link(ui.primitive(value), add, "b")
    assert inputs_of(ui, object_info, add) == {"b": expected, "c": 6}


def test_a_primitive_without_value_or_of_another_type_shows_its_first_targets(ui, object_info):
    add, bare, other = ui.node("Add", [5, 6]), ui.primitive(9), ui.primitive("x", "STRING")
    bare["widgets_values"] = None
    ui.link(bare, add, "b")
    ui.link(other, add, "c")
    assert inputs_of(ui, object_info, add) == {"b": 5, "c": 6}


def test_a_primitive_reaches_only_the_widgets_it_is_joined_to(ui, object_info):
    add, primitive, reroute = ui.node("Add", [5, 6]), ui.primitive(9), ui.reroute()
    ui.link(primitive, reroute, "")
    ui.link(reroute, add, "b")
    ui.link(primitive, add, "a")  # a socket, and no widget
    assert inputs_of(ui, object_info, add) == {"b": 5, "c": 6}


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
        "link should be a whole number": {"nodes": [{"id": 1, "type": "Note", "inputs": [{"name": "a", "link": [1]}]}]},
        "node 9, which does not exist": {"nodes": [user], "links": [[2, 9, 0, 2, 0, "INT"]]},
        "loop of reroutes": {"nodes": [*loop, user], "links": [[1, 1, 0, 1, 0, "*"], [2, 1, 0, 2, 0, "*"]]},
        "contains itself": {"nodes": [box], "definitions": {"subgraphs": [{"id": "box", "nodes": [box]}]}},
        "no list of nodes": {"nodes": {}},
    }


@pytest.mark.parametrize("message", broken_graphs())
def test_a_broken_graph_is_named_not_crashed_on(object_info, message):
    with pytest.raises(WorkflowError, match=message):
        workflow_to_prompt(broken_graphs()[message], object_info)
