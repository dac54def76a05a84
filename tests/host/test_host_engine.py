"""Does the engine run what is needed, in order, once, and tell what happens?"""

import threading

import pytest
import torch
from host_graphs import entry, run, shown

from imagen_host.execution.engine import Engine


def sum_prompt(a=2, b=3):
    return {
        "n": entry("Number", value=a),
        "add": entry("Add", a=["n", 0], b=b),
        "show": entry("Show", value=["add", 0]),
    }


def test_values_travel_and_only_ancestors_run(engine, flow):
    result = run(engine, {**sum_prompt(), "unused": entry("Number", value=99)})
    assert result.status == "success" and shown(result) == [5]
    assert flow.CALLS == [("Number", 2), ("Add", 2, 3), ("Show", 5)]
    assert set(result.seconds) == {"n", "add", "show"}


def test_events_in_order(engine, events):
    run(engine, sum_prompt())
    assert [kind for kind, _ in events] == [
        "execution_start", "execution_cached", "executing", "finished", "executing", "finished",
        "executing", "executed", "finished", "execution_success",
    ]  # fmt: skip
    executed = dict(events)["executed"]
    assert executed == {"prompt_id": "p", "node": "show", "display_node": "show", "output": {"values": [5]}}
    assert all(data["prompt_id"] == "p" for _, data in events)


def test_an_unchanged_prompt_runs_nothing_again_but_reports_its_outputs(engine, flow, events):
    run(engine, sum_prompt())
    flow.CALLS.clear()
    events.clear()
    result = run(engine, sum_prompt())
    assert flow.CALLS == [] and shown(result) == [5] and result.cached == ["show"]
    assert sorted(dict(events)["execution_cached"]["nodes"]) == ["add", "n", "show"]


def test_a_change_runs_only_what_depends_on_it(engine, flow):
    run(engine, sum_prompt())
    flow.CALLS.clear()
    assert shown(run(engine, sum_prompt(b=4))) == [6]
    assert flow.CALLS == [("Add", 2, 4), ("Show", 6)]


def test_results_that_a_prompt_does_not_mention_are_dropped(engine, flow):
    run(engine, sum_prompt())
    run(engine, sum_prompt(a=7))
    flow.CALLS.clear()
    run(engine, sum_prompt())
    assert ("Number", 2) in flow.CALLS


def test_running_a_part_of_a_prompt_keeps_the_results_of_the_rest(engine, flow):
    prompt = sum_prompt() | {"m": entry("Number", value=9), "other": entry("Show", value=["m", 0])}
    run(engine, prompt)
    flow.CALLS.clear()
    engine.run(prompt, ["other"])
    run(engine, prompt)
    assert flow.CALLS == []
    for value in range(20):  # parts that change leave nothing behind
        engine.run(prompt | {"m": entry("Number", value=value)}, ["other"])
    assert len(engine.cache.entries) == len(engine.cache.makers) == 5


def test_nodes_with_equal_keys_run_once(engine, flow):
    prompt = sum_prompt() | {"n2": entry("Number", value=2), "show2": entry("Show", value=["n2", 0])}
    run(engine, prompt)
    assert flow.CALLS.count(("Number", 2)) == 1


def test_a_node_that_reads_its_id_is_not_shared(engine, flow):
    prompt = {name: entry("Named", value=1) for name in "ab"}
    prompt |= {f"show{name}": entry("Show", value=[name, 0]) for name in "ab"}
    result = run(engine, prompt)
    assert shown(result, "showa") == ["a of 4"] and shown(result, "showb") == ["b of 4"]


def test_not_idempotent_nodes_are_not_shared(engine, flow, monkeypatch):
    monkeypatch.setattr(engine.registry.classes["Number"], "NOT_IDEMPOTENT", True, raising=False)
    run(engine, sum_prompt() | {"n2": entry("Number", value=2), "show2": entry("Show", value=["n2", 0])})
    assert flow.CALLS.count(("Number", 2)) == 2


