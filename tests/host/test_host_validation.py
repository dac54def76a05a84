"""Is every wrong prompt refused with the error type that ComfyUI's editor knows, and every right one passed?"""

import json
import math

import pytest
from host_graphs import entry

from imagen_host.validation import validate


def number_shown(**number):
    return {"1": entry("Number", **number), "2": entry("Show", value=["1", 0])}


def only_error(prompt, registry):
    """The one error of a prompt, with its node's id."""
    report = validate(prompt, registry)
    [(node, errors)] = report.node_errors.items()
    [error] = errors["errors"]
    return node, error


def test_a_good_prompt_passes_and_its_constants_are_cast_in_place(registry):
    prompt = number_shown(value="12")
    assert validate(prompt, registry).outputs == ["2"]
    assert prompt["1"]["inputs"]["value"] == 12


@pytest.mark.parametrize(
    ("number", "kind"),
    [
        ({}, "required_input_missing"),
        ({"value": "twelve"}, "invalid_input_type"),
        ({"value": None}, "invalid_input_type"),
        ({"value": {"a": 1}}, "invalid_input_type"),
        ({"value": math.nan}, "invalid_input_type"),
        ({"value": math.inf}, "invalid_input_type"),
        ({"value": -1}, "value_smaller_than_min"),
        ({"value": 101}, "value_bigger_than_max"),
        ({"value": []}, "bad_linked_input"),
        ({"value": ["7", 0]}, "bad_linked_input"),
        ({"value": ["1"]}, "bad_linked_input"),
        ({"value": [1, 0]}, "bad_linked_input"),
        ({"value": ["3", 1]}, "bad_linked_input"),
    ],
)
def test_a_wrong_value_is_named(registry, number, kind):
    prompt = {**number_shown(**number), "3": entry("Number", value=1)}
    node, error = only_error(prompt, registry)
    assert (node, error["type"]) == ("1", kind)
    assert error["extra_info"]["input_name"] == "value"
    assert "value" in error["details"]


def test_a_deeply_nested_constant_is_refused(registry):
    nested = []
    for _ in range(900):
        nested = {"__value__": nested}
    assert only_error(number_shown(value=nested), registry)[1]["type"] == "invalid_input_type"


def test_list_choices(registry):
    prompt = {"1": entry("Choice", kind="blue"), "2": entry("Show", value=["1", 0])}
    _, error = only_error(prompt, registry)
    assert error["type"] == "value_not_in_list" and "red, green, 3" in error["details"]
    prompt["1"]["inputs"]["kind"] = 3
    assert validate(prompt, registry).outputs == ["2"]


def test_types_of_links_must_match_but_wildcards_fit_all(registry):
    prompt = {"1": entry("Choice", kind="red"), "2": entry("Add", a=["1", 0], b=1), "3": entry("Show", value=["2", 0])}
    node, error = only_error(prompt, registry)
    assert (node, error["type"]) == ("2", "return_type_mismatch")
    assert error["extra_info"]["received_type"] == "STRING" and error["extra_info"]["linked_node"] == ["1", 0]


def test_a_socket_refuses_a_constant(registry):
    prompt = {"1": entry("SaveImage", images="photo.png", filename_prefix="a")}
    assert only_error(prompt, registry)[1]["type"] == "invalid_input_type"


@pytest.mark.parametrize(
    ("prompt", "kind"),
    [
        (None, "no_prompt"),
        ({}, "no_prompt"),
        ([], "no_prompt"),
        ({"1": 3}, "invalid_prompt"),
        ({"1": {"inputs": {}}}, "missing_node_type"),
        ({"1": {"class_type": "Number", "inputs": []}}, "invalid_prompt"),
        ({"1": entry("Numbr", value=1)}, "missing_node_type"),
        ({"1": entry("Number", value=1)}, "prompt_no_outputs"),
        (number_shown(), "prompt_outputs_failed_validation"),
    ],
)
def test_errors_of_the_whole_prompt(registry, prompt, kind):
    report = validate(prompt, registry)
    assert report.error["type"] == kind and report.outputs == []


def test_an_unknown_class_suggests_a_near_one(registry):
    assert "did you mean 'Number'" in validate({"1": entry("Numbr")}, registry).error["message"]


def test_only_what_an_output_needs_is_checked(registry):
    assert validate({**number_shown(value=1), "9": entry("Number", value="wrong")}, registry).outputs == ["2"]


def test_a_good_output_runs_beside_a_bad_one(registry):
    prompt = {**number_shown(value=1), "3": entry("Number"), "4": entry("Show", value=["3", 0])}
    report = validate(prompt, registry)
    assert report.outputs == ["2"] and report.error is None
    assert report.node_errors["3"]["dependent_outputs"] == ["4"]


def test_targets_limit_the_outputs(registry):
    prompt = {**number_shown(value=1), "3": entry("Show", value=["1", 0])}
    assert validate(prompt, registry, targets=["3"]).outputs == ["3"]


