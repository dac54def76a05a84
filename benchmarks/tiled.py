"""What does drawing in tiles cost and save? Seconds and memory of one super-resolution call, whole and in tiles.

    python benchmarks/tiled.py --sides 1024 2048 4096

Each measurement is a process of its own, on imagen-mini's sr1024 and the pack's example picture; prints Markdown. Seam:
how large second differences are along the tiles' borders against the rows beside, over the same of the whole picture.
"""

from __future__ import annotations

import argparse
import json
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import torch
from PIL import Image
from torch import Tensor

ROOT = Path(__file__).resolve().parents[1]
sys.path[:0] = [str(ROOT), str(Path(__file__).resolve().parent)]

from resident import peak_mib, resident_mib  # noqa: E402

from imagen_core import Draw, Tiling, load_stage, resize, super_resolve  # noqa: E402


def small_picture(side: int) -> Tensor:
    pixels = np.array(Image.open(ROOT / "input" / "example.png", formats=["PNG"]).convert("RGB"))
    return resize(torch.from_numpy(pixels).movedim(-1, 0)[None] / 127.5 - 1.0, (side, side))


def seam(image: Tensor, spans: list[slice]) -> float:
    """Second differences about the rows where tiles begin or end, against rows beside in the same place of a patch of 8."""
    jumps = image.diff(n=2, dim=-2).abs().mean((0, 1, 3))
    lines = {span.start for span in spans[1:]} | {span.stop for span in spans[:-1]}
    at = sum(jumps[y - 2 : y].mean() for y in lines)
    beside = sum(jumps[y + away - 2 : y + away].mean() / 4 for y in lines for away in (-16, -8, 8, 16))
    return (at / beside).item()


def measure(side: int, tile: int, overlap: int, tiled: bool) -> dict[str, float]:
    stage, small = load_stage(ROOT / "models" / "imagen-mini" / "sr1024.safetensors"), small_picture(side // 4)
    tiling, before = Tiling(size=tile, overlap=overlap), resident_mib()
    wall, processor = time.perf_counter(), time.process_time()
    image = super_resolve(stage, small, None, Draw(seeds=[0], steps=2, tiling=tiling if tiled else None))
    spent = {"wall": time.perf_counter() - wall, "processor": time.process_time() - processor}
    spans = tiling.spans(side)
    lines = [seam(part, spans) for part in (image, image.mT)] if len(spans) > 1 else [float("nan")] * 2
    return {**spent, "mib": peak_mib() - before, "tiles": len(spans) ** 2, "rows": lines[0], "columns": lines[1]}


def child(side: int, tile: int, overlap: int, tiled: bool) -> dict[str, float] | None:
    """The same in a process of its own; None where it ended without a result, as when memory ran out."""
    command = [sys.executable, __file__, "--one", str(side), "--tile", str(tile), "--overlap", str(overlap)]
    done = subprocess.run([*command, *(["--tiled"] if tiled else [])], stdout=subprocess.PIPE, text=True)
    return json.loads(done.stdout) if done.returncode == 0 else None


def row(side: int, tile: int, overlap: int) -> str:
    whole, parts = (child(side, tile, overlap, tiled) for tiled in (False, True))
    cells = [f"{each['processor']:.1f} s, {each['mib']:.0f} MiB" if each else "no memory" for each in (whole, parts)]
    seams = [f"{parts[axis] / whole[axis]:.3f}" for axis in ("rows", "columns")] if whole and parts else ["?"] * 2
    return f"| {side} | {cells[0]} | {cells[1]} | {parts['tiles'] if parts else '?'} | {seams[0]}, {seams[1]} |"


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--sides", type=int, nargs="+", default=[1024, 2048, 4096])
    parser.add_argument("--tile", type=int, default=512)
    parser.add_argument("--overlap", type=int, default=64)
    parser.add_argument("--one", type=int, help=argparse.SUPPRESS)
    parser.add_argument("--tiled", action="store_true", help=argparse.SUPPRESS)
    given = parser.parse_args()
    if given.one:
        print(json.dumps(measure(given.one, given.tile, given.overlap, given.tiled)))
        return
    print("| side | whole | in tiles | tiles | seam, of rows and of columns |\n| --- | --- | --- | --- | --- |")
    for side in given.sides:
        print(row(side, given.tile, given.overlap), flush=True)


if __name__ == "__main__":
    main()
