"""A client as the editor is one: queues prompts, listens on the websocket, and collects what it hears."""

import asyncio
import json
import struct
from contextlib import asynccontextmanager

from aiohttp import WSMsgType
from aiohttp.test_utils import TestClient, TestServer
from host_graphs import entry

from imagen_host.server.app import create_app
from imagen_host.server.state import ServerState

ENDS = ("execution_success", "execution_error", "execution_interrupted")


@asynccontextmanager
async def running(server, **settings):
    """A server on a free port, and a Site to talk to it."""
    state = ServerState(**server, **settings)
    async with TestClient(TestServer(create_app(state))) as http:
        yield Site(http, state)


class Site:
    """Short ways to use the routes of one server."""

    def __init__(self, http, state):
        self.http, self.state = http, state

    async def get(self, path, status=200):
        async with self.http.get(path) as answer:
            assert answer.status == status, await answer.text()
            return await answer.json()

    async def post(self, path, body=None, status=200):
        """The answer's JSON, or None for an empty one. `body` is sent as it is when it is text or bytes."""
        data = body if isinstance(body, (str, bytes)) or body is None else json.dumps(body)
        async with self.http.post(path, data=data, headers={"Content-Type": "application/json"}) as answer:
            text = await answer.text()
            assert answer.status == status, (answer.status, text)
            return json.loads(text) if text else None

    async def queue(self, prompt, **more):
        return (await self.post("/prompt", {"prompt": prompt, **more}))["prompt_id"]

    async def ended(self, prompt_id):
        """The history of a prompt, as soon as it has one."""
        while not (found := await self.get(f"/history/{prompt_id}")):
            await asyncio.sleep(0.005)
        return found[prompt_id]

    @asynccontextmanager
    async def listen(self, sid="me", **flags):
        """A websocket of client `sid`; with `flags` it says what it supports."""
        async with self.http.ws_connect(f"/ws?clientId={sid}", max_msg_size=0) as socket:
            ear = Ear(socket)
            if flags:
                await socket.send_json({"type": "feature_flags", "data": flags})
            yield ear


class Ear:
    """What one websocket hears: text as (type, data), binary as (event number, rest)."""

    def __init__(self, socket):
        self.socket, self.heard = socket, []

    async def next(self):
        message = await self.socket.receive(timeout=300)
        assert message.type in (WSMsgType.TEXT, WSMsgType.BINARY), message
        if message.type == WSMsgType.TEXT:
            data = json.loads(message.data)
            self.heard.append((data["type"], data["data"]))
        else:
            self.heard.append((struct.unpack(">I", message.data[:4])[0], message.data[4:]))
        return self.heard[-1]

    async def until(self, *kinds, **wanted):
        """Listen until a message of one of these types, with this data; returns its data."""
        while True:
            kind, data = await self.next()
            if kind in kinds and all(data[key] == value for key, value in wanted.items()):
                return data

    async def over(self, prompt_id):
        """Listen until a prompt is over."""
        await self.until("executing", node=None, prompt_id=prompt_id)

    def kinds(self):
        return [kind for kind, _ in self.heard]

    def of(self, kind):
        return [data for found, data in self.heard if found == kind]


def sum_prompt(a=2, b=3):
    return {
        "n": entry("Number", value=a),
        "add": entry("Add", a=["n", 0], b=b),
        "show": entry("Show", value=["add", 0]),
    }


def picture_prompt(steps=2, seconds=0.0, seed=0, side=8, **more):
    picture = entry("Picture", seed=seed, steps=steps, width=side, height=side, seconds_per_step=seconds, **more)
    return {"draw": picture, "save": entry("SaveImage", images=["draw", 0], filename_prefix="test")}
