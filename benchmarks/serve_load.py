"""Does `imagen serve` hold under load: many clients, many prompts of the 64 pixel graph, one of them never listening?

    python benchmarks/serve_load.py --clients 20 --each 10 --steps 4

Starts a server in folders of its own, or uses --server. Every client queues its prompts at once, each with a seed of its
own, and must hear that each succeeded, in order. Prints Markdown.
"""

from __future__ import annotations

import argparse
import asyncio
import contextlib
import json
import os
import re
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator, Mapping
from pathlib import Path

import aiohttp
import psutil

ROOT = Path(__file__).resolve().parent.parent
WORKFLOW = ROOT / "workflows" / "api" / "text_to_image_64.json"
MEBIBYTE = 2**20


@contextlib.contextmanager
def started(folder: str, surroundings: Mapping[str, str] = os.environ) -> Iterator[tuple[str, psutil.Process]]:
    """A server in `folder`, with these environment variables, ended afterwards."""
    (Path(folder) / "index.html").write_text("<!doctype html>")  # no editor is needed for this
    command = [sys.executable, "-m", "imagen_host", "serve", "--no-open", "--port", "0", "--frontend", "."]
    environment = {**surroundings, "PYTHONPATH": str(ROOT)}
    process = psutil.Popen(command, cwd=folder, stdout=subprocess.PIPE, text=True, env=environment)
    try:
        yield re.search(r"http://\S+", process.stdout.readline())[0], process
    finally:
        process.terminate()
        process.wait()


def prompt_of(seed: int, steps: int) -> dict:
    """The shipped 64 pixel graph for one picture."""
    prompt = json.loads(WORKFLOW.read_text(encoding="utf-8"))
    for node in prompt.values():
        if node["class_type"] == "ImagenBaseSample64":
            node["inputs"] |= {"seed": seed, "steps": steps, "batch_size": 1}
    return prompt


async def client(
    http: aiohttp.ClientSession, number: int, options: argparse.Namespace, taken: list, waits: list
) -> None:
    """Queue prompts, then listen until all are over. Raises when one is missing, failed or out of order."""
    sid, ids, ended = f"client-{number}", [], []
    async with http.ws_connect(f"/ws?clientId={sid}", max_msg_size=0) as socket:
        start = time.perf_counter()
        for k in range(options.each):
            before = time.perf_counter()
            body = {"prompt": prompt_of(number * options.each + k, options.steps), "client_id": sid}
            async with http.post("/prompt", json=body) as answer:
                answer.raise_for_status()
                ids.append((await answer.json())["prompt_id"])
            taken.append(time.perf_counter() - before)
        async for message in socket:
            event = json.loads(message.data) if message.type == aiohttp.WSMsgType.TEXT else {"type": "preview"}
            if event["type"].startswith("execution_") and event["type"] not in ("execution_start", "execution_cached"):
                assert event["type"] == "execution_success", event
                ended.append(event["data"]["prompt_id"])
                waits.append(time.perf_counter() - start)
                if len(ended) == len(ids):
                    break
    assert ended == ids, f"{sid} heard {len(ended)} of {len(ids)} prompts, or in another order"


async def watch(http: aiohttp.ClientSession, process: psutil.Process | None, memory: list, answers: list) -> None:
    """Every half second: how long /queue takes to answer, and how much memory the server holds."""
    while True:
        before = time.perf_counter()
        async with http.get("/queue") as answer:
            waiting = len((await answer.json())["queue_pending"])
        answers.append(time.perf_counter() - before)
        if process is not None:
            memory.append((waiting, process.memory_info().rss / MEBIBYTE))
        await asyncio.sleep(0.5)


async def load(server: str, process: psutil.Process | None, options: argparse.Namespace) -> None:
    taken, waits, memory, answers = [], [], [], []
    async with aiohttp.ClientSession(server) as http, http.ws_connect("/ws?clientId=client-0"):  # which never reads
        watcher = asyncio.create_task(watch(http, process, memory, answers))
        start = time.perf_counter()
        await asyncio.gather(*(client(http, number, options, taken, waits) for number in range(options.clients)))
        seconds = time.perf_counter() - start
        watcher.cancel()
    total = options.clients * options.each
    print(
        f"{total} prompts of {options.clients} clients, {options.steps} steps each: all answered, each client's in order"
    )
    print()
    print("| what | figure |\n| --- | --- |")
    print(f"| all prompts | {seconds:.1f} s, {total / seconds:.1f} a second |")
    print(f"| POST /prompt, median and slowest | {statistics.median(taken) * 1e3:.0f} ms, {max(taken) * 1e3:.0f} ms |")
    median, slowest = statistics.median(answers) * 1e3, max(answers) * 1e3
    print(f"| GET /queue while busy, median and slowest | {median:.0f} ms, {slowest:.0f} ms |")
    print(f"| first and last picture | after {min(waits):.1f} s and {max(waits):.1f} s |")
    busiest = max(range(len(memory)), key=lambda number: memory[number][0], default=0)
    for share in (0.0, 0.25, 0.5, 0.75):
        past = [used for waiting, used in memory[busiest:] if waiting <= total * (1 - share)]
        if past:
            print(f"| server's memory after {share:.0%} of the prompts | {past[0]:.0f} MiB |")
    if memory:
        print(
            f"| server's memory at the end, and at most | {memory[-1][1]:.0f}, {max(used for _, used in memory):.0f} MiB |"
        )


def main() -> None:
    parser = argparse.ArgumentParser(description="Load a server with prompts of the 64 pixel graph.")
    parser.add_argument("--clients", type=int, default=20)
    parser.add_argument("--each", type=int, default=10, help="prompts a client")
    parser.add_argument("--steps", type=int, default=4)
    parser.add_argument("--server", help="of one that runs already; default: start one")
    options = parser.parse_args()
    if options.server:
        return asyncio.run(load(options.server, None, options))
    with tempfile.TemporaryDirectory(prefix="imagen-load-") as folder, started(folder) as (server, process):
        asyncio.run(load(server, process, options))


if __name__ == "__main__":
    main()