@pytest.mark.parametrize(("value", "times"), [(1, 1), (95, 2)])
def test_is_changed_decides_and_nan_means_always(engine, flow, value, times):
    prompt = {"c": entry("Changing", value=value), "show": entry("Show", value=["c", 0])}
    run(engine, prompt)
    run(engine, prompt)
    assert flow.CALLS.count(("Number", value)) == times
    flow.STATE["version"] += 1
    run(engine, prompt)
    assert flow.CALLS.count(("Number", value)) == times + 1


def test_an_exception_in_is_changed_means_always(engine, flow, monkeypatch):
    monkeypatch.setattr(engine.registry.classes["Changing"], "IS_CHANGED", classmethod(lambda cls: 1))
    for _ in range(2):
        run(engine, {"c": entry("Changing", value=1), "show": entry("Show", value=["c", 0])})
    assert flow.CALLS.count(("Number", 1)) == 2


def test_lists_are_mapped_short_ones_repeat_and_gatherers_get_all(engine):
    prompt = {
        "many": entry("Many", count=3),
        "add": entry("Add", a=["many", 0], b=10),
        "show": entry("Show", value=["add", 0]),
        "sum": entry("Gather", values=["add", 0]),
        "show_sum": entry("Show", value=["sum", 0]),
    }
    result = run(engine, prompt)
    assert shown(result) == [10, 11, 12] and shown(result, "show_sum") == [33]


def test_an_empty_list_is_an_error_that_says_so(engine):
    result = run(engine, {"many": entry("Many", count=0), "show": entry("Show", value=["many", 0])})
    assert result.failure.node == "show" and "empty list" in str(result.failure.exception)


@pytest.mark.parametrize("use_a", [True, False])
def test_lazy_inputs_run_only_when_asked_for(engine, flow, use_a):
    prompt = {
        "a": entry("Number", value=1),
        "b": entry("Number", value=2),
        "pick": entry("Pick", use_a=use_a, a=["a", 0], b=["b", 0]),
        "show": entry("Show", value=["pick", 0]),
    }
    result = run(engine, prompt)
    assert shown(result) == [1 if use_a else 2]
    assert [call for call in flow.CALLS if call[0] == "Number"] == [("Number", 1 if use_a else 2)]


def test_a_lazy_input_arrives_only_where_it_was_asked_for(engine):
    prompt = {
        "n": entry("Number", value=1),
        "gone": entry("Block", value=1),
        "blocked": entry("Show", value=["gone", 0]),
        "pick": entry("Pick", use_a=True, a=["n", 0], b=["gone", 0]),
        "show": entry("Show", value=["pick", 0]),
    }
    assert run(engine, prompt).ui == {"show": {"values": [1]}}


def test_a_failure_names_the_node_and_keeps_what_is_done(engine, flow, events):
    prompt = {
        "n": entry("Number", value=1), "bad": entry("Broken", value=["n", 0]), "show": entry("Show", value=["bad", 0])
    }  # fmt: skip
    result = run(engine, prompt)
    assert (result.status, result.failure.node, result.failure.class_type) == ("error", "bad", "Broken")
    error = dict(events)["execution_error"]
    assert error["exception_message"] == "the disk is on fire" and error["executed"] == ["n"] and error["traceback"]
    flow.CALLS.clear()
    run(engine, prompt)
    assert flow.CALLS == []


def test_a_wrong_answer_is_explained(engine):
    result = run(engine, {"s": entry("Short", value=1), "show": entry("Show", value=["s", 1])})
    assert "should return a tuple of 2" in str(result.failure.exception)


def test_a_blocker_skips_what_depends_on_it(engine, flow):
    result = run(engine, {"b": entry("Block", value=1), "show": entry("Show", value=["b", 0])})
    assert result.status == "success" and result.ui == {} and flow.CALLS == []


def test_a_blocker_with_a_message_is_told_on_the_node_and_the_rest_runs(engine, events):
    prompt = {"b": entry("Block", value=51), "show": entry("Show", value=["b", 0])}
    result = run(engine, prompt | {"n": entry("Number", value=1), "other": entry("Show", value=["n", 0])})
    assert (result.status, result.failure.node) == ("success", "show") and "no" in str(result.failure.exception)
    assert shown(result, "other") == [1]
    blocked = dict(events)["blocked"]
    assert (blocked["node_id"], blocked["exception_message"]) == ("show", "execution blocked: no")


