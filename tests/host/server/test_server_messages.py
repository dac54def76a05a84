"""Does a client hear what happens to its prompt, in the order and form that the editor expects?"""

import io
import json
import struct

from host_graphs import entry
from PIL import Image
from server_client import ENDS, picture_prompt, running, sum_prompt


async def test_status_comes_first_with_the_clients_id(server):
    async with running(server) as site, site.listen("anna") as ear:
        status = {"status": {"exec_info": {"queue_remaining": 0}}}
        assert await ear.next() == ("status", {**status, "sid": "anna"})
    async with running(server) as site, site.http.ws_connect("/api/ws") as socket:
        assert len((await socket.receive_json())["data"]["sid"]) == 32


async def test_messages_of_a_prompt_in_order(server):
    async with running(server) as site, site.listen() as ear:
        await ear.next()
        prompt_id = await site.queue(sum_prompt(), client_id="me")
        await ear.over(prompt_id)
    node = ["progress_state", "executing", "progress_state"]
    shown = ["progress_state", "executing", "executed", "progress_state"]
    begin, end = (
        ["status", "status", "status", "execution_start", "execution_cached"],
        ["execution_success", "status", "executing"],
    )
    assert ear.kinds() == [*begin, *node, *node, *shown, *end]
    names = {"prompt_id": prompt_id}
    assert ear.of("executed") == [{**names, "node": "show", "display_node": "show", "output": {"values": [5]}}]
    assert [data["node"] for data in ear.of("executing")] == ["n", "add", "show", None]
    assert [data["status"]["exec_info"]["queue_remaining"] for data in ear.of("status")] == [0, 1, 1, 0]
    assert ear.of("execution_cached")[0]["nodes"] == []
    assert ear.of("execution_success")[0].keys() == {"prompt_id", "timestamp"}


async def test_progress_state_holds_every_node_so_far(server):
    async with running(server) as site, site.listen() as ear:
        prompt_id = await site.queue(picture_prompt(steps=2), client_id="me")
        await ear.over(prompt_id)
    states = [
        {node: (about["state"], about["value"], about["max"]) for node, about in data["nodes"].items()}
        for data in ear.of("progress_state")
    ]
    assert states == [
        {"draw": ("running", 0, 1)},
        {"draw": ("running", 1, 2)},
        {"draw": ("running", 2, 2)},
        {"draw": ("finished", 2, 2)},
        {"draw": ("finished", 2, 2), "save": ("running", 0, 1)},
        {"draw": ("finished", 2, 2), "save": ("finished", 1, 1)},
    ]
    about = ear.of("progress_state")[0]["nodes"]["draw"]
    names = {"node_id": "draw", "display_node_id": "draw", "real_node_id": "draw", "parent_node_id": None}
    assert about == {"value": 0, "max": 1, "state": "running", "prompt_id": prompt_id, **names}
    steps = [{"prompt_id": prompt_id, "node": "draw", "value": value, "max": 2} for value in (1, 2)]
    assert ear.of("progress") == steps


async def test_previews_carry_their_node_for_clients_that_can_read_it(server):
    async with running(server) as site, site.listen("new", supports_preview_metadata=True) as ear:
        answer = await ear.until("feature_flags")
        expected = {"supports_preview_metadata": True, "max_upload_size": 100 * 2**20, "assets": False}
        assert answer == {**expected, "node_replacements": True}
        prompt_id = await site.queue(picture_prompt(preview=True), client_id="new")
        await ear.over(prompt_id)
    previews = ear.of(4)
    around = {tuple(ear.kinds()[k - 1 : k + 2]) for k, kind in enumerate(ear.kinds()) if kind == 4}
    assert around == {("progress_state", 4, "progress")}
    assert previews and ear.of(1) == []
    size = struct.unpack(">I", previews[-1][:4])[0]
    about = json.loads(previews[-1][4 : 4 + size])
    assert about == {
        "node_id": "draw", "display_node_id": "draw", "real_node_id": "draw", "parent_node_id": None,
        "prompt_id": prompt_id, "image_type": "image/jpeg",
    }  # fmt: skip
    assert Image.open(io.BytesIO(previews[-1][4 + size :])).size == (32, 32)


async def test_previews_in_the_old_form_for_all_others(server):
    async with running(server) as site, site.listen("old") as ear:
        await ear.over(await site.queue(picture_prompt(preview=True), client_id="old"))
    preview = ear.of(1)[-1]
    assert ear.of(4) == [] and preview[:4] == struct.pack(">I", 1)
    assert Image.open(io.BytesIO(preview[4:])).format == "JPEG"


async def test_only_the_prompts_client_hears_it_but_all_hear_the_status(server):
    async with running(server) as site, site.listen("me") as mine, site.listen("other") as other:
        prompt_id = await site.queue(sum_prompt(), client_id="me")
        await mine.over(prompt_id)
        await site.queue(sum_prompt(), client_id="other")
        await other.until("execution_start")
    assert {kind for kind, data in other.heard if data.get("prompt_id") == prompt_id} == set()
    assert other.kinds().count("status") >= 3


async def test_two_windows_of_one_client_hear_the_same(server):
    async with running(server) as site, site.listen("me") as first, site.listen("me") as second:
        prompt_id = await site.queue(sum_prompt(), client_id="me")
        await first.over(prompt_id)
        await second.over(prompt_id)
    assert first.kinds()[-5:] == second.kinds()[-5:]


