"""Does `imagen serve` say of a prompt what the real ComfyUI says: messages in order, history, and refusals?"""

import asyncio
import copy
import json
import struct

import aiohttp
import pytest
from real_server import ROOT

BASE = json.loads((ROOT / "workflows" / "api" / "text_to_image_64.json").read_text(encoding="utf-8"))
KINDS = {node["class_type"]: name for name, node in BASE.items()}
SAMPLE, SAVE, LOAD = KINDS["ImagenBaseSample64"], KINDS["SaveImage"], KINDS["ImagenLoadUNet"]


def graph(seed=0, steps=2, more=None, **changes):
    """The shipped 64 pixel graph for one picture, with other inputs (node=dict) and further nodes."""
    prompt = copy.deepcopy(BASE)
    prompt[SAMPLE]["inputs"] |= {"seed": seed, "steps": steps, "batch_size": 1} | changes.get("sample", {})
    prompt[LOAD]["inputs"] |= changes.get("load", {})
    return prompt | copy.deepcopy(more or {})


def node(kind, **inputs):
    return {"class_type": kind, "inputs": inputs}


def without(prompt, node_id, name=None):
    (prompt.pop(node_id) if name is None else prompt[node_id]["inputs"].pop(name))
    return prompt


class Heard:
    """What one server says about one prompt, without what differs from run to run."""

    def __init__(self, url, body, free=False):
        asyncio.run(asyncio.wait_for(self.listen(url, body, free), timeout=900))

    async def listen(self, url, body, free):
        flags = {"type": "feature_flags", "data": {"supports_preview_metadata": True}}
        self.messages, self.stop = [], body.pop("stop", False)
        async with aiohttp.ClientSession(url) as http, http.ws_connect("/ws?clientId=same", max_msg_size=0) as ear:
            if free:
                await http.post("/free", json={"unload_models": True, "free_memory": True})
                await asyncio.sleep(1.5)
            await ear.send_json(flags)
            async with http.post("/prompt", json={**body, "client_id": "same"}) as answer:
                self.answer, self.status = await answer.json(), answer.status
            self.prompt_id = self.answer["prompt_id"]
            async for message in ear:
                kind, data = self.read(message)
                self.messages.append((kind, self.steady(kind, data)))
                if self.stop and kind == "progress":
                    self.stop = await http.post("/interrupt") is None
                if kind == "executing" and data["node"] is None:
                    break
            async with http.get(f"/history/{self.prompt_id}") as answer:
                self.history = (await answer.json())[self.prompt_id]

    @staticmethod
    def read(message):
        if message.type == aiohttp.WSMsgType.TEXT:
            said = json.loads(message.data)
            return said["type"], said["data"]
        event, size = struct.unpack(">II", message.data[:8])
        return f"binary {event}", json.loads(message.data[8 : 8 + size])

    def steady(self, kind, data):
        data = json.loads(json.dumps(data).replace(self.prompt_id, "ID"))
        if (
            kind == "feature_flags"
        ):  # a server tells what it can do: ComfyUI has more each year, of its manager and assets
            data = {key: data[key] for key in ("supports_preview_metadata", "max_upload_size")}
        for key in {"timestamp", "sid", "traceback", "current_inputs", "current_outputs"} & data.keys():
            data[key] = "..."
        if kind == "executed" and data["output"]:
            data["output"] = {key: len(value) for key, value in data["output"].items()}  # file names differ
        if kind == "execution_error":
            data["exception_message"] = data["exception_message"].strip()
        for key in {"nodes", "executed"} & data.keys():
            data[key] = sorted(data[key]) if isinstance(data[key], list) else data[key]
        return data

    def kept(self):
        """The history's form: statuses, kinds of messages, and which nodes showed what."""
        status = self.history["status"]
        shown = {node: sorted(ui) for node, ui in self.history["outputs"].items()}
        item = [type(part).__name__ for part in self.history["prompt"][2:]]
        about = {node: {**meta} for node, meta in self.history["meta"].items()}
        return status["status_str"], status["completed"], [kind for kind, _ in status["messages"]], shown, item, about


