"""How fast does `imagen batch` draw the 64 px graph on 1 and 2 workers, does memory stay flat, and what do loops cost?

    python benchmarks/batch.py --jobs 1000 --workers 1 2 --steps 20
    python benchmarks/batch.py --workers --naive 20 --turns 3              (only the loops beside a batch of 20)

The rate is that between the first tenth of the jobs and the last, so that loading does not count; memory is the resident
size of all workers at those two moments. The naive loops are what one writes by hand: a process of `imagen run` a
picture; and one server that stays, a POST a picture, which is waited for and fetched, as `comfy run` and its like do
(the first picture, which loads, is not counted). They and a batch of as many jobs on one worker take turns; a ratio is
the median of the turns' own, with their range. Prints Markdown.
"""

from __future__ import annotations

import argparse
import asyncio
import csv
import os
import resource
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from statistics import median

import aiohttp
import psutil
from serve_load import prompt_of, started

ROOT = Path(__file__).resolve().parent.parent
WORKFLOW = "text_to_image_64"
MEBIBYTE = 2**20
THINGS = ("a 3D emoji of a red fox", "a 3D emoji of a panda", "a 3D icon of a rocket", "a 3D emoji of a blue cat")
LOOK_UP = 0.05  # seconds
SURROUNDINGS = {**os.environ, "PYTHONPATH": str(ROOT), "OMP_NUM_THREADS": "1"}  # a core a worker


def command(*arguments: str) -> list[str]:
    return [sys.executable, "-m", "imagen_host", *arguments]


def write_jobs(path: Path, count: int) -> None:
    with open(path, "w", newline="", encoding="utf-8") as file:
        table = csv.writer(file)
        table.writerow(["prompt", "seed"])
        table.writerows([THINGS[i % len(THINGS)], i] for i in range(count))


def settings(steps: int) -> list[str]:
    return [f"--set=ImagenBaseSample64.{name}={value}" for name, value in (("steps", steps), ("batch_size", 1))]


def resident(process: psutil.Process) -> float:
    """MiB of a process's children, which are the workers."""
    sizes = []
    for child in process.children(recursive=True):
        try:
            sizes.append(child.memory_info().rss)
        except psutil.NoSuchProcess:
            continue
    return sum(sizes) / MEBIBYTE


def done_in(ledger: Path) -> int:
    return ledger.read_bytes().count(b'"status": "done"') if ledger.exists() else 0