def test_a_blocker_in_a_list_blocks_its_item_only(engine):
    prompt = {
        "many": entry("Many", count=5),
        "odd": entry("NoEvens", value=["many", 0]),
        "add": entry("Add", a=["odd", 0], b=10),
        "show": entry("Show", value=["add", 0]),
        "sum": entry("Gather", values=["odd", 0]),
        "show_sum": entry("Show", value=["sum", 0]),
    }
    result = run(engine, prompt)
    assert shown(result) == [11, 13] and "show_sum" not in result.ui


def test_inputs_that_are_not_declared_arrive_where_the_function_takes_them(engine):
    numbers = {str(i): entry("Number", value=i) for i in range(3)}
    prompt = numbers | {"sum": entry("SumAll", first=["0", 0], x=["1", 0], y=["2", 0], z=40)}
    assert shown(run(engine, prompt | {"show": entry("Show", value=["sum", 0])})) == [3]
    prompt["add"] = entry("Add", a=["2", 0], b=1, stale=["1", 0])  # a link from an older graph
    assert shown(run(engine, prompt | {"show": entry("Show", value=["add", 0])})) == [3]


def test_what_shows_something_on_the_way_is_shown_from_the_cache(engine, events):
    prompt = {"n": entry("Number", value=4), "look": entry("Glance", value=["n", 0])}
    prompt["show"] = entry("Show", value=["look", 0])
    for _ in range(2):
        events.clear()
        assert run(engine, prompt).ui["look"] == {"glance": [4]}
    assert [data["node"] for kind, data in events if kind == "executed"] == ["show", "look"]


def picture_prompt(steps=3):
    return {
        "p": entry("Picture", seed=1, steps=steps, width=4, height=4, seconds_per_step=0.0),
        "keep": entry("PreviewImage", images=["p", 0]),
    }


@pytest.mark.parametrize("kind", ["SaveImage", "PreviewImage"])
def test_a_picture_goes_on_behind_the_node_that_keeps_it(engine, kind):
    named = {"filename_prefix": "a"} if kind == "SaveImage" else {}
    prompt = picture_prompt() | {"keep": entry(kind, images=["p", 0], **named)}
    prompt["end"] = entry("SaveImage", images=["keep", 0], filename_prefix="b")
    assert set(run(engine, prompt).ui) == {"keep", "end"}


def test_progress_reaches_the_listener_with_the_nodes_id(engine, events):
    run(engine, picture_prompt())
    progress = [data for kind, data in events if kind == "progress"]
    assert [(data["value"], data["max"], data["node"]) for data in progress] == [(1, 3, "p"), (2, 3, "p"), (3, 3, "p")]


def test_an_interrupt_stops_at_the_next_step_and_the_next_run_is_whole(registry, host):
    events = []

    def listen(kind, data):
        events.append(kind)
        if kind == "progress" and data["value"] == 2 and "execution_interrupted" not in events:
            stopper = threading.Thread(target=host.interrupt)
            stopper.start()
            stopper.join()

    engine = Engine(registry, host, on_event=listen)
    assert run(engine, picture_prompt(50)).status == "interrupted"
    assert events.count("progress") == 2 and events[-1] == "execution_interrupted"
    assert run(engine, picture_prompt(50)).status == "success"


def test_an_interrupt_that_comes_too_late_does_not_stop_the_next_run(registry, host):
    engine = Engine(registry, host, on_event=lambda kind, data: host.interrupt(kind == "execution_success"))
    assert [run(engine, sum_prompt()).status for _ in range(2)] == ["success", "success"]


def test_an_interrupt_between_taking_a_prompt_and_running_it_counts(engine, host):
    host.interrupt()
    assert run(engine, sum_prompt()).status == "interrupted"


def test_a_cached_output_that_shows_nothing_is_executed_too(engine, events):
    for _ in range(2):
        events.clear()
        run(engine, {"n": entry("Number", value=1), "end": entry("Quiet", value=["n", 0])})
    assert [data["output"] for kind, data in events if kind == "executed"] == [None]