async def test_a_page_that_is_loaded_anew_learns_what_runs(server):
    async with running(server) as site:
        async with site.listen("me") as ear:
            prompt_id = await site.queue(picture_prompt(steps=200, seconds=0.01), client_id="me")
            await ear.until("progress")
        async with site.listen("me") as ear:
            assert await ear.until("executing") == {"node": "draw", "display_node": "draw", "prompt_id": prompt_id}
            await site.post("/interrupt")
            await ear.over(prompt_id)


async def test_a_repeated_prompt_is_told_as_cached(server, flow):
    async with running(server) as site, site.listen() as ear:
        await ear.over(await site.queue(sum_prompt(), client_id="me"))
        ear.heard.clear()
        flow.CALLS.clear()
        prompt_id = await site.queue(sum_prompt(), client_id="me")
        await ear.over(prompt_id)
    assert flow.CALLS == []
    assert sorted(ear.of("execution_cached")[0]["nodes"]) == ["add", "n", "show"]
    assert ear.of("executed")[0]["output"] == {"values": [5]}
    assert ear.of("executing") == [{"node": None, "prompt_id": prompt_id}]
    assert [kind for kind in ear.kinds() if kind in ENDS] == ["execution_success"]


async def test_an_exception_is_told_on_its_node(server, flow, caplog):
    prompt = {"n": entry("Number", value=1), "b": entry("Broken", value=["n", 0]), "s": entry("Show", value=["b", 0])}
    async with running(server) as site, site.listen() as ear:
        prompt_id = await site.queue(prompt, client_id="me")
        await ear.over(prompt_id)
        history = await site.ended(prompt_id)
        await ear.over(await site.queue(sum_prompt(), client_id="me"))
    error = ear.of("execution_error")[0]
    assert (error["node_id"], error["node_type"], error["executed"]) == ("b", "Broken", ["n"])
    assert (error["exception_type"], error["exception_message"]) == ("RuntimeError", "the disk is on fire")
    assert any("flow.py" in line for line in error["traceback"])
    keys = {"prompt_id", "current_inputs", "current_outputs", "timestamp", "node_id", "node_type", "executed"}
    assert error.keys() == keys | {"exception_message", "exception_type", "traceback"}
    assert history["status"]["status_str"] == "error" and not history["status"]["completed"]
    assert history["status"]["messages"][-1] == ["execution_error", error]
    assert "the disk is on fire" in caplog.text
    assert flow.STATE["held"]() is None, "what the failed node held was not let go of"


async def test_a_value_that_json_cannot_say_is_told_as_text(server):
    async with running(server) as site, site.listen() as ear:
        nan = entry("Odd", value=1)
        prompt_id = await site.queue({"n": nan, "show": entry("Show", value=["n", 0])}, client_id="me")
        await ear.over(prompt_id)
        assert (await site.ended(prompt_id))["outputs"] == {"show": {"values": ["NaN"]}}
    assert ear.of("executed")[0]["output"] == {"values": ["NaN"]}


async def test_nodes_inside_another_are_told_with_their_places(server):
    prompt = {"n": entry("Number", value=3), "in": entry("ShowInside", value=["n", 0])}
    async with running(server) as site, site.listen() as ear:
        prompt_id = await site.queue(prompt, client_id="me")
        await ear.over(prompt_id)
        kept = await site.ended(prompt_id)
    assert [(data["node"], data["display_node"]) for data in ear.of("executed")] == [("in.show", "in")]
    about = ear.of("progress_state")[-1]["nodes"]["in.show"]
    places = ("display_node_id", "parent_node_id", "real_node_id", "state")
    assert [about[name] for name in places] == ["in", "in", "in", "finished"]
    assert kept["outputs"] == {"in.show": {"values": [3]}}
    names = {"node_id": "in.show", "display_node": "in", "parent_node": "in", "real_node_id": "in"}
    assert kept["meta"] == {"in.show": names} and set(kept["prompt"][2]) == {"n", "in"}


async def test_a_node_that_is_kept_from_running_says_why_and_the_rest_is_done(server, caplog):
    prompt = {"b": entry("Block", value=51), "stop": entry("Show", value=["b", 0]), **sum_prompt()}
    async with running(server) as site, site.listen() as ear:
        prompt_id = await site.queue(prompt, client_id="me")
        await ear.over(prompt_id)
        kept = await site.ended(prompt_id)
    error = ear.of("execution_error")[0]
    assert (error["node_id"], error["exception_type"]) == ("stop", "ExecutionBlocked")
    assert error["exception_message"] == "execution blocked: no"
    assert kept["status"]["status_str"] == "success" and kept["outputs"] == {"show": {"values": [5]}}
    assert "execution_error" not in dict(kept["status"]["messages"])


async def test_what_a_message_of_progress_lists_is_bounded(server):
    prompt = {"0": entry("Number", value=0), "show": entry("Show", value=["150", 0])}
    prompt |= {str(i): entry("Add", a=[str(i - 1), 0], b=1) for i in range(1, 151)}
    async with running(server) as site, site.listen() as ear:
        await ear.over(await site.queue(prompt, client_id="me"))
    states = ear.of("progress_state")
    assert max(len(data["nodes"]) for data in states) <= 42 and "show" in states[-1]["nodes"]
    assert ear.of("executed")[0]["output"] == {"values": [150]}
