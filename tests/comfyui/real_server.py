"""How is the real ComfyUI started with the pack in it, given a prompt, listened to and stopped?"""

from __future__ import annotations

import asyncio
import contextlib
import json
import os
import socket
import struct
import subprocess
import sys
import time
import uuid
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path

import aiohttp

ROOT = Path(__file__).resolve().parents[2]
COMFYUI = os.environ.get("COMFYUI_PATH")
PYTHON = os.environ.get("COMFYUI_PYTHON", sys.executable)
ENDS = ("execution_success", "execution_error", "execution_interrupted")
FLAGS = ["--cpu", "--disable-api-nodes", "--disable-auto-launch", "--database-url", "sqlite:///:memory:"]


@dataclass
class Run:
    """What the websocket said of one prompt: (seconds, type, data) each, the sizes of previews, the history's outputs."""

    messages: list[tuple[float, str, dict]] = field(default_factory=list)
    previews: list[bytes] = field(default_factory=list)
    outputs: dict = field(default_factory=dict)

    def of(self, kind: str) -> list[dict]:
        return [data for _, name, data in self.messages if name == kind]

    @property
    def end(self) -> str:
        return next(name for _, name, _ in reversed(self.messages) if name in ENDS)


@dataclass(frozen=True)
class Server:
    """A running ComfyUI; `base` is its folder with input, output, models and custom_nodes."""

    url: str
    base: Path
    log: Path

    @property
    def version(self) -> tuple[int, ...]:
        """(0, 3, 64) of 0.3.64."""
        return tuple(map(int, self.get("/system_stats")["system"]["comfyui_version"].split(".")[:3]))

    def get(self, path: str):
        """The JSON of a GET, or the bytes of another answer."""

        async def fetch():
            async with aiohttp.ClientSession() as session, session.get(self.url + path) as answer:
                answer.raise_for_status()
                return await (answer.json() if "json" in answer.content_type else answer.read())

        return asyncio.run(fetch())

    def post(self, path: str, body: dict | None = None) -> None:
        async def send():
            async with aiohttp.ClientSession() as session, session.post(self.url + path, json=body) as answer:
                answer.raise_for_status()

        asyncio.run(send())

    def run(self, prompt: dict, react: Callable[[str, dict], str | None] | None = None) -> Run:
        """Run a prompt to its end. react(type, data) sees each message and may name a route to post to."""
        return asyncio.run(asyncio.wait_for(self._run(prompt, react), timeout=900))

    async def _run(self, prompt: dict, react) -> Run:
        run, client = Run(), uuid.uuid4().hex
        async with aiohttp.ClientSession() as session:
            async with session.ws_connect(f"{self.url}/ws?clientId={client}", max_msg_size=0) as socket_:
                await socket_.send_json({"type": "feature_flags", "data": {"supports_preview_metadata": True}})
                posted = await session.post(f"{self.url}/prompt", json={"prompt": prompt, "client_id": client})
                answer = await posted.json()
                assert posted.status == 200, answer
                async for message in socket_:
                    if message.type == aiohttp.WSMsgType.BINARY:
                        if struct.unpack(">I", message.data[:4])[0] in (1, 4):
                            run.previews.append(message.data)
                        continue
                    said = json.loads(message.data)
                    run.messages.append((time.monotonic(), said["type"], said["data"]))
                    if react is not None and (route := react(said["type"], said["data"])):
                        await session.post(self.url + route, json={})
                    if said["type"] in ENDS and said["data"].get("prompt_id") == answer["prompt_id"]:
                        break
            run.outputs = await self._outputs(session, answer["prompt_id"])
        return run

    async def _outputs(self, session: aiohttp.ClientSession, prompt_id: str) -> dict:
        """What the history says; it is written a moment after the last message."""
        while True:
            history = await (await session.get(f"{self.url}/history/{prompt_id}")).json()
            if prompt_id in history:
                return history[prompt_id]["outputs"]
            await asyncio.sleep(0.05)


@contextlib.contextmanager
def comfyui(folder: Path, *packs: Path, flags: tuple[str, ...] = ()) -> Iterator[Server]:
    """ComfyUI in a folder of its own, with this pack and `packs` as custom nodes, ready to be asked."""
    for name in ("custom_nodes", "models", "input", "output", "temp", "user"):
        (folder / name).mkdir(parents=True, exist_ok=True)
    for pack in (ROOT, *packs):
        (folder / "custom_nodes" / ("imagen-nodes" if pack == ROOT else pack.name)).symlink_to(pack)
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    environment = os.environ | {"PYTHONDONTWRITEBYTECODE": "1", "HF_HUB_OFFLINE": "1", "TRANSFORMERS_OFFLINE": "1"}
    command = [PYTHON, "main.py", "--listen", "127.0.0.1", "--port", str(port), "--base-directory", str(folder)]
    log = folder / "comfyui.log"
    with log.open("w") as stream:
        process = subprocess.Popen(
            [*command, *FLAGS, *flags], cwd=COMFYUI, env=environment, stdout=stream, stderr=subprocess.STDOUT
        )
    try:
        server = Server(f"http://127.0.0.1:{port}", folder, log)
        _wait_until_ready(server, process)
        yield server
    finally:
        process.terminate()
        process.wait(20)


def _wait_until_ready(server: Server, process: subprocess.Popen, limit: float = 900.0) -> None:
    deadline = time.monotonic() + limit
    while True:
        try:
            server.get("/system_stats")
            return
        except aiohttp.ClientError:
            said = server.log.read_text()[-3000:]
            assert process.poll() is None, f"ComfyUI ended with {process.returncode}:\n{said}"
            assert time.monotonic() < deadline, f"ComfyUI was not ready within {limit:g} s:\n{said}"
            time.sleep(0.3)
