"""How fast does `imagen batch` draw the 64 px graph on 1 and 2 workers, does memory stay flat, and what does a loop cost?

    python benchmarks/batch.py --jobs 1000 --workers 1 2 --steps 20 --loop 3

The rate is that between the first tenth of the jobs and the last, so that loading does not count; memory is the resident
size of all workers at those two moments. The loop is `imagen run` once a picture, as one would write it by hand. Prints
Markdown.
"""

from __future__ import annotations

import argparse
import csv
import os
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import psutil

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
    out = folder / f"out{workers}"
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


def loop(folder: Path, count: int, steps: int) -> float:
    """Pictures a second of a loop over `imagen run`."""
    start = time.perf_counter()
    for seed in range(count):
        arguments = [WORKFLOW, "--prompt", THINGS[seed % len(THINGS)], "--seed", str(seed), *settings(steps)]
        run = command("run", *arguments, "--out", str(folder / "loop"), "--quiet")
        subprocess.run(run, env=SURROUNDINGS, check=True, stdout=subprocess.DEVNULL)
    return count / (time.perf_counter() - start)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--jobs", type=int, default=1000)
    parser.add_argument("--workers", type=int, nargs="+", default=[1, 2])
    parser.add_argument("--steps", type=int, default=20)
    parser.add_argument("--loop", type=int, default=3, help="runs of the loop; 0: none")
    options = parser.parse_args()
    with tempfile.TemporaryDirectory() as place:
        folder = Path(place)
        write_jobs(folder / "jobs.csv", options.jobs)
        print("| | pictures/s | beside the first | seconds in all | MiB of workers, at a tenth and at the end |")
        print("| --- | --- | --- | --- | --- |", flush=True)
        first = None
        for workers in options.workers:
            rate, seconds, early, late = batch(folder, options.jobs, workers, options.steps)
            first = first or rate
            memory = f"{early:,.0f} and {late:,.0f}"
            print(f"| {workers} workers | {rate:.3f} | {rate / first:.2f}x | {seconds:.0f} | {memory} |", flush=True)
        if options.loop:
            rate = loop(folder, options.loop, options.steps)
            print(f"| a loop of `imagen run` | {rate:.3f} | {rate / first:.2f}x | | |")


if __name__ == "__main__":
    main()
