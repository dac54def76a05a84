"""How does the pack compare with imagen-pytorch 2.1.0, and with its own base design? Prints three tables.

    make bench                                     (installs the peer into .bench-venv first; see README.md here)
    benchmarks/run.sh --threads 1 --repetitions 5 --only base64 sr256

This process imports no torch: every measurement runs in a process of its own (measure.py, cascade.py).
"""

from __future__ import annotations

import argparse
import datetime
import json
import os
import platform
import subprocess
import sys
from importlib.metadata import version
from pathlib import Path
from statistics import median
from typing import Any

HERE = Path(__file__).resolve().parent
PEER_PAIRS = {"base64": "base, 64 px", "sr256": "SR 64 to 256, 256 px"}
OWN_PAIRS = {"efficient-plan": "base (F.1)", "efficient-blocks": "base, Efficient's levels"}
TARGETS = {"base64": 1.3, "sr256": 1.3, "efficient-plan": 2.0, "efficient-blocks": 2.0}
OWN_TURNS = 3
CASCADE = "cascade"
CASCADE_TITLE = "First picture at 1024 px, everything from the start of the process to the PNG"
PEER_HEADINGS = [
    "stage", "network", "M parameters", "GFLOP a forward", "s a guided step", "CPU s a guided step",
    "peak MiB", "peak MiB above imports",
]  # fmt: skip
OWN_HEADINGS = [
    "base design",
    "M parameters",
    "GFLOP a forward",
    "guided steps a second",
    "Efficient is",
    "by CPU time",
]
CASCADE_HEADINGS = ["command", "s", "peak MiB"]


def run(script: str, *arguments: object) -> dict[str, Any]:
    """The last line of a measuring process's output, which is JSON; SystemExit when it failed."""
    command = [sys.executable, str(HERE / script), *map(str, arguments)]
    done = subprocess.run(command, stdout=subprocess.PIPE, text=True)
    if done.returncode:
        raise SystemExit(f"{' '.join(command)} failed with exit code {done.returncode}; any reason it gave is above")
    return json.loads(done.stdout.splitlines()[-1])


def show(title: str, headings: list[str], rows: list[list[str]]) -> None:
    """Print a Markdown table, unless it is empty."""
    if rows:
        lines = [headings, ["---"] * len(headings), *rows]
        print(f"\n{title}\n\n" + "\n".join("| " + " | ".join(line) + " |" for line in lines), flush=True)


def spread(values: list[float]) -> str:
    return f"{min(values):.2f} to {max(values):.2f}"


def measure_times(pair: str, threads: int, turns: int) -> dict[str, Any]:
    """Both sides timed by turns; `ratios` are the turns' own, other / ours, so that a busy machine troubles both."""
    found = run("measure.py", "time", pair, "--threads", threads, "--repetitions", turns)
    found["ratios"] = [other / mine for other, mine in found["seconds"]]
    found["processor_ratios"] = [other / mine for other, mine in found["processor_seconds"]]
    return found


def measure_pair(pair: str, threads: int, turns: int) -> dict[str, Any]:
    """The times, and the memory of each side alone."""
    found = measure_times(pair, threads, turns)
    found["memory"] = [run("measure.py", "memory", pair, "--threads", threads, "--side", side) for side in (0, 1)]
    return found


def peer_rows(pair: str, found: dict[str, Any]) -> list[list[str]]:
    """Theirs, ours, and ours / theirs for one stage."""
    counts, flops = found["parameters"], found["gflop"]
    times = list(zip(*found["seconds"], strict=True))
    processor = list(zip(*found["processor_seconds"], strict=True))
    peaks = [side["peak_mib"] for side in found["memory"]]
    above = [side["peak_mib"] - side["imports_mib"] for side in found["memory"]]
    rows = [
        [
            PEER_PAIRS[pair],
            name,
            f"{counts[side] / 1e6:.2f}",
            f"{flops[side]:.1f}",
            f"{median(times[side]):.3f} ({spread(times[side])})",
            f"{median(processor[side]):.3f}",
            f"{peaks[side]:.0f}",
            f"{above[side]:.0f}",
        ]
        for side, name in enumerate(("imagen-pytorch 2.1.0", "imagen-nodes"))
    ]
    count, flop, peak, rise = (f"{ours / theirs:.3f}" for theirs, ours in (counts, flops, peaks, above))
    step = f"{1 / median(found['ratios']):.3f}: {verdict(pair, found)}"
    cpu = f"{1 / median(found['processor_ratios']):.3f}: {median(found['processor_ratios']):.2f}x"
    return [*rows, [PEER_PAIRS[pair], "ours / theirs", count, flop, step, cpu, peak, rise]]


def verdict(pair: str, found: dict[str, Any]) -> str:
    """How many times faster, with the range over the turns, against the target."""
    ratio = median(found["ratios"])
    word = "met" if ratio >= TARGETS[pair] else "MISSED"
    return f"{ratio:.2f}x as fast ({spread(found['ratios'])}; target {TARGETS[pair]}x {word})"


def own_row(pair: str, found: dict[str, Any]) -> list[str]:
    """The Efficient U-Net beside one way to use the base design at 256 px."""
    counts = " / ".join(f"{count / 1e6:.2f}" for count in found["parameters"])
    flops = " / ".join(f"{flop:.1f}" for flop in found["gflop"])
    rates = " / ".join(f"{1 / median(times):.3f}" for times in zip(*found["seconds"], strict=True))
    return [OWN_PAIRS[pair], counts, flops, rates, verdict(pair, found), f"{median(found['processor_ratios']):.2f}x"]


def cascade_row(found: dict[str, Any]) -> list[str]:
    if "missing" in found:
        return [found["missing"], "", ""]
    return ["imagen run text_to_image_1024", f"{found['seconds']:.1f}", f"{found['peak_mib']:.0f}"]


def machine(threads: int, turns: int) -> str:
    """One line: processor, system, versions, date."""
    info = Path("/proc/cpuinfo")
    lines = info.read_text().splitlines() if info.exists() else []
    names = [line.split(":")[1].strip() for line in lines if line.startswith("model name")]
    return (
        f"{names[0] if names else platform.processor()}, {os.cpu_count()} cores; {platform.system()}; "
        f"Python {platform.python_version()}; torch {version('torch')}; {threads} threads; fp32; batch 1; "
        f"median of {turns} turns (range); {datetime.date.today().isoformat()}"
    )


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--threads", type=int, default=2)
    parser.add_argument("--repetitions", type=int, default=7, help="turns of the first table")
    parser.add_argument("--only", nargs="+", choices=(*PEER_PAIRS, *OWN_PAIRS, CASCADE), help="default: everything")
    arguments = parser.parse_args()
    wanted = arguments.only or [*PEER_PAIRS, *OWN_PAIRS, CASCADE]

    print(machine(arguments.threads, arguments.repetitions), flush=True)
    rows = [
        row
        for pair in PEER_PAIRS
        if pair in wanted
        for row in peer_rows(pair, measure_pair(pair, arguments.threads, arguments.repetitions))
    ]
    show("One guided step beside imagen-pytorch", PEER_HEADINGS, rows)
    rows = [own_row(pair, measure_times(pair, arguments.threads, OWN_TURNS)) for pair in OWN_PAIRS if pair in wanted]
    show("Efficient U-Net beside the base design, both at 256 px (base / Efficient)", OWN_HEADINGS, rows)
    if CASCADE in wanted:
        show(CASCADE_TITLE, CASCADE_HEADINGS, [cascade_row(run("cascade.py", "--threads", arguments.threads))])


if __name__ == "__main__":
    main()
