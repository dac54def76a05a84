"""Are links repaired as in the editor, nodes of the canvas only seen through, and broken graphs named in one line?"""

import json
import sys

import pytest
from host_graphs import Ui, definition, instance

from imagen_host.graphs.canvas_only import channel
from imagen_host.graphs.forms import WorkflowError
from imagen_host.graphs.workflow import workflow_to_prompt


@pytest.fixture
def ui(object_info):
    return Ui(object_info)


@pytest.fixture
def pair(ui):
    """Number feeds Add.a by link 1; b=3 and c=4 are Add's own."""
    number, add = ui.node("Number", [1]), ui.node("Add", [3, 4])
    ui.link(number, add, "a")
    return number, add


def inputs_of(ui, object_info, node):
    return workflow_to_prompt(ui.json(), object_info)[str(node["id"])]["inputs"]


FED = {"a": ["1", 0], "b": 3, "c": 4}


@pytest.mark.parametrize("note", [None, 999, "1", 1.0])
def test_the_list_of_links_counts_whatever_the_input_says(ui, object_info, pair, note):
    pair[1]["inputs"][0]["link"] = note
    assert inputs_of(ui, object_info, pair[1]) == FED


def test_the_list_of_links_counts_whatever_the_output_says(ui, object_info, pair):
    pair[0]["outputs"][0]["links"] = None
    pair[1]["inputs"][0]["link"] = None
    assert inputs_of(ui, object_info, pair[1]) == FED


def test_an_input_that_names_the_link_is_its_end_in_any_order(ui, object_info, pair):
    pair[1]["inputs"].reverse()
    ui.links[0][4] = 1
    assert inputs_of(ui, object_info, pair[1]) == FED


def test_numbers_may_be_texts(ui, object_info, pair):
    ui.links[0][:5] = [str(part) for part in ui.links[0][:5]]
    pair[1]["inputs"][0]["link"] = "1"
    assert inputs_of(ui, object_info, pair[1]) == FED


def test_of_two_links_to_one_input_the_one_counts_that_it_names(ui, object_info, pair):
    other = ui.node("Number", [2])
    ui.links.insert(0, [9, other["id"], 0, 2, 0, "INT"])
    assert inputs_of(ui, object_info, pair[1]) == FED
    pair[1]["inputs"][0]["link"] = None
    assert inputs_of(ui, object_info, pair[1]) == {**FED, "a": ["3", 0]}


def test_of_two_links_with_one_number_the_first_counts(ui, object_info, pair):
    ui.links.append([1, 1, 0, 2, 1, "INT"])
    assert inputs_of(ui, object_info, pair[1]) == FED


def test_links_that_are_null_are_passed_over(ui, object_info, pair):
    ui.links.insert(0, None)
    assert inputs_of(ui, object_info, pair[1]) == FED


def test_an_optional_input_whose_link_is_gone_is_said(ui, object_info):
    picture = ui.node("Picture", [0, "fixed", 1, 8, 8, 0, False])
    next(slot for slot in picture["inputs"] if slot["name"] == "text")["link"] = 7
    with pytest.warns(UserWarning, match="node 1: the input text names link 7, which the graph does not have"):
        assert "text" not in inputs_of(ui, object_info, picture)


def test_an_input_that_the_class_does_not_have(ui, object_info, pair):
    socket, widget = {"name": "more", "type": "INT"}, {"name": "old", "type": "INT", "widget": {"name": "old"}}
    pair[1]["inputs"] += [{**socket, "link": 2}, {**widget, "link": 3}]
    ui.links += [[2, 1, 0, 2, 3, "INT"], [3, 1, 0, 2, 4, "INT"]]
    assert inputs_of(ui, object_info, pair[1]) == {**FED, "more": ["1", 0]}


def test_values_of_inputs_that_take_only_links_today_are_passed_over(ui, object_info, pair):
    pair[1]["widgets_values"] = [8, 3, 4]  # a, b, c
    assert inputs_of(ui, object_info, pair[1]) == FED


def tunnel(ui, kinds, name="x"):
    slot = {"name": "*", "type": "*", "link": None}
    setter = ui.node(kinds[0], [name], inputs=[slot], outputs=[{"name": "*", "type": "*", "links": []}])
    getter = ui.node(kinds[1], [name], inputs=[], outputs=[{"name": "INT", "type": "INT", "links": []}])
    return setter, getter


