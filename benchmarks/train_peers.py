"""How fast does `imagen train run` learn beside imagen-pytorch's trainer and a loop of diffusers', and in what memory?

    benchmarks/run.sh train_peers.py                 (installs the peers into .bench-venv first; see README.md here)
    benchmarks/run.sh train_peers.py --turns 5 --steps 8 --batch 16 --only imagen-pytorch ours

Pictures of 32 px with captions (recipes/train_on_a_folder), float32, networks of about as many parameters: what each side
is stands in train_sides.py. Each has a process of its own; they take turns of some steps, one at a time, so that a busy
machine slows all. A ratio is the median of the turns' own, with their range. Prints Markdown.
"""

from __future__ import annotations

import argparse
import datetime
import json
import os
import subprocess
import sys
import tempfile
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from statistics import median
from typing import Any

import numpy as np

ROOT = Path(__file__).resolve().parent.parent
sys.path.insert(0, str(ROOT))

TITLES = {
    "imagen-pytorch": "imagen-pytorch's ImagenTrainer",
    "diffusers": "a diffusers loop (UNet2DConditionModel)",
    "ours": "imagen train run, base U-Net, AdamW",
    "ours, the recipe's": "imagen train run, the recipe's network, Muon",
}
TOLERANCE = 0.03  # of the networks' parameters, the recipe's own left out
PEERS = {"imagen-pytorch": "imagen_pytorch", "diffusers": "diffusers"}  # what must be installed
REFERENCE = "ours"
HEADINGS = (
    "trainer", "M parameters", "GFLOP a picture forward", "pictures/s", "CPU s a step", "peak MiB",
    "peak MiB above imports", "ours is, by the clock", "ours is, by CPU time",
)  # fmt: skip


def write_pictures(folder: Path, count: int) -> None:
    """The recipe's pictures as files, as our prepared cache, and as arrays for the peers."""
    import torch
    from train_sides import SIDE

    from imagen_core import load_text_encoder
    from imagen_train.caption_files import CaptionEmbeds, encoder_name
    from imagen_train.options import default_models_dir
    from imagen_train.own_pictures import collection_of
    from imagen_train.prepared import prepare

    recipe = ROOT / "recipes" / "train_on_a_folder" / "make_pictures.py"
    subprocess.run([sys.executable, recipe, folder / "pictures", "--count", str(count)], check=True)
    cache = prepare(collection_of(folder / "pictures", None), folder / "cache", side=SIDE).shown
    encoder = default_models_dir() / "things_text_encoder"
    text = CaptionEmbeds(cache, load_text_encoder(encoder), encoder_name(encoder)).of(
        list(range(count)), torch.zeros(count, dtype=torch.bool)
    )
    np.save(folder / "pixels.npy", np.concatenate([np.load(file) for file in sorted(cache.folder.glob("?????.npy"))]))
    np.save(folder / "embeds.npy", text.embeds.half().numpy())
    np.save(folder / "mask.npy", text.mask.numpy())


class Side:
    """A trainer's process."""

    def __init__(self, name: str, folder: Path, options: argparse.Namespace):
        script = str(Path(__file__).with_name("train_sides.py"))
        command = [sys.executable, script, name, str(folder), str(options.batch), str(options.threads)]
        environment = {**os.environ, "OMP_NUM_THREADS": str(options.threads)}
        self.name, self.turns = name, []
        self.process = subprocess.Popen(
            command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True, env=environment
        )
        self.about = self._answer()

    def take(self, steps: int) -> dict[str, float]:
        """So many steps; what they took."""
        print(steps, file=self.process.stdin, flush=True)
        return self._answer()

    def end(self) -> None:
        self.process.stdin.close()
        self.process.wait()

    def _answer(self) -> dict[str, Any]:
        line = self.process.stdout.readline()
        if not line:
            raise SystemExit(f"{self.name} ended with exit code {self.process.wait()}; any reason it gave is above")
        return json.loads(line)


def check_sizes(sides: list[Side]) -> None:
    """SystemExit where networks that are compared differ in size."""
    counts = {side.name: side.about["parameters"] for side in sides if side.name in (*PEERS, REFERENCE)}
    if counts and max(counts.values()) / min(counts.values()) - 1 > TOLERANCE:
        raise SystemExit(f"parameters differ by more than {TOLERANCE:.0%}: change widths in train_sides.py: {counts}")


def measured(sides: list[Side], options: argparse.Namespace) -> None:
    """Every side's turns, after one to warm up."""
    for side in sides:
        side.take(options.steps)
    for _ in range(options.turns):
        for side in sides:
            side.turns.append(side.take(options.steps))


def cells(side: Side, reference: Side | None, options: argparse.Namespace) -> list[str]:
    about, peak = side.about, side.turns[-1]["peak_mib"]
    rate = options.batch * options.steps / median(turn["seconds"] for turn in side.turns)
    processor = median(turn["processor_seconds"] for turn in side.turns) / options.steps
    compared = reference is not None and side is not reference
    beside = [ratio(side, reference, clock) if compared else "" for clock in ("seconds", "processor_seconds")]
    return [
        f"{TITLES[side.name]}{installed(side.name)}",
        f"{about['parameters'] / 1e6:.2f}",
        f"{about['gflop']:.3f}",
        f"{rate:.1f}",
        f"{processor:.3f}",
        f"{peak:.0f}",
        f"{peak - about['imports_mib']:.0f}",
        *beside,
    ]


def ratio(side: Side, reference: Side, clock: str) -> str:
    """How many times as fast the reference is."""
    ratios = [theirs[clock] / ours[clock] for theirs, ours in zip(side.turns, reference.turns, strict=True)]
    return f"{median(ratios):.2f}x as fast ({min(ratios):.2f} to {max(ratios):.2f})"


def installed(name: str) -> str:
    """A peer's version, said after its name; nothing for ours."""
    return f" {version(name)}" if name in PEERS else ""


def there(name: str) -> bool:
    """Whether a side can run here; says so where it cannot."""
    try:
        installed(name)
    except PackageNotFoundError:
        print(f"{name} is left out: it is not installed, benchmarks/run.sh train_peers.py installs it", file=sys.stderr)
        return False
    return True


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--turns", type=int, default=7, help="of each side (default: %(default)s)")
    parser.add_argument("--steps", type=int, default=10, help="a turn (default: %(default)s)")
    parser.add_argument("--batch", type=int, default=16, help="pictures a step (default: %(default)s)")
    parser.add_argument("--threads", type=int, default=1)
    parser.add_argument("--pictures", type=int, default=200)
    parser.add_argument("--only", nargs="+", choices=TITLES, default=list(TITLES))
    options = parser.parse_args()
    with tempfile.TemporaryDirectory() as place:
        folder = Path(place)
        write_pictures(folder, options.pictures)
        sides = [Side(name, folder, options) for name in options.only if there(name)]
        check_sizes(sides)
        measured(sides, options)
        for side in sides:
            side.end()
    print(
        f"{options.batch} pictures of 32 px a step, float32, {options.threads} thread(s); torch {version('torch')}; median "
        f"of {options.turns} turns of {options.steps} steps (range); {datetime.date.today().isoformat()}\n"
    )
    print(f"| {' | '.join(HEADINGS)} |\n|{' --- |' * len(HEADINGS)}")
    reference = next((side for side in sides if side.name == REFERENCE), None)
    for side in sides:
        print(f"| {' | '.join(cells(side, reference, options))} |")


if __name__ == "__main__":
    main()