def test_a_cached_node_on_the_way_is_told_once(engine, events):
    run(engine, sum_prompt())
    events.clear()
    run(engine, sum_prompt(b=4))
    told = [(kind, data["node"]) for kind, data in events if kind in ("executing", "executed", "finished")]
    assert told == [
        ("executing", "add"), ("finished", "add"), ("executing", "show"), ("executed", "show"), ("finished", "show"),
    ]  # fmt: skip
    assert dict(events)["execution_cached"]["nodes"] == ["n"]


def test_nodes_run_without_gradients(engine, registry, monkeypatch):
    seen = []

    def look(self, value):
        seen.append(torch.is_inference_mode_enabled())
        return (value,)

    monkeypatch.setattr(registry.classes["Number"], "run", look)
    run(engine, sum_prompt())
    assert seen == [True]


def test_results_can_be_dropped_as_soon_as_they_are_read(registry, host, flow):
    sizes = []
    engine = Engine(registry, host, on_event=lambda *_: sizes.append(len(engine.cache.entries)), keep_results=False)
    prompt = {"0": entry("Number", value=1), "show": entry("Show", value=["9", 0])}
    prompt |= {str(i): entry("Add", a=[str(i - 1), 0], b=0) for i in range(1, 10)}
    result = run(engine, prompt)
    assert shown(result) == [1] and max(sizes) <= 2 and engine.cache.entries == {}


def test_a_lazy_input_finds_a_result_that_others_have_read_before(registry, host):
    prompt = {
        "n": entry("Number", value=4),
        "gate": entry("Add", a=["n", 0], b=1),
        "late": entry("Add", a=["n", 0], b=0),
        "pick": entry("Pick", use_a=["yes", 0], a=["late", 0], b=["gate", 0]),
        "yes": entry("PrimitiveBoolean", value=True),
        "early": entry("Show", value=["gate", 0]),
        "show": entry("Show", value=["pick", 0]),
    }
    assert shown(run(Engine(registry, host, keep_results=False), prompt)) == [4]


def test_a_node_that_asks_for_an_input_that_is_not_there_is_named(engine, monkeypatch):
    pick = engine.registry.classes["Pick"]
    monkeypatch.setattr(pick, "check_lazy_status", lambda self, **inputs: ["c"])
    result = run(engine, {"pick": entry("Pick", use_a=True), "show": entry("Show", value=["pick", 0])})
    assert result.failure.node == "pick" and "'c'" in str(result.failure.exception)


@pytest.mark.parametrize("keep", [True, False])
def test_a_graph_deeper_than_pythons_stack_runs_and_reads_each_class_once(registry, host, monkeypatch, keep):
    read = []
    for kind in ("Number", "Add", "Pick", "Show"):
        inputs = registry.classes[kind].INPUT_TYPES()
        monkeypatch.setattr(
            registry.classes[kind], "INPUT_TYPES", classmethod(lambda cls, k=kind, i=inputs: read.append(k) or i)
        )
    prompt = {"0": entry("Number", value=0)}
    prompt |= {str(i): entry("Add", a=[str(i - 1), 0], b=1) for i in range(1, 1200)}
    prompt |= {str(i): entry("Pick", use_a=True, a=[str(i - 1), 0]) for i in range(1200, 2400)}
    prompt |= {"show": entry("Show", value=["2399", 0])}
    assert shown(run(Engine(registry, host, keep_results=keep), prompt)) == [1199]
    assert sorted(read) == sorted(["Number", "Add", "Pick", "Show"] * 2)  # to check it, and to run it


def test_a_long_chain_and_a_wide_diamond_stay_quick(engine):
    prompt = {"0": entry("Number", value=0), "show": entry("Show", value=["300", 0])}
    prompt |= {str(i): entry("Add", a=[str(i - 1), 0], b=1, c=[str(i - 1), 0]) for i in range(1, 301)}
    result = run(engine, prompt)
    assert result.status == "success" and shown(result) == [2**300 - 1]
