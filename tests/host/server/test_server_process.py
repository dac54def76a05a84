"""Does `imagen serve` start, say what is wrong, end at once, and leave nothing half-written when it is killed?"""

import asyncio
import importlib.util
import json
import os
import re
import signal
import socket
import subprocess
import sys
from contextlib import contextmanager
from pathlib import Path

import aiohttp
import pytest
from host_graphs import PACK
from PIL import Image
from server_client import picture_prompt, sum_prompt

from imagen_host.cli import main
from imagen_host.server import frontend

ROOT = Path(__file__).parents[3]


@pytest.fixture
def folder(tmp_path):
    (tmp_path / "editor").mkdir()
    (tmp_path / "editor" / "index.html").write_text("<!doctype html><title>editor</title>")
    return tmp_path


@contextmanager
def serving(folder, *arguments):
    """A server process and the address it printed."""
    command = [sys.executable, "-m", "imagen_host", "serve", "--no-open", "--port", "0", "--frontend", "editor"]
    ours = {"PYTHONPATH": str(ROOT), "IMAGEN_PACK": str(PACK), "OMP_NUM_THREADS": "1"}
    output = {"stdout": subprocess.PIPE, "stderr": subprocess.STDOUT, "text": True}
    process = subprocess.Popen([*command, *arguments], cwd=folder, env=os.environ | ours, **output)
    try:
        lines = []
        for line in process.stdout:
            lines.append(line)
            if found := re.search(r"http://\S+", line):
                yield process, found[0]
                return
        raise AssertionError("".join(lines))
    finally:
        process.kill()
        process.wait()
        process.stdout.close()


async def at_work(http, prompt):
    """Queue a prompt and return its id when its first node reports progress."""
    async with (
        http.ws_connect("/ws?clientId=me") as socket,
        http.post("/prompt", json={"prompt": prompt, "client_id": "me"}) as answer,
    ):
        assert answer.status == 200, await answer.text()
        async for message in socket:
            if message.type == aiohttp.WSMsgType.TEXT and json.loads(message.data)["type"] == "progress":
                return (await answer.json())["prompt_id"]


async def finished(http, prompt):
    async with http.post("/prompt", json={"prompt": prompt}) as answer:
        prompt_id = (await answer.json())["prompt_id"]
    while True:
        async with http.get(f"/history/{prompt_id}") as answer:
            if found := await answer.json():
                return prompt_id, found[prompt_id]
        await asyncio.sleep(0.01)


async def test_a_signal_ends_it_at_once_and_interrupts_the_run(folder):
    with serving(folder) as (process, address):
        async with aiohttp.ClientSession(address) as http:
            prompt_id = await at_work(http, picture_prompt(1000, 0.5))
            port = int(address.rpartition(":")[2])
            for _ in range(5):  # requests that never end
                _, writer = await asyncio.open_connection("127.0.0.1", port)
                writer.write(
                    f"POST /prompt HTTP/1.1\r\nHost: 127.0.0.1:{port}\r\nContent-Length: 99\r\n\r\n{{".encode()
                )
            await asyncio.sleep(0.1)
            process.send_signal(signal.SIGINT)
            assert await asyncio.to_thread(process.wait, 300) == 0
    line = (folder / "user" / "history.jsonl").read_text()
    assert prompt_id in line and "execution_interrupted" in line
    assert not list(folder.glob("output/*"))


async def test_it_ends_in_the_middle_of_a_long_step(folder):
    with serving(folder) as (process, address):
        async with aiohttp.ClientSession(address) as http:
            first = picture_prompt(2, 0.1)
            first["again"] = picture_prompt(1, 600.0, seed=1)["draw"]  # one step of ten minutes
            first["save2"] = {"class_type": "SaveImage", "inputs": {"images": ["again", 0], "filename_prefix": "x"}}
            await at_work(http, first)
            while not (folder / "output" / "test_00001_.png").exists():
                await asyncio.sleep(0.01)
            await asyncio.sleep(0.2)
            process.send_signal(signal.SIGTERM)
            assert await asyncio.to_thread(process.wait, 300) == 0


async def test_killed_in_the_middle_nothing_is_half_written_and_history_is_still_there(folder):
    names = ["--out", "pictures", "--user-dir", "me"]
    with serving(folder, *names) as (process, address):
        async with aiohttp.ClientSession(address) as http:
            done, entry = await finished(http, sum_prompt())
            large = picture_prompt(1, side=1500)  # a second and more to compress
            for number in range(3):
                large[f"save{number}"] = large["save"]
            await at_work(http, large)
            while not any(folder.glob("pictures/.imagen-*")):
                await asyncio.sleep(0.001)
            process.send_signal(signal.SIGKILL)
            await asyncio.to_thread(process.wait, 300)
    for path in folder.glob("pictures/*.png"):
        Image.open(path).load()
    with serving(folder, *names) as (process, address):
        async with aiohttp.ClientSession(address) as http:
            async with http.get("/history") as answer:
                assert await answer.json() == {done: entry}
            _, after = await finished(http, large)
            assert after["status"]["completed"]
    assert all(Image.open(path).size == (1500, 1500) for path in folder.glob("pictures/*.png"))


@pytest.fixture
def refusal(folder, monkeypatch, capsys):
    """What `imagen serve` says when it refuses; in this process, since it ends before it serves."""
    monkeypatch.chdir(folder)
    monkeypatch.setenv("IMAGEN_PACK", str(PACK))

    def run(*arguments):
        code = main(["serve", "--no-open", *arguments])
        said = capsys.readouterr().err
        assert code == 2 and "Traceback" not in said, (code, said)
        return said

    return run


def test_what_cannot_be_used_is_refused_with_what_to_do(refusal):
    assert "error: no editor in" in refusal("--frontend", "nowhere")
    Path("file").write_text("")
    editor = ("--frontend", "editor")
    assert "cannot be written" in refusal(*editor, "--user-dir", "file")
    assert "choose another with --out" in refusal(*editor, "--out", "file")
    assert "choose with --host and --port" in refusal(*editor, "--port", "70000")
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = str(taken.getsockname()[1])
        assert f"cannot listen on 127.0.0.1:{port}" in refusal(*editor, "--port", port)


@pytest.mark.parametrize("package", ["aiohttp", "comfyui_frontend_package"])
def test_without_the_extra_it_says_how_to_install_it(refusal, monkeypatch, package):
    """The package is made impossible to find, as in an installation without the extra."""
    find = importlib.util.find_spec
    for place in (importlib.util, frontend):
        monkeypatch.setattr(place, "find_spec", lambda name, *rest: None if name == package else find(name, *rest))
    assert "pip install -e '.[editor]'" in refusal()
