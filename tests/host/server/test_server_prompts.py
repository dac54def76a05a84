"""Is a prompt taken, or refused with a body that the editor can show on its nodes?"""

import asyncio
import json

import pytest
from host_graphs import entry
from server_client import picture_prompt, running, sum_prompt

WRONG_NODES = {
    "required_input_missing": {"add": entry("Add", a=["n", 0])},
    "bad_linked_input": {"add": entry("Add", a=["n", 0, 1], b=1)},
    "return_type_mismatch": {"n": entry("Choice", kind="red")},
    "invalid_input_type": {"add": entry("Add", a=["n", 0], b="three")},
    "value_smaller_than_min": {"add": entry("Add", a=["n", 0], b=-1)},
    "value_bigger_than_max": {"add": entry("Add", a=["n", 0], b=101)},
    "value_not_in_list": {
        "add": entry("Add", a=["n", 0], b=1), "c": entry("Choice", kind="blue"), "show": entry("Show", value=["c", 0]),
    },
    "custom_validation_failed": {"c": entry("Fussy", word="now", number=3), "show": entry("Show", value=["c", 0])},
    "dependency_cycle": {"add": entry("Add", a=["add", 0], b=1)},
}  # fmt: skip


@pytest.mark.parametrize("kind", WRONG_NODES)
async def test_a_wrong_node_is_named_with_its_error(server, kind):
    prompt = sum_prompt() | WRONG_NODES[kind]
    async with running(server) as site:
        answer = await site.post("/prompt", {"prompt": prompt, "client_id": "me"}, 400)
        assert await site.get("/queue") == {"queue_running": [], "queue_pending": []}
    assert answer["error"].keys() == {"type", "message", "details", "extra_info"}
    assert answer["error"]["type"] == "prompt_outputs_failed_validation"
    ((node, report),) = answer["node_errors"].items()
    assert node == ("c" if "c" in prompt else "add")
    assert report["class_type"] == prompt[node]["class_type"] and report["dependent_outputs"] == ["show"]
    assert report["errors"][0]["type"] == kind
    assert report["errors"][0].keys() == {"type", "message", "details", "extra_info"}


async def test_good_outputs_run_beside_wrong_ones(server):
    prompt = sum_prompt() | {"m": entry("Number", value=-5), "bad": entry("Show", value=["m", 0])}
    async with running(server) as site:
        answer = await site.post("/prompt", {"prompt": prompt})
        assert answer["node_errors"]["m"]["dependent_outputs"] == ["bad"]
        assert (await site.ended(answer["prompt_id"]))["outputs"] == {"show": {"values": [5]}}


NO_PROMPT, INVALID, REQUEST, MISSING = "no_prompt", "invalid_prompt", "invalid_request", "missing_node_type"
WRONG_BODIES = [
    (b"", INVALID),
    (b"{", INVALID),
    (b"\xff\xfe{}", INVALID),
    (b"[]", NO_PROMPT),
    (b'"prompt"', NO_PROMPT),
    (b"7", NO_PROMPT),
    (b"null", NO_PROMPT),
    (b"{}", NO_PROMPT),
    ({"prompt": None}, NO_PROMPT),
    ({"prompt": {}}, NO_PROMPT),
    ({"prompt": [1]}, NO_PROMPT),
    ({"prompt": {"1": None}}, INVALID),
    ({"prompt": {"1": {"inputs": {}}}}, MISSING),
    ({"prompt": {"1": {"class_type": "Nothing"}}}, MISSING),
    ({"prompt": {"1": {"class_type": ["Show"]}}}, MISSING),
    ({"prompt": {"1": {"class_type": "Show", "inputs": [1]}}}, INVALID),
    ({"prompt": {"1": entry("Number", value=1)}}, "prompt_no_outputs"),
    (b"[" * 100_000, INVALID),
    (b'{"prompt":' + b'{"a":' * 5000 + b"1" + b"}" * 5001, INVALID),
    (b'{"prompt": {}, "prompt": {}}', INVALID),
    (b'{"prompt": 1' + b"0" * 5000 + b"}", "no_prompt"),
    ({"client_id": 5}, REQUEST),
    ({"client_id": "x" * 201}, REQUEST),
    ({"prompt_id": 5}, REQUEST),
    ({"prompt_id": ""}, REQUEST),
    ({"prompt_id": ["a"]}, REQUEST),
    ({"extra_data": []}, REQUEST),
    ({"number": "1"}, REQUEST),
    ({"number": True}, REQUEST),
    ({"number": float("inf")}, REQUEST),
    ({"number": float("nan")}, REQUEST),
    ({"front": 1}, REQUEST),
    ({"partial_execution_targets": "show"}, REQUEST),
    ({"partial_execution_targets": [1]}, REQUEST),
    ({"partial_execution_targets": ["n"]}, "prompt_no_outputs"),
    ({"extra_data": {"extra_pnginfo": {"workflow": {"zoom": float("nan")}}}}, INVALID),
    ({"other": float("-inf")}, INVALID),
]