def test_cycles_are_reported_and_stop_only_what_depends_on_them(registry):
    ring = {"5": entry("Add", a=["6", 0], b=0), "6": entry("Add", a=["5", 0], b=0), "7": entry("Show", value=["6", 0])}
    own = {"8": entry("Add", a=["8", 0], b=0), "9": entry("Show", value=["8", 0])}
    report = validate({**number_shown(value=1), **ring, **own}, registry)
    assert report.outputs == ["2"]
    assert set(report.node_errors) == {"5", "6", "8"}
    assert {errors["errors"][0]["type"] for errors in report.node_errors.values()} == {"dependency_cycle"}


def test_a_chain_longer_than_pythons_stack(registry):
    prompt = {"0": entry("Number", value=1)}
    prompt |= {str(i): entry("Add", a=[str(i - 1), 0], b=0) for i in range(1, 1500)}
    prompt["end"] = entry("Show", value=["1499", 0])
    assert validate(prompt, registry).outputs == ["end"]


def test_a_class_checks_its_own_inputs_and_their_limits(registry):
    prompt = {"1": entry("Fussy", word="please", number=3), "2": entry("Show", value=["1", 0])}
    assert validate(prompt, registry).outputs == ["2"]  # 3 is over the limit, which the class took over
    prompt["1"]["inputs"]["word"] = "now"
    _, error = only_error(prompt, registry)
    assert error["type"] == "custom_validation_failed" and error["details"] == "say please, not now"


def test_a_class_whose_check_raises(registry, monkeypatch):
    def explode(cls, word):
        raise KeyError("oops")

    monkeypatch.setattr(registry.classes["Fussy"], "VALIDATE_INPUTS", classmethod(explode))
    prompt = {"1": entry("Fussy", word="please", number=1), "2": entry("Show", value=["1", 0])}
    assert only_error(prompt, registry)[1]["type"] == "exception_during_validation"


def test_a_class_that_is_not_there_is_told_as_the_editor_expects(registry):
    error = validate({"7": {**entry("Numbr", value=1), "_meta": {"title": "Mine"}}}, registry).error
    assert error["extra_info"] == {"node_id": "7", "class_type": "Numbr", "node_title": "Mine"}
    assert (error["type"], error["details"]) == ("missing_node_type", "Node ID '#7'") and "Number" in error["message"]
    nothing = validate({"7": {"inputs": {}}}, registry).error
    assert nothing["extra_info"] == {"node_id": "7", "class_type": None, "node_title": None}


def test_a_constant_fits_an_input_that_a_widget_may_write(registry):
    prompt = {"e": entry("Either", value="red"), "show": entry("Show", value=["e", 0])}
    assert validate(prompt, registry).error is None and prompt["e"]["inputs"]["value"] == "red"


def test_answers_grow_with_the_graph_and_not_with_its_square(registry):
    def answer(count):
        ring = {str(i): entry("Add", a=[str((i + 1) % count), 0], b=-5) for i in range(count)}
        ring |= {f"s{i}": entry("Show", value=[str(i), 0]) for i in range(count)}
        checked = validate(ring, registry)
        assert len(checked.node_errors) == count and checked.error["type"] == "prompt_outputs_failed_validation"
        errors = checked.node_errors["7"]
        assert [error["type"] for error in errors["errors"]] == ["dependency_cycle", "value_smaller_than_min"]
        assert len(errors["dependent_outputs"]) == 20
        return len(json.dumps(checked.node_errors))

    assert answer(600) < 2.2 * answer(300)


def test_every_ring_is_found_and_only_its_nodes_are_blamed(registry):
    prompt = {f"{name}{i}": entry("Add", a=[f"{other}{i}", 0], b=0) for i in range(3) for name, other in ("ab", "ba")}
    prompt |= {"self": entry("Add", a=["self", 0], b=0), "after": entry("Add", a=["a0", 0], b=0)}
    prompt |= {f"s{i}": entry("Show", value=[f"a{i}", 0]) for i in range(3)}
    prompt |= {"s": entry("Show", value=["self", 0]), "t": entry("Show", value=["after", 0])}
    checked = validate(prompt, registry)
    rings = {node: report["errors"][0]["details"] for node, report in checked.node_errors.items()}
    assert set(rings) == {"a0", "b0", "a1", "b1", "a2", "b2", "self"}
    assert rings["self"] == "self -> self" and rings["b1"] in ("a1 -> b1 -> a1", "b1 -> a1 -> b1")


def test_a_link_that_is_not_declared_but_taken_must_lead_somewhere(registry):
    prompt = {"n": entry("Number", value=1), "sum": entry("SumAll", first=["n", 0], more=["gone", 0])}
    checked = validate(prompt | {"show": entry("Show", value=["sum", 0])}, registry)
    assert checked.node_errors["sum"]["errors"][0]["type"] == "bad_linked_input"