def batch(folder: Path, jobs: int, workers: int, steps: int) -> tuple[float, float, float, float]:
    """Pictures a second, seconds in all, and MiB of the workers early and late."""
    out = Path(tempfile.mkdtemp(dir=folder))  # a new one: what is done in an old one is not drawn again
    arguments = [WORKFLOW, str(folder / "jobs.csv"), "--out", str(out), "--workers", str(workers), *settings(steps)]
    start = time.perf_counter()
    process = psutil.Popen(command("batch", *arguments, "--quiet"), env=SURROUNDINGS, stdout=subprocess.DEVNULL)
    marks: list[tuple[float, int, float]] = []
    wanted = [max(1, jobs // 10), jobs - workers]
    while process.poll() is None:
        count = done_in(out / "results.jsonl")
        if len(marks) < 2 and count >= wanted[len(marks)]:
            marks.append((time.perf_counter(), count, resident(process)))
        time.sleep(LOOK_UP)
    if process.returncode or len(marks) < 2:
        raise SystemExit(f"the batch ended with exit code {process.returncode} before it could be measured")
    (early, first, memory), (late, last, memory_late) = marks
    return (last - first) / (late - early), time.perf_counter() - start, memory, memory_late


def process_loop(folder: Path, count: int, steps: int) -> float:
    """Pictures a second of a loop over `imagen run`."""
    start = time.perf_counter()
    for seed in range(count):
        arguments = [WORKFLOW, "--prompt", THINGS[seed % len(THINGS)], "--seed", str(seed), *settings(steps)]
        run = command("run", *arguments, "--out", str(folder / "loop"), "--quiet")
        subprocess.run(run, env=SURROUNDINGS, check=True, stdout=subprocess.DEVNULL)
    return count / (time.perf_counter() - start)


def server_loop(folder: Path, count: int, steps: int) -> float:
    """Pictures a second of a loop that posts to one server, begun for it."""
    with tempfile.TemporaryDirectory(dir=folder) as place, started(place, SURROUNDINGS) as (server, _):
        return asyncio.run(posted(server, folder, count, steps))


async def posted(server: str, folder: Path, count: int, steps: int) -> float:
    """One picture after another: queue it, listen until it is over, fetch it, write it. The first is not counted."""
    client = "naive"
    async with (
        aiohttp.ClientSession(server) as http,
        http.ws_connect(f"/ws?clientId={client}", max_msg_size=0) as socket,
    ):
        start = 0.0
        for seed in range(count + 1):
            if seed == 1:
                start = time.perf_counter()
            prompt = prompt_of(seed, steps)
            for node in prompt.values():
                if node["class_type"] == "ImagenTextEncode":
                    node["inputs"]["text"] = THINGS[seed % len(THINGS)]
            async with http.post("/prompt", json={"prompt": prompt, "client_id": client}) as answer:
                answer.raise_for_status()
            async with http.get("/view", params=await saved(socket)) as answer:
                answer.raise_for_status()
                (folder / f"posted_{seed}.png").write_bytes(await answer.read())
        return count / (time.perf_counter() - start)


async def saved(socket: aiohttp.ClientWebSocketResponse) -> dict:
    """The picture of the prompt that is being drawn, once it is over. RuntimeError: it failed."""
    picture = None
    async for message in socket:
        event = message.json() if message.type == aiohttp.WSMsgType.TEXT else {"type": "preview"}
        if event["type"] == "executed" and event["data"]["output"]:
            picture = event["data"]["output"]["images"][0]
        elif event["type"] == "execution_success":
            return picture
        elif event["type"] in ("execution_error", "execution_interrupted"):
            raise RuntimeError(f"the server did not draw: {event['data']}")
    raise RuntimeError("the server closed the connection")


def beside_loops(folder: Path, count: int, steps: int, turns: int) -> None:
    """A batch on one worker and both loops, by turns: rates, and how many times as fast the batch is."""
    ways = {
        "`imagen batch`, 1 worker": lambda: batch(folder, count, 1, steps)[0],
        "one server, a POST a picture": lambda: server_loop(folder, count, steps),
        "a process of `imagen run` a picture": lambda: process_loop(folder, count, steps),
    }
    write_jobs(folder / "jobs.csv", count)
    found = [[with_processor_seconds(measure) for measure in ways.values()] for _ in range(turns)]
    print("\n| way | pictures/s | s a picture | the batch is | CPU s a picture, start included |")
    print("| --- | --- | --- | --- | --- |")
    for i, name in enumerate(ways):
        rate, processor = (median(turn[i][figure] for turn in found) for figure in (0, 1))
        ratios = [turn[0][0] / turn[i][0] for turn in found]
        beside = f"{median(ratios):.2f}x as fast ({min(ratios):.2f} to {max(ratios):.2f})" if i else ""
        print(f"| {name} | {rate:.3f} | {1 / rate:.3f} | {beside} | {processor / count:.2f} |")


def with_processor_seconds(measure: Callable[[], float]) -> tuple[float, float]:
    """The rate, and the CPU seconds of all processes that were begun for it and have ended."""
    before = resource.getrusage(resource.RUSAGE_CHILDREN)
    rate = measure()
    after = resource.getrusage(resource.RUSAGE_CHILDREN)
    return rate, after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime


def many_jobs(folder: Path, options: argparse.Namespace) -> None:
    """All jobs once for each number of workers: rate and memory."""
    write_jobs(folder / "jobs.csv", options.jobs)
    print("| | pictures/s | beside the first | seconds in all | MiB of workers, at a tenth and at the end |")
    print("| --- | --- | --- | --- | --- |", flush=True)
    first = None
    for workers in options.workers:
        rate, seconds, early, late = batch(folder, options.jobs, workers, options.steps)
        first = first or rate
        memory = f"{early:,.0f} and {late:,.0f}"
        print(f"| {workers} workers | {rate:.3f} | {rate / first:.2f}x | {seconds:.0f} | {memory} |", flush=True)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--jobs", type=int, default=1000)
    parser.add_argument("--workers", type=int, nargs="*", default=[1, 2], help="none named: only the loops")
    parser.add_argument("--steps", type=int, default=20)
    parser.add_argument(
        "--naive", type=int, default=10, metavar="N", help="jobs of each naive loop; 0: none, else 4 or more"
    )
    parser.add_argument("--turns", type=int, default=3, help="of the loops (default: %(default)s)")
    options = parser.parse_args()
    if 0 < options.naive < 4:
        parser.error("--naive is for 4 jobs or more: of fewer no rate can be told")
    with tempfile.TemporaryDirectory() as place:
        if options.workers:
            many_jobs(Path(place), options)
        if options.naive:
            beside_loops(Path(place), options.naive, options.steps, options.turns)


if __name__ == "__main__":
    main()