async def test_wrong_requests_are_refused_and_the_server_lives(server):
    async with running(server) as site:
        for body, kind in WRONG_BODIES:
            if isinstance(body, dict) and "prompt" not in body:
                body = {"prompt": sum_prompt(), **body}
            answer = await site.post("/prompt", body, 400)
            assert answer["error"]["type"] == kind, (body, answer)
            assert set(answer) == {"error", "node_errors"}
        assert (await site.ended(await site.queue(sum_prompt())))["outputs"] == {"show": {"values": [5]}}
        assert await site.get("/prompt") == {"exec_info": {"queue_remaining": 0}}


async def test_nan_as_a_seed_is_an_error_of_its_node(server):
    body = json.dumps({"prompt": picture_prompt(seed=float("nan"))})
    async with running(server) as site:
        answer = await site.post("/prompt", body, 400)
    assert answer["node_errors"]["draw"]["errors"][0]["type"] == "invalid_input_type"


async def test_a_request_that_is_too_large_is_refused(server):
    async with running(server, max_body_size=10_000) as site:
        answer = await site.post("/prompt", {"prompt": sum_prompt(), "extra_data": {"x": "x" * 20_000}}, 413)
        assert answer["error"]["type"] == "request_too_large"
        await site.queue(sum_prompt())


async def test_a_prompt_of_too_many_nodes_is_refused(server):
    prompt = {str(number): {} for number in range(20_001)}
    async with running(server) as site:
        answer = await site.post("/prompt", {"prompt": prompt}, 400)
    assert answer["error"]["type"] == "invalid_prompt" and "20001 nodes" in answer["error"]["details"]


async def test_ids_may_be_any_text(server):
    name = "наш/..%2F\u202e 😀 \ud800"
    prompt = {f"{name}{key}": value for key, value in sum_prompt().items()}
    prompt[f"{name}add"]["inputs"]["a"] = [f"{name}n", 0]
    prompt[f"{name}show"]["inputs"]["value"] = [f"{name}add", 0]
    async with running(server) as site:
        prompt_id = await site.queue(prompt, prompt_id=name, client_id=name)
        while not (history := await site.get("/history")):
            await asyncio.sleep(0.005)
        jobs = (await site.get("/jobs"))["jobs"]
    assert prompt_id == name and history[name]["outputs"] == {f"{name}show": {"values": [5]}}
    assert [job["id"] for job in jobs] == [name]


async def test_an_id_that_waits_or_runs_is_not_taken_twice(server):
    async with running(server) as site:
        await site.queue(picture_prompt(100, 0.01), prompt_id="a")
        await site.queue(sum_prompt(), prompt_id="b")
        for name in "ab":
            answer = await site.post("/prompt", {"prompt": sum_prompt(), "prompt_id": name}, 400)
            assert answer["error"]["type"] == "invalid_request" and name in answer["error"]["message"]
        await site.post("/interrupt")
        await site.ended("b")
        await site.queue(sum_prompt(a=7), prompt_id="b")  # one that ended may come again, and is the newest
        while (await site.get("/history/b"))["b"]["outputs"] != {"show": {"values": [10]}}:
            await asyncio.sleep(0.005)


async def test_only_the_targets_run(server, flow):
    prompt = sum_prompt() | {"m": entry("Number", value=9), "other": entry("Show", value=["m", 0])}
    async with running(server) as site:
        prompt_id = await site.queue(prompt, partial_execution_targets=["other"])
        assert (await site.ended(prompt_id))["outputs"] == {"other": {"values": [9]}}
    assert flow.CALLS == [("Number", 9), ("Show", 9)]


async def test_secrets_are_never_kept(server):
    secret = {"auth_token_comfy_org": "SECRET", "api_key_comfy_org": "SECRET"}
    extra = {**secret, "extra_pnginfo": {"workflow": {"nodes": []}}}
    async with running(server) as site:
        prompt_id = await site.queue(picture_prompt(20, 0.01), extra_data=extra)
        shown = [await site.get(path) for path in ("/queue", "/jobs", f"/jobs/{prompt_id}")]
        shown.append(await site.ended(prompt_id))
    assert "SECRET" not in json.dumps(shown) and "extra_pnginfo" in json.dumps(shown)
    files = [*server["user_directory"].rglob("*"), *server["host"].output_directory.iterdir()]
    assert len(files) >= 2 and not any(b"SECRET" in file.read_bytes() for file in files if file.is_file())
