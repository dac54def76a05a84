"""Are the tokens of file names filled in as the editor does, in graphs, prompts and after changes on the command line?"""

import datetime

import pytest
from host_graphs import Ui, definition, entry, instance

from imagen_host.graphs import file_names, overrides
from imagen_host.graphs.workflow import convert

NOW = datetime.datetime(2026, 3, 9, 14, 5, 7)
DATES = {
    "yyyy-MM-dd": "2026-03-09",
    "yy-yyy-yyyy": "26-yyy-2026",
    "d M h m s": "9 3 14 5 7",
    "dd MM hh mm ss": "09 03 14 05 07",
    "ddd": "099",
    "": "",
    '"at" EEE': '"at" EEE',
}


@pytest.fixture
def ui(object_info):
    return Ui(object_info)


@pytest.fixture
def save(ui):
    """SaveImage of a Picture with the title Sketch; returns the former."""
    picture, save = ui.node("Picture", [7, "fixed", 1, 8, 6, 0.5], title="Sketch"), ui.node("SaveImage", ["x"])
    ui.link(picture, save, "images")
    return save


def named(ui, object_info, node="2", **more):
    converted = convert(ui.json(**more), object_info)
    converted.names.fill(converted.prompt, NOW)
    return converted.prompt[node]["inputs"]["filename_prefix"]


@pytest.mark.parametrize("form", DATES)
def test_dates_in_the_editors_own_formats(form):
    assert file_names.date_text(form, NOW) == DATES[form]


@pytest.mark.parametrize(
    "text, expected",
    [
        ("%date:yyyy%/run_%Picture.seed%_%Sketch.width%", "2026/run_7_8"),
        ("%date:yyyy.MM.dd%", "2026"),  # the editor stops at the first dot
        ("%date:hh.mm%", "14.05"),  # and keeps this as it is: a folder that no one wants
        ("%Picture.seconds_per_step%%Picture.preview%", "0.5false"),
        ("%Picture.control_after_generate%", "fixed"),
        ("%width%x%height%, 100%, %Nobody.seed%, %Picture.nothing%, %a.b.c%, %date%", None),
        ("%SaveImage.filename_prefix%", None),  # a class that saves has no name of its own to be found by
        ("%Noted.text%", "a_b_c_d_"),
        ("%Held.value%", "4"),
    ],
)
def test_tokens(ui, object_info, save, text, expected):
    save["widgets_values"] = [text]
    ui.node("Note", ["a/b:c\nd?"], title="Noted")
    ui.node("PrimitiveNode", [4.0, "fixed"], title="Held")
    assert named(ui, object_info) == (text if expected is None else expected)


@pytest.mark.parametrize("value, text", [(3.0, "3"), (0.1, "0.1"), (1e21, "1e+21"), (1.5e-7, "1.5e-7"), (0.00002, "0.00002"),
                                         (10**16, "10000000000000000"), (True, "true"), (None, ""), ([1, "x"], "1,x"),
                                         (-0.5, "-0.5"), ({}, "[object Object]"), (float("inf"), "Infinity")])  # fmt: skip
def test_values_are_written_as_in_javascript(value, text):
    assert file_names.js_text(value) == text


def test_only_what_names_a_file_is_filled_in(ui, object_info, save):
    show = ui.node("Show", ["%date:yyyy%"])
    ui.link(ui.node("Number", [1]), show, "value")
    assert convert(ui.json(), object_info).prompt["3"]["inputs"]["label"] == "%date:yyyy%"


@pytest.mark.parametrize("asked, expected", [(True, "2026_7"), (False, "%date:yyyy%_%Picture.seed%")])
def test_a_primitive_fills_in_its_text_where_it_is_asked_to(ui, object_info, save, asked, expected):
    show, primitive = ui.node("Show", ["x"]), ui.primitive("%date:yyyy%_%Picture.seed%", "STRING")
    primitive["properties"] = {"Run widget replace on values": asked}
    ui.link(primitive, show, "label")
    converted = convert(ui.json(), object_info)
    converted.names.fill(converted.prompt, NOW)
    assert converted.prompt["3"]["inputs"]["label"] == expected


def test_a_file_name_that_a_subgraphs_instance_holds(ui, object_info):
    inside = Ui(object_info).node("SaveImage", ["in"], id=11)
    box = instance(ui, ["images"], ["%date:yyyy%_%Box.filename_prefix%"], [("11", "filename_prefix")])
    ui.link(ui.node("Picture", [7, "fixed", 1, 8, 6, 0.5]), box, "images")
    text = named(ui, object_info, "1:11", definitions={"subgraphs": [definition(inside, ["images"], ())]})
    assert text.startswith("2026_%date_yyyy%")


def test_changes_on_the_command_line_count(ui, object_info, registry, save):
    save["widgets_values"] = ["%Picture.seed%_%Picture.width%"]
    converted = convert(ui.json(), object_info)
    converted.names.fill(converted.prompt)
    changes = overrides.plan(converted.prompt, registry.node_classes(), sets=["Sketch.width=5"], seed=42)
    overrides.apply(converted.prompt, changes, converted.names)
    assert converted.prompt["2"]["inputs"]["filename_prefix"] == "42_5"
    changes = overrides.plan(
        converted.prompt, registry.node_classes(), sets=["SaveImage.filename_prefix=%Sketch.height%"]
    )
    overrides.apply(converted.prompt, changes, converted.names)
    assert converted.prompt["2"]["inputs"]["filename_prefix"] == "6"


def test_a_prompt_without_a_graph_has_its_names_filled_in_too(object_info):
    prompt = {
        "1": entry("Picture", "Sketch", seed=7),
        "2": entry("SaveImage", filename_prefix="%date:yy%_%Sketch.seed%"),
    }
    file_names.of_prompt(prompt, object_info).fill(prompt, NOW)
    assert prompt["2"]["inputs"]["filename_prefix"] == "26_7"
