"""Does a node that answers with more nodes become these nodes, with their results, their cache and their errors?"""

import pytest
from host_graphs import entry, run, shown

from imagen_host.execution.engine import Engine


def repeat_prompt(times, value=5):
    return {
        "n": entry("Number", value=value),
        "grow": entry("Repeat", value=["n", 0], times=times),
        "show": entry("Show", value=["grow", 0]),
    }


def kinds(events, name):
    return [data for kind, data in events if kind == name]


def test_the_nodes_inside_run_in_its_place(engine, events, flow):
    result = run(engine, repeat_prompt(3))
    assert shown(result) == [8] and result.ui["grow"] == {"note": [3]}
    assert [call for call in flow.CALLS if call[0] == "Add"] == [("Add", 5, 1), ("Add", 6, 1), ("Add", 7, 1)]
    begun = [(data["node"], data["display_node"]) for data in kinds(events, "executing")]
    assert begun == [("n", "n"), ("grow", "grow"), *((f"grow.{i}", "grow") for i in range(3)), ("show", "show")]
    assert set(result.seconds) == {"n", "grow", "show"}
    inside = kinds(events, "expanded")[0]["nodes"]["grow.1"]
    assert inside == {"node_id": "grow.1", "display_node": "grow", "parent_node": "grow", "real_node_id": "grow"}


def test_an_unchanged_one_is_not_opened_again_and_a_changed_one_uses_what_it_can(engine, flow):
    run(engine, repeat_prompt(2))
    flow.CALLS.clear()
    assert shown(run(engine, repeat_prompt(2))) == [7] and flow.CALLS == []
    assert shown(run(engine, repeat_prompt(4))) == [9]
    assert [call for call in flow.CALLS if call[0] == "Add"] == [("Add", 7, 1), ("Add", 8, 1)]
    run(engine, repeat_prompt(1))
    flow.CALLS.clear()
    run(engine, repeat_prompt(4))
    assert ("Add", 8, 1) in flow.CALLS  # what the last opening did not use is gone


def test_results_inside_go_with_their_node(engine):
    run(engine, repeat_prompt(9))
    run(engine, {"n": entry("Number", value=5), "show": entry("Show", value=["n", 0])})
    assert len(engine.cache.entries) == len(engine.cache.makers) == 2


def test_each_item_of_a_list_answers_for_itself(engine):
    prompt = {
        "many": entry("Many", count=4),
        "odd": entry("OddOnes", value=["many", 0]),
        "show": entry("Show", value=["odd", 0]),
        "second": entry("Show", value=["odd", 1]),
    }
    prompt["many"] = entry("Many", count=5)
    result = run(engine, prompt)
    assert shown(result) == [1, 0, 1, 3, 0, 1, 2, 3]  # 0: nothing, 1, 2: two items, 3, 4: four items
    assert shown(result, "second") == [0, 1, 2, 3, 4]


def test_an_output_inside_shows_on_the_node(engine, events):
    result = run(engine, {"n": entry("Number", value=3), "in": entry("ShowInside", value=["n", 0])})
    assert result.ui == {"in.show": {"values": [3]}}
    assert result.meta["in.show"]["real_node_id"] == "in"
    assert [(data["node"], data["display_node"]) for data in kinds(events, "executed")] == [("in.show", "in")]


REFUSALS = {
    "text": "expands into str: expected nodes by id",
    "no node": "'a', which is no node",
    "unknown": "node a of the unknown class 'Nothing'",
    "taken": "node n, an id that another node has",
    "no source": "in a, a link leads to node b, which is missing",
    "no output": "in a, a link leads to output 7 of node n, which is missing",
    "ring": "depend on themselves",
    "itself": "wait for each other",
    "fails": "the disk is on fire",
}


@pytest.mark.parametrize("kind", REFUSALS)
def test_what_is_wrong_inside_is_said_on_the_node(engine, events, kind):
    prompt = {"n": entry("Number", value=1), "bad": entry("BadExpansion", kind=kind)}
    prompt |= {"show": entry("Show", value=["bad", 0]), "also": entry("Show", value=["n", 0])}
    result = run(engine, prompt)
    assert (result.failure.node, result.failure.class_type) == ("bad", "BadExpansion")
    assert REFUSALS[kind] in str(result.failure.exception)
    assert kinds(events, "execution_error")[0]["node_id"] == "bad"
    assert shown(run(engine, {"n": entry("Number", value=1), "show": entry("Show", value=["n", 0])})) == [1]


def test_results_that_nobody_reads_are_dropped_inside_too(registry, host):
    sizes = []
    engine = Engine(registry, host, on_event=lambda *_: sizes.append(len(engine.cache.entries)), keep_results=False)
    assert shown(run(engine, repeat_prompt(20))) == [25]
    assert max(sizes) <= 3 and engine.cache.entries == {}


def test_a_node_that_wants_the_link_itself_gets_it(engine):
    prompt = {
        "n": entry("Number", value=1),
        "raw": entry("Raw", link=["n", 0]),
        "show": entry("Show", value=["raw", 0]),
    }
    assert shown(run(engine, prompt)) == ["n Number n"]