@pytest.mark.parametrize("kinds", [("SetNode", "GetNode"), ("easy setNode", "easy getNode")])
@pytest.mark.parametrize("muted", [False, True])
def test_set_and_get_nodes_are_wired_through(ui, object_info, kinds, muted):
    setter, getter = tunnel(ui, kinds)
    ui.node("SetNode", ["y"], inputs=[{"name": "*", "type": "*", "link": None}])
    number, add = ui.node("Number", [1]), ui.node("Add", [3, 4])
    setter["mode"] = 2 if muted else 0  # a Get node asks for its partner's input and not for its state
    ui.link(number, setter, "*")
    ui.link(getter, add, "a")
    assert workflow_to_prompt(ui.json(), object_info) == {
        "4": {"class_type": "Number", "inputs": {"value": 1}, "_meta": {"title": "A Number"}},
        "5": {"class_type": "Add", "inputs": {"a": ["4", 0], "b": 3, "c": 4}, "_meta": {"title": "Add"}},
    }


def test_a_set_nodes_own_output(ui, object_info):
    setter, _ = tunnel(ui, ("SetNode", "GetNode"))
    number, add = ui.node("Number", [1]), ui.node("Add", [3, 4])
    ui.link(number, setter, "*")
    ui.link(setter, add, "a")
    assert inputs_of(ui, object_info, add)["a"] == ["3", 0]


def test_a_get_node_whose_partner_is_gone_is_named(ui, object_info):
    _, getter = tunnel(ui, ("SetNode", "GetNode"))
    getter["widgets_values"] = ["z"]
    ui.link(getter, ui.node("Add", [3, 4]), "a")
    with pytest.raises(WorkflowError, match=r"node 3, input a: node 2 \(GetNode\) gets z, which no SetNode sets"):
        workflow_to_prompt(ui.json(), object_info)


def test_a_get_node_finds_its_partner_in_the_graphs_around_its_own(ui, object_info):
    inside = Ui(object_info)
    add = inside.node("Add", [3, 4], id=11)
    _, getter = tunnel(inside, ("SetNode", "GetNode"))
    getter["id"] = 13
    box = definition(add, [])
    box["nodes"].append(getter)
    box["links"].append(
        {"id": 150, "origin_id": 13, "origin_slot": 0, "target_id": 11, "target_slot": 0, "type": "INT"}
    )
    setter, _ = tunnel(ui, ("SetNode", "GetNode"))
    ui.link(ui.node("Number", [1]), setter, "*")
    instance(ui)
    prompt = workflow_to_prompt(ui.json(definitions={"subgraphs": [box]}), object_info)
    assert prompt["4:11"]["inputs"]["a"] == ["3", 0]


def test_every_set_node_is_looked_at_once_however_many_get_nodes_there_are(ui, object_info):
    adds = []
    for name in (f"x{i}" for i in range(200)):
        setter, getter = tunnel(ui, ("SetNode", "GetNode"), name)
        number, add = ui.node("Number", [1]), ui.node("Add", [3, 4])
        ui.link(number, setter, "*")
        ui.link(getter, add, "a")
        adds.append((str(add["id"]), str(number["id"])))
    looks = []
    sys.setprofile(lambda frame, event, _: event == "call" and frame.f_code is channel.__code__ and looks.append(1))
    try:
        prompt = workflow_to_prompt(ui.json(), object_info)
    finally:
        sys.setprofile(None)
    assert all(prompt[add]["inputs"]["a"] == [number, 0] for add, number in adds)
    assert 200 <= len(looks) <= 2000


@pytest.mark.parametrize("name", [["a", {"b": 1}], {"b": [2]}, 3, True])
def test_set_and_get_nodes_with_an_odd_name(ui, object_info, name):
    setter, getter = tunnel(ui, ("SetNode", "GetNode"), name)
    number, add = ui.node("Number", [1]), ui.node("Add", [3, 4])
    ui.link(number, setter, "*")
    ui.link(getter, add, "a")
    assert inputs_of(ui, object_info, add)["a"] == [str(number["id"]), 0]


def test_decoration_is_skipped(ui, object_info, pair):
    for kind in ("Bookmark (rgthree)", "Label (rgthree)", "Fast Groups Muter (rgthree)", "Note", "MarkdownNote"):
        ui.node(kind, ["1", 1])
    muter = ui.node("Fast Muter (rgthree)", None, inputs=[{"name": "", "type": "*", "link": None}])
    ui.link(pair[0], muter, "")
    assert set(workflow_to_prompt(ui.json(), object_info)) == {"1", "2"}


def test_an_unknown_node_that_nothing_is_linked_to_is_left_out_and_said(ui, object_info, pair):
    ui.node("Sticker of some pack", ["x"])
    with pytest.warns(UserWarning, match=r"node 3 \(Sticker of some pack\) is unknown here and linked to nothing"):
        assert set(workflow_to_prompt(ui.json(), object_info)) == {"1", "2"}


