"""Are the group nodes of old graphs opened as the editor opens them?"""

import copy

import pytest
from host_graphs import Ui

from imagen_host.graphs import overrides
from imagen_host.graphs.forms import WorkflowError
from imagen_host.graphs.workflow import workflow_to_prompt

KIND = "workflow>both"


@pytest.fixture
def ui(object_info):
    return Ui(object_info)


@pytest.fixture
def group(object_info):
    """Seeded feeds Add.a; Add's output leaves the group."""
    inside = Ui(object_info)
    inside.node("Seeded", [1, "fixed", 2.0])
    inside.node("Add", [3, 4])
    return {"nodes": inside.nodes, "links": [[0, 0, 1, 0, 1, "INT"]], "external": []}


def without_slots(group):
    """As older editors saved it: widgets have no input slots."""
    for node in group["nodes"]:
        node["inputs"] = [slot for slot in node["inputs"] if "widget" not in slot]
    return group


def box(ui, values, inputs=(), kind=KIND, **settings):
    slots = [{"name": name, "type": "INT", "link": None, "widget": {"name": name}} for name in inputs]
    outputs = [{"name": "INT", "type": "INT", "links": []}]
    return ui.node(kind, values, inputs=slots, outputs=outputs, **settings)


def convert(ui, object_info, **groups):
    return workflow_to_prompt(ui.json(extra={"groupNodes": groups}), object_info)


VALUES = [7, "randomize", 2.5, 8, 9]  # seed and its control, scale, b, c


@pytest.mark.parametrize("kind", [KIND, "workflow/both"])
@pytest.mark.parametrize("mode", [0, 2])  # as in the newest editor, which opens muted ones, too
def test_a_group_is_opened_with_its_values_and_the_next_free_ids(ui, object_info, group, kind, mode):
    ui.link(box(ui, VALUES, kind=kind, mode=mode), ui.node("Show", [""]), "value")
    prompt = convert(ui, object_info, both=group)
    assert prompt["5:3"]["inputs"] == {"seed": 7, "scale": 2.5}
    assert prompt["5:4"]["inputs"] == {"a": ["5:3", 0], "b": 8, "c": 9}
    assert prompt["2"]["inputs"]["value"] == ["5:4", 0]
    assert set(prompt) == {"2", "5:3", "5:4"}


def test_ids_follow_the_highest_that_was_ever_given(ui, object_info, group):
    box(ui, VALUES)
    graph = ui.json(extra={"groupNodes": {"both": group}}, last_node_id=40)
    assert set(workflow_to_prompt(graph, object_info)) == {"43:41", "43:42"}


def test_each_node_of_a_group_has_its_own_values(ui, object_info, group):
    box(ui, VALUES)
    box(ui, [17, "fixed", 3.5, 18, 19])
    prompt = convert(ui, object_info, both=without_slots(group))
    assert prompt["5:3"]["inputs"]["seed"] == 7 and prompt["8:6"]["inputs"]["seed"] == 17
    assert prompt["8:7"]["inputs"] == {"a": ["8:6", 0], "b": 18, "c": 19}


def test_values_that_are_missing_are_the_classes_defaults(ui, object_info, group):
    box(ui, [])
    prompt = convert(ui, object_info, both=group)
    assert prompt["4:2"]["inputs"] == {"seed": 0, "scale": 1.0}
    assert prompt["4:3"]["inputs"] == {"a": ["4:2", 0], "b": 1, "c": 1}


def test_what_is_linked_to_a_group_reaches_the_node_inside(ui, object_info, group):
    del group["links"][0]
    node = box(ui, VALUES, ["a", "b"])
    del node["inputs"][0]["widget"]
    number = ui.node("Number", [1])
    ui.link(number, node, "a")
    ui.link(number, node, "b")
    assert convert(ui, object_info, both=group)["5:4"]["inputs"] == {"a": ["2", 0], "b": ["2", 0], "c": 9}


def test_a_class_that_a_group_holds_twice_has_its_title_before_its_names(ui, object_info, group):
    second = {**copy.deepcopy(group["nodes"][0]), "title": "Second"}
    group["nodes"].append(second)
    node = box(ui, [7, "fixed", 2.5, 8, 9, 17, "fixed", 3.5], ["Second seed"])
    ui.link(ui.node("Number", [1]), node, "Second seed")
    prompt = convert(ui, object_info, both=group)
    assert prompt["6:3"]["inputs"] == {"seed": 7, "scale": 2.5}
    assert prompt["6:5"]["inputs"] == {"seed": ["2", 0], "scale": 3.5}


def test_nodes_of_the_canvas_only_inside_a_group(ui, object_info, group):
    inside = Ui(object_info)
    reroute, note, primitive = inside.reroute(), inside.node("Note", ["x"]), inside.primitive(9)
    group["nodes"] += [reroute, note, primitive]
    group["links"] = [[0, 0, 2, 0, 1, "INT"], [2, 0, 1, 0, 3, "INT"], [4, 0, 1, 1, 5, "INT"]]
    box(ui, [50, "fixed", 7, "fixed", 2.5, 9])  # of the primitive, of Seeded, and c
    prompt = convert(ui, object_info, both=group)
    assert prompt["7:2"]["inputs"] == {"seed": 7, "scale": 2.5}
    assert prompt["7:3"]["inputs"] == {"a": ["7:2", 0], "b": 3, "c": 9}  # the newest editor loses the primitive's 50


def test_an_output_that_leaves_the_group_though_it_is_used_inside(ui, object_info, group):
    group["external"] = [[0, 0, "INT"]]
    ui.link(box(ui, VALUES), ui.node("Show", [""]), "value")  # Seeded's is the first
    assert convert(ui, object_info, both=group)["2"]["inputs"]["value"] == ["5:3", 0]


def test_a_group_inside_a_group(ui, object_info, group):
    outer = {"nodes": [{"id": 0, "type": KIND, "inputs": [], "outputs": [], "widgets_values": VALUES}], "links": []}
    box(ui, VALUES, kind="workflow>outer")
    prompt = convert(ui, object_info, both=group, outer=outer)
    assert [entry["inputs"] for entry in prompt.values()] == [
        {"seed": 7, "scale": 2.5},
        {"a": [next(iter(prompt)), 0], "b": 8, "c": 9},
    ]


def test_groups_that_cannot_be_opened_are_named(ui, object_info, group):
    box(ui, VALUES)
    with pytest.raises(WorkflowError, match="node 1: extra.groupNodes has no group both"):
        convert(ui, object_info)
    group["nodes"][1]["type"] = "Nope"
    with pytest.raises(WorkflowError, match="node 1: the group both holds a node of the unknown class 'Nope'"):
        convert(ui, object_info, both=group)
    group["nodes"][1]["type"] = KIND
    with pytest.raises(WorkflowError, match="group both contains itself"):
        convert(ui, object_info, both=group)
    with pytest.raises(WorkflowError, match="group both, link|group both: a malformed link"):
        convert(ui, object_info, both={**group, "links": [[1]]})


@pytest.mark.parametrize("name", ["5:4", "Add", "The sum"])
def test_a_change_finds_the_nodes_inside(ui, object_info, registry, group, name):
    group["nodes"][1]["title"] = "The sum"
    ui.link(box(ui, VALUES), ui.node("Show", [""]), "value")
    prompt = convert(ui, object_info, both=group)
    assert overrides.plan(prompt, registry.node_classes(), sets=[f"{name}.b=50"]) == [
        overrides.Override(node="5:4", name="b", value=50)
    ]