LOOK = {"look": node("PreviewImage", images=[SAMPLE, 0])}
RUNS = {  # in this order: a server's cache holds what came before
    "fresh": lambda: {"prompt": graph()},
    "all of it cached": lambda: {"prompt": graph()},
    "another seed": lambda: {"prompt": graph(1)},
    "to the front": lambda: {"prompt": graph(2), "front": True},
    "with an id": lambda: {"prompt": graph(3), "prompt_id": "12345678-1234-1234-1234-123456789abc"},
    "one target of two": lambda: {"prompt": graph(4, more=LOOK), "partial_execution_targets": ["look"]},
    "one output left out": lambda: {"prompt": graph(5, more={"bad": node("PreviewImage")})},
    "exception": lambda: {"prompt": graph(6, load={"checkpoint": "imagen-mini/sr256.safetensors"})},
}
REFUSED = {
    "no prompt": {},
    "a list": [],
    "no class": {"prompt": {"1": {"inputs": {}}}},
    "unknown class": {"prompt": {"1": node("Nothing")}},
    "no outputs": {"prompt": without(graph(), SAVE)},
    "a missing link": {"prompt": without(graph(), SAMPLE, "unet")},
    "too small": {"prompt": graph(steps=0)},
    "too large": {"prompt": graph(steps=10**9)},
    "no number": {"prompt": graph(steps="many")},
    "not in the list": {"prompt": graph(sample={"sampler": "nothing"})},
    "two types": {"prompt": graph(sample={"unet": [KINDS["ImagenTextEncode"], 0]})},
    "no link": {"prompt": graph(sample={"unet": [LOAD, 0, 0]})},
    "a target that is no output": {"prompt": graph(), "partial_execution_targets": [SAMPLE]},
}


@pytest.mark.parametrize("name", RUNS)
def test_messages_and_history_are_the_same(server, ours, name):
    here, there = (Heard(url, RUNS[name](), free=name == "fresh") for url in (ours, server.url))
    assert here.messages == there.messages
    assert here.kept() == there.kept()
    assert here.answer.keys() == there.answer.keys() and here.status == there.status


def test_siblings_are_told_alike_whatever_their_order(server, ours):
    twins = {"twin": graph(7)[SAMPLE], "look": node("PreviewImage", images=["twin", 0])}
    here, there = (Heard(url, {"prompt": graph(7, more=twins)}) for url in (ours, server.url))
    assert sorted(kind for kind, _ in here.messages) == sorted(kind for kind, _ in there.messages)
    assert here.kept() == there.kept()


def test_an_interruption_is_told_alike(server, ours):
    here, there = (Heard(url, {"prompt": graph(8, steps=500), "stop": True}) for url in (ours, server.url))
    for heard in (here, there):
        assert [kind for kind, _ in heard.messages[-3:]] == ["execution_interrupted", "status", "executing"]
    assert here.messages[-3:] == there.messages[-3:] and here.kept() == there.kept()


@pytest.mark.parametrize("name", REFUSED)
def test_refusals_are_the_same(server, ours, name):
    renamed = {"invalid_prompt": "missing_node_type"} if server.version < (0, 12) else {}  # ours are today's

    async def refusal(url):
        async with aiohttp.ClientSession(url) as http, http.post("/prompt", json=REFUSED[name]) as answer:
            body = await answer.json()
        errors = body["node_errors"] or {}
        nodes = {
            node_id: (report["class_type"], report["dependent_outputs"], [error["type"] for error in report["errors"]])
            for node_id, report in errors.items()
        }
        kind = body["error"]["type"]
        return answer.status, body.keys(), body["error"].keys(), renamed.get(kind, kind), nodes

    assert asyncio.run(refusal(ours)) == asyncio.run(refusal(server.url))