def test_an_unknown_node_that_a_class_stood_behind_is_an_error(ui, object_info, pair):
    ui.node("Sampler of some pack", ["x"], properties={"Node name for S&R": "Sampler of some pack"})
    with pytest.raises(WorkflowError, match="node 3 is of the unknown class 'Sampler of some pack'"):
        workflow_to_prompt(ui.json(), object_info)


@pytest.mark.parametrize("mode", [2, 4])
def test_a_graph_in_which_nothing_runs_is_an_error(ui, object_info, pair, mode):
    for node in ui.nodes:
        node["mode"] = mode
    ui.node("Note", ["x"])
    with pytest.raises(WorkflowError, match="nothing to run: all 3 nodes are muted, bypassed or notes"):
        workflow_to_prompt(ui.json(), object_info)
    with pytest.raises(WorkflowError, match="nothing to run: the graph has no nodes"):
        workflow_to_prompt({"nodes": []}, object_info)


def test_what_the_editor_passes_on_about_a_nodes_pack(ui, object_info, pair):
    pair[0]["properties"] = {"cnr_id": "comfy-core", "ver": "v0.3.64", "aux_id": "not one"}
    meta = workflow_to_prompt(ui.json(), object_info)["1"]["_meta"]
    assert meta == {"title": "A Number", "cnr_id": "comfy-core", "ver": "0.3.64"}


WRONG = [  # a place in the graph of `pair`, what is there, and what must be said
    (("nodes", 1, "id"), [2], "the graph: the id of a node should be a whole number or a text, not a list"),
    (("nodes", 1, "type"), 5, "a node without id or type"),
    (("nodes", 1), 7, "a node without id or type (7)"),
    (("nodes", 1, "mode"), [0], "node 2: mode should be a number, not a list"),
    (("nodes", 1, "order"), "x", "node 2: order should be a number, not a text"),
    (("nodes", 1, "title"), {}, "node 2: title should be a text, not an object"),
    (("nodes", 1, "inputs"), 5, "node 2: inputs should be a list, not a number"),
    (("nodes", 1, "inputs", 0), 5, "node 2, input 0: it should be an object, not a number"),
    (("nodes", 1, "inputs", 0, "link"), [1], "node 2, input 0: link should be a whole number, not a list"),
    (("nodes", 1, "inputs", 0, "name"), 5, "node 2, input 0: name should be a text, not a number"),
    (("nodes", 1, "inputs", 1, "widget"), True, "node 2, input 1: widget should be an object, not true or false"),
    (("nodes", 0, "outputs", 0), "x", "node 1, output 0: it should be an object, not a text"),
    (("nodes", 0, "outputs", 0, "links"), 1, "node 1, output 0: links should be a list, not a number"),
    (("nodes", 1, "widgets_values"), 5, "node 2: widgets_values should be a list or an object, not a number"),
    (("nodes", 1, "properties"), [], "node 2: properties should be an object, not a list"),
    (("links", 0, 0), [1], "link [1] from node 1 to node 2: id should be a whole number, not a list"),
    (("links", 0, 1), {}, "link 1 from node {} to node 2: origin_id should be a whole number or a text, not an object"),
    (("links", 0, 2), 0.5, "link 1 from node 1 to node 2: origin_slot should be a whole number, not a number"),
    (("links", 0, 2), -3, "node 2, input a: link 1 comes from output -3"),
    (("links", 0, 1), 77, "node 2, input a: link 1 comes from node 77, which does not exist"),
    (("links", 0), [1, 1, 0], "the graph: a malformed link ([1, 1, 0])"),
    (("definitions",), [], "the graph: definitions should be an object, not a list"),
    (("definitions",), {"subgraphs": [5]}, "an entry of definitions.subgraphs should be an object, not a number"),
    (("definitions",), {"subgraphs": [{"id": "S", "inputs": [5]}]}, "subgraph S, inputs 0: it should be an object"),
    (("definitions",), {"subgraphs": [{"id": "S", "nodes": [{"id": 3, "type": "x", "mode": "y"}]}]},
     "subgraph S, node 3: mode should be a number, not a text"),
    (("extra",), {"groupNodes": 3}, "the graph: extra.groupNodes should be an object, not a number"),
]  # fmt: skip


@pytest.mark.parametrize(
    "place, value, message", WRONG, ids=lambda item: ".".join(map(str, item)) if type(item) is tuple else ""
)
def test_what_is_malformed_is_named_with_its_node_and_field(ui, object_info, pair, place, value, message):
    graph = json.loads(json.dumps(ui.json()))
    *path, last = place
    container = graph
    for key in path:
        container = container[key]
    container[last] = value
    with pytest.raises(WorkflowError) as caught:
        workflow_to_prompt(graph, object_info)
    assert message in str(caught.value) and "\n" not in str(caught.value)
