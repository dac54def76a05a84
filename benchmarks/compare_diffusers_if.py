"""How fast is a guided step of DeepFloyd IF beside diffusers', on the same weights, in one process? Prints Markdown.

    make bench-if                                                          (CPU, a 135M network, what README.md shows)
    python benchmarks/compare_diffusers_if.py --device cuda --size I-M I-XL II-L --dtype float16 --ours graph

Weights are random, at true sizes. Both sides take turns, so that a busy machine slows both; a ratio is the median of the
turns' own ratios, with their range.
"""

from __future__ import annotations

import argparse
import datetime
import platform
import subprocess
import time
from collections.abc import Callable
from importlib.metadata import version
from pathlib import Path
from statistics import median

import torch
from if_networks import SIZES, Inputs, Side, diffusers_side, gflop, our_network, our_side, parameters
from torch import Tensor, nn

DTYPES = {"float32": torch.float32, "float16": torch.float16, "bfloat16": torch.bfloat16}
CEILING_SIDE = {"cpu": 2048, "cuda": 8192}
HEADINGS = ["size", "side", "M parameters", "GFLOP a step", "ms a step", "CPU ms", "TFLOP/s", "of matmul", "peak MiB"]


def main() -> None:
    options = parse()
    torch.set_num_threads(options.threads)
    torch.backends.cudnn.benchmark = True
    dtype = DTYPES[options.dtype]
    ceiling = matmul_tflops(options.device, dtype, options.threads)
    print(machine(options, ceiling))
    print("\n| " + " | ".join(HEADINGS) + " |\n|" + " --- |" * len(HEADINGS), flush=True)
    verdicts = [compare(size, options, dtype, ceiling) for size in options.size]
    print("\n" + "\n".join(verdicts))


def parse() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--device", choices=("cpu", "cuda"), default="cpu")
    parser.add_argument("--size", nargs="+", choices=list(SIZES), default=["135M"])
    parser.add_argument("--dtype", choices=list(DTYPES), default="float32")
    modes = ("no", "graph", "default", "reduce-overhead", "max-autotune", "max-autotune-no-cudagraphs")
    parser.add_argument("--ours", choices=modes, default="no", help="CUDA graph, or a mode of torch.compile")
    parser.add_argument("--peer-channels-last", action="store_true", help="a third side: diffusers in channels_last")
    parser.add_argument("--batch", type=int, default=1, help="images; guidance doubles them")
    parser.add_argument("--repetitions", type=int, default=7, help="turns")
    parser.add_argument("--threads", type=int, default=1)
    return parser.parse_args()


@torch.inference_mode()
def compare(size: str, options: argparse.Namespace, dtype: torch.dtype, ceiling: float) -> str:
    """Print one row for each side; returns a sentence with parity and ratio."""
    operations = count_operations(size, options.batch)
    torch.manual_seed(0)
    inputs = Inputs.random(size, options.batch, options.device, dtype)
    theirs = diffusers_side(size, inputs)
    eager = our_side(our_network(size, theirs.network), inputs)
    ours = eager if options.ours == "no" else our_side(eager.network, inputs, compiled=options.ours)
    sides = [theirs, ours]
    if options.peer_channels_last:
        other = diffusers_side(size, inputs, name="diffusers, channels_last")
        other.network.load_state_dict(theirs.network.state_dict())
        other.network.to(memory_format=torch.channels_last)
        sides.append(other)
    off = difference(eager.forward(), theirs.forward())
    off_eager = (
        "" if ours is eager else f", {difference(ours.step(), eager.step())} between ours, {options.ours}, and eager"
    )
    wall, processor = take_turns(sides, options.repetitions, options.device)
    for i, side in enumerate(sides):
        seconds = median(wall[i])
        flop = operations[1 if side is ours else 0]
        rate = flop / 1e3 / (seconds if options.device == "cuda" else median(processor[i]) / options.threads)
        cells = [
            size,
            side.name + ("" if side is not ours or options.ours == "no" else f", {options.ours}"),
            f"{parameters(side.network) / 1e6:.1f}",
            f"{flop:.1f}",
            f"{1e3 * seconds:.1f} ({1e3 * min(wall[i]):.1f} to {1e3 * max(wall[i]):.1f})",
            f"{1e3 * median(processor[i]):.1f}",
            f"{rate:.3f}",
            f"{rate / ceiling:.0%}",
            peak_mib(side.step, options.device),
        ]
        print("| " + " | ".join(cells) + " |", flush=True)
    return (
        f"{size}: imagen-nodes is {ratio(wall)} as fast by the clock, {ratio(processor)} by processor time; largest "
        f"difference of one forward pass {off} between ours, eager, and diffusers'{off_eager}."
    )


