"""What does one pair of networks cost? Run in a process of its own, prints one line of JSON.

python benchmarks/measure.py time sr256 --repetitions 7 --threads 2
python benchmarks/measure.py memory sr256 --side 1 --threads 2
"""

from __future__ import annotations

import argparse
import contextlib
import io
import json
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import torch
from torch.utils.flop_counter import FlopCounterMode

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

from contenders import PAIRS, PARAMETER_TOLERANCE, Contender
from resident import peak_mib


def seconds(step: Callable[[], object]) -> tuple[float, float]:
    """Wall time and processor time of one call; the latter, summed over threads, hardly minds a busy machine."""
    wall, processor = time.perf_counter(), time.process_time()
    step()
    return time.perf_counter() - wall, time.process_time() - processor


def gflop(contender: Contender) -> float:
    """10^9 floating-point operations of one conditional forward pass (a multiply-add counts as two)."""
    with FlopCounterMode(display=False) as counter:
        contender.forward()
    return counter.get_total_flops() / 1e9


def compare(pair: str, repetitions: int) -> dict[str, Any]:
    """Both sides of a pair: parameters, GFLOP a forward pass, and guided steps timed by turns after one warm-up each."""
    sides = [build() for build in PAIRS[pair]]
    counts = [side.parameters for side in sides]
    if abs(counts[1] / counts[0] - 1) > PARAMETER_TOLERANCE:
        raise SystemExit(
            f"{pair}: parameter counts {counts} differ by more than {PARAMETER_TOLERANCE:.0%}; "
            "change the widths in benchmarks/contenders.py"
        )
    flops = [gflop(side) for side in sides]
    for side in sides:
        side.guided_step()
    turns = [[seconds(side.guided_step) for side in sides] for _ in range(repetitions)]
    wall, processor = ([[times[clock] for times in turn] for turn in turns] for clock in (0, 1))
    return {"parameters": counts, "gflop": flops, "seconds": wall, "processor_seconds": processor}


def memory(pair: str, side: int) -> dict[str, Any]:
    """Peak resident size of one side built and taking two guided steps, and what its imports alone had taken."""
    contender = PAIRS[pair][side]()
    for _ in range(2):
        contender.guided_step()
    return {"peak_mib": peak_mib(), "imports_mib": contender.imports_mib}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("what", choices=("time", "memory"))
    parser.add_argument("pair", choices=PAIRS)
    parser.add_argument("--side", type=int, choices=(0, 1), default=1, help="memory: 0 the other side, 1 ours")
    parser.add_argument("--repetitions", type=int, default=7)
    parser.add_argument("--threads", type=int, default=2)
    arguments = parser.parse_args()
    torch.set_num_threads(arguments.threads)
    torch.manual_seed(0)
    with torch.no_grad(), contextlib.redirect_stdout(io.StringIO()):  # the peer prints advice when built
        found = (
            compare(arguments.pair, arguments.repetitions)
            if arguments.what == "time"
            else memory(arguments.pair, arguments.side)
        )
    print(json.dumps(found))


if __name__ == "__main__":
    main()
