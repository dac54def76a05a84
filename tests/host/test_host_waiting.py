"""Do nodes and hooks that are `async def` run, beside each other where nothing keeps them apart?"""

import sys

import pytest
from host_graphs import entry, run, shown

from imagen_host.validation import validate


@pytest.fixture
def record(registry):
    module = sys.modules[registry.classes["Meet"].run.__module__]
    module.RECORD.clear()
    return module.RECORD


def meeting(count, expected):
    prompt = {f"m{i}": entry("Meet", value=i, count=expected) for i in range(count)}
    return prompt | {f"s{i}": entry("Show", value=[f"m{i}", 0]) for i in range(count)}


def test_nodes_wait_beside_each_other(engine, record):
    result = run(engine, meeting(3, 3))
    assert [shown(result, f"s{i}") for i in range(3)] == [[0], [1], [2]]
    assert [kind for kind, _ in record] == ["come"] * 3 + ["gone"] * 3


def test_the_items_of_a_list_wait_beside_each_other(engine, record):
    prompt = {"many": entry("Many", count=3), "m": entry("Meet", value=["many", 0], count=3)}
    assert shown(run(engine, prompt | {"show": entry("Show", value=["m", 0])})) == [0, 1, 2]


def test_other_nodes_run_meanwhile(engine, record, flow, events):
    run(engine, meeting(2, 2) | {"n": entry("Number", value=9), "show": entry("Show", value=["n", 0])})
    begun = [data["node"] for kind, data in events if kind == "executing"]
    assert begun.index("m0") < begun.index("n") and ("Number", 9) in flow.CALLS


def test_an_unchanged_one_is_not_awaited_again(engine, record):
    for _ in range(2):
        run(engine, meeting(2, 2))
    assert len(record) == 4


def test_a_failure_names_its_node_and_ends_the_others(engine, record, events):
    prompt = {"sleep": entry("Doze", value=1), "bad": entry("Stumble", value=2)}
    prompt |= {"s1": entry("Show", value=["sleep", 0]), "s2": entry("Show", value=["bad", 0])}
    result = run(engine, prompt)
    assert (result.failure.node, str(result.failure.exception)) == ("bad", "stumbled")
    assert record == [("come", 1), ("woken", 1)]


def test_an_interrupt_ends_what_waits(engine, record):
    prompt = {"sleep": entry("Doze", value=1, stop=True), "show": entry("Show", value=["sleep", 0])}
    assert run(engine, prompt).status == "interrupted" and record == [("come", 1), ("woken", 1)]
    assert run(engine, meeting(1, 1)).status == "success"


def test_progress_keeps_its_node_while_several_wait(engine, events):
    prompt = {"a": entry("CountUp", value=30), "b": entry("CountUp", value=40)}
    run(engine, prompt | {f"s{name}": entry("Show", value=[name, 0]) for name in "ab"})
    steps = [(data["node"], data["value"]) for kind, data in events if kind == "progress"]
    assert sorted(steps) == [("a", i + 1) for i in range(30)] + [("b", i + 1) for i in range(40)]
    assert steps.index(("b", 1)) < steps.index(("a", 30))


def polite_prompt(word="please"):
    return {
        "n": entry("Number", value=7),
        "polite": entry("Polite", word=word, a=["n", 0]),
        "show": entry("Show", value=["polite", 0]),
    }


def test_hooks_are_awaited(engine, flow):
    for version, calls in ((0, 1), (0, 1), (1, 2)):
        flow.STATE["version"] = version
        assert shown(run(engine, polite_prompt())) == [7]
        assert flow.CALLS.count(("Polite", "please")) == calls


def test_a_check_that_waits_can_refuse(registry):
    checked = validate(polite_prompt("now"), registry)
    error = checked.node_errors["polite"]["errors"][0]
    assert (error["type"], error["details"]) == ("custom_validation_failed", "say please, not now")
    assert error["extra_info"] == {"input_name": "word"}