def count_operations(size: str, batch: int) -> tuple[float, float]:
    """GFLOP of a guided step of diffusers' and of our network, counted without running them."""
    inputs = Inputs.random(size, batch, "meta", torch.float32)
    theirs = diffusers_side(size, inputs)
    with torch.device("meta"):
        ours = our_side(our_network(size, theirs.network), inputs)
    return gflop(theirs), gflop(ours)


def difference(found: Tensor, reference: Tensor) -> str:
    found, reference = found.float(), reference.float()
    return f"{(found - reference).abs().max():.1e} (of values with deviation {reference.std():.2f})"


def take_turns(sides: list[Side], turns: int, device: str) -> tuple[list[list[float]], list[list[float]]]:
    """Wall and processor seconds of each side's steps, one step of every side a turn."""
    wall: list[list[float]] = [[] for _ in sides]
    processor: list[list[float]] = [[] for _ in sides]
    for turn in range(-2, turns):  # two turns to warm up
        for i, side in enumerate(sides):
            synchronize(device)
            start = time.perf_counter(), time.process_time()
            side.step()
            synchronize(device)
            if turn >= 0:
                wall[i].append(time.perf_counter() - start[0])
                processor[i].append(time.process_time() - start[1])
    return wall, processor


def ratio(seconds: list[list[float]]) -> str:
    """How many times faster the second side is than the first."""
    ratios = [theirs / ours for theirs, ours in zip(seconds[0], seconds[1], strict=True)]
    return f"{median(ratios):.2f}x ({min(ratios):.2f} to {max(ratios):.2f})"


def synchronize(device: str) -> None:
    if device == "cuda":
        torch.cuda.synchronize()


def peak_mib(step: Callable[[], object], device: str) -> str:
    """What a step takes besides everything that lies on the GPU already; of a CPU it is not measured."""
    if device != "cuda":
        return "-"
    torch.cuda.synchronize()
    torch.cuda.reset_peak_memory_stats()
    before = torch.cuda.memory_allocated()
    step()
    torch.cuda.synchronize()
    return f"{(torch.cuda.max_memory_allocated() - before) / 2**20:.0f}"


@torch.inference_mode()
def matmul_tflops(device: str, dtype: torch.dtype, threads: int) -> float:
    """The best of several products of two large square matrices, in TFLOP/s.

    On a CPU, as for every rate here, by processor time a thread, which a busy machine hardly changes.
    """
    clock, share = (time.perf_counter, 1) if device == "cuda" else (time.process_time, threads)
    side = CEILING_SIDE[device]
    a, b = torch.randn(2, side, side, device=device).to(dtype)
    best = float("inf")
    layer = nn.functional.linear
    for _ in range(10):
        synchronize(device)
        start = clock()
        layer(a, b)
        synchronize(device)
        best = min(best, (clock() - start) / share)
    return 2 * side**3 / best / 1e12


def machine(options: argparse.Namespace, ceiling: float) -> str:
    """One line: device, driver, versions, settings, date."""
    if options.device == "cuda":
        query = ["nvidia-smi", "--query-gpu=driver_version", "--format=csv,noheader"]
        driver = subprocess.run(query, capture_output=True, text=True).stdout.strip().splitlines()[0]
        device = f"{torch.cuda.get_device_name()}, driver {driver}, CUDA {torch.version.cuda}"
    else:
        device = f"{processor_name()}, {options.threads} thread(s)"
    return (
        f"{device}; Python {platform.python_version()}; torch {torch.__version__}; diffusers {version('diffusers')}; "
        f"{options.dtype}; batch {options.batch} (guided: {2 * options.batch} rows); matmul {ceiling:.3f} TFLOP/s; "
        f"median of {options.repetitions} turns (range); {datetime.date.today().isoformat()}"
    )


def processor_name() -> str:
    info = Path("/proc/cpuinfo")
    lines = info.read_text().splitlines() if info.exists() else []
    return next((line.split(":")[1].strip() for line in lines if line.startswith("model name")), platform.processor())


if __name__ == "__main__":
    main()
