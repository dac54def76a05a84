"""Does a plain transformer on large patches have to predict the picture? JiT's claim (arXiv 2511.13720, Table 2), re-made.

One small JiT for each prediction (x_0, eps, flow) and patch size, all trained on equally many pictures by the paper's loss,
the error of the flow's velocity. Prints a table; writes the figures, a plot and a sheet of samples.

python benchmarks/jit_claim.py                                        some minutes of one core
python benchmarks/jit_claim.py --pictures 150000 --width 256 --depth 8   as large as the claim wants, for a GPU
python benchmarks/jit_claim.py --root FOLDER                          pictures of your own: .npy files (n h w 3 or 4) uint8
"""

from __future__ import annotations

import argparse
import copy
import json
import sys
import time
from dataclasses import asdict, dataclass
from pathlib import Path

import numpy as np
import torch
from PIL import Image
from torch import Tensor, nn
from torch.nn import functional as F

ROOT = Path(__file__).resolve().parents[1]
sys.path.insert(0, str(ROOT))

from imagen_core.conditioning import Signals, repeated  # noqa: E402
from imagen_core.denoiser import Denoiser  # noqa: E402
from imagen_core.noise import BatchNoise  # noqa: E402
from imagen_core.parameterization import diffuse, per_image  # noqa: E402
from imagen_core.predictions import prediction_of  # noqa: E402
from imagen_core.predictor import Predictor  # noqa: E402
from imagen_core.samplers.dpmpp_2m import DPMPP2M  # noqa: E402
from imagen_core.schedules.flow import FlowSchedule  # noqa: E402
from imagen_core.thresholding.static import StaticThresholding  # noqa: E402
from imagen_core.unets import build_unet  # noqa: E402
from imagen_core.unets.jit import JiTConfig  # noqa: E402
from imagen_train.classifier import Classifier, load_classifier  # noqa: E402
from imagen_train.data import PictureKind, render_chunk, to_float  # noqa: E402
from imagen_train.loop import ema_decay, update_ema  # noqa: E402
from imagen_train.metrics import frechet_distance, psnr  # noqa: E402

PREDICTIONS = {"x_0": "x", "eps": "eps", "flow": "v"}  # ours: the paper's
PATCHES = (4, 8, 16)
SCHEDULE = FlowSchedule(time_scale=1.0, towards_clean=True)
LEAST = 0.05  # the paper's clamp, of both ends of the way
LEVELS = (0.3, 0.5, 0.7)  # how clean, where the error of x_0 is measured
JUDGE = ROOT / "models" / "imagen-mini" / "classifier.safetensors"
COLORS = {"x_0": "#1b7837", "eps": "#b2182b", "flow": "#2166ac"}


@dataclass(frozen=True)
class Cell:
    """What came of one prediction at one patch size."""

    prediction: str
    patch: int
    frechet: float  # of samples against held-out pictures, in the judge's features
    psnr: float  # dB, of x_0 predicted from held-out pictures under noise, over LEVELS
    cpu_seconds: float


def rendered(count: int, side: int, *, held_out: bool = False) -> Tensor:
    """imagen-mini's scenes, (n 3 h w) in [-1, 1]."""
    kind = PictureKind(name="jit_claim", side=side, held_out=held_out, chunk=256, first_seed=7_000_000)
    chunks = [render_chunk(kind, index)[0] for index in range(-(-count // kind.chunk))]
    return to_float(np.concatenate(chunks))[:count]


def kept(root: Path, side: int) -> Tensor:
    """Every picture of a folder's .npy files, on white where transparent, shrunk to `side`, in a fixed random order."""
    parts = [torch.from_numpy(np.load(file)).permute(0, 3, 1, 2).float() / 255 for file in sorted(root.glob("*.npy"))]
    whole = [p[:, :3] * p[:, 3:] + 1 - p[:, 3:] if p.shape[1] == 4 else p for p in parts]
    pictures = torch.cat([F.interpolate(p, size=(side, side), mode="area") for p in whole]) * 2 - 1
    return pictures[torch.randperm(len(pictures), generator=torch.Generator().manual_seed(0))]


def data(options: argparse.Namespace) -> tuple[Tensor, Tensor]:
    """Pictures to train on, and others to measure with."""
    if options.root is None:
        return rendered(options.distinct, options.side), rendered(options.samples, options.side, held_out=True)
    pictures = kept(options.root, options.side)
    return pictures[options.samples :], pictures[: options.samples]


def network_of(patch: int, options: argparse.Namespace) -> nn.Module:
    """The same transformer for every patch size; no bottleneck but its own width, as in the paper's table."""
    config = JiTConfig(
        side=options.side,
        patch_size=patch,
        width=options.width,
        mlp_width=options.width * 8 // 3,
        depth=options.depth,
        heads=max(1, options.width // 32),
        num_classes=0,
        bottleneck=options.width,
        class_tokens=0,
    )
    torch.manual_seed(0)
    return build_unet(config)


def told(network: nn.Module, batch: int) -> Signals:
    return repeated(network.encode_class(), batch)


def velocity_loss(network: nn.Module, prediction: str, x_0: Tensor, random: torch.Generator) -> Tensor:
    """Mean squared error of eps - x_0, whatever the network puts out; times as the paper draws them."""
    b = len(x_0)
    clean = torch.sigmoid(0.8 * torch.randn(b, generator=random) - 0.8).clamp(LEAST, 1 - LEAST)
    eps = torch.randn(x_0.shape, generator=random).to(x_0)
    error = x_0_of(network, prediction, x_0, eps, clean.to(x_0.device)) - x_0
    return (error / per_image(1 - clean, x_0)).square().mean()


def x_0_of(network: nn.Module, prediction: str, x_0: Tensor, eps: Tensor, clean: Tensor) -> Tensor:
    """What the network takes for x_0 after noise was put on it; clean (b,) in 0..1."""
    t = 1 - clean
    alpha, sigma = (per_image(part, x_0) for part in SCHEDULE.alpha_sigma(t))
    x_t = diffuse(x_0, eps, alpha, sigma)
    given = x_t * per_image(SCHEDULE.input_scale(t), x_t)
    output = network(given, SCHEDULE.network_time(t), told(network, len(x_0)))
    return prediction_of(prediction).to_x_0(output, x_t, alpha, sigma)


def trained(prediction: str, patch: int, pictures: Tensor, options: argparse.Namespace) -> nn.Module:
    """The averaged network after `options.pictures` pictures, each batch the same for every cell."""
    network = network_of(patch, options).to(options.device)
    average = copy.deepcopy(network).eval().requires_grad_(False)
    optimizer = torch.optim.AdamW(network.parameters(), lr=options.rate, betas=(0.9, 0.95), weight_decay=0.0)
    random, steps = torch.Generator().manual_seed(0), options.pictures // options.batch
    for step in range(steps):
        optimizer.param_groups[0]["lr"] = options.rate * min(1.0, (step + 1) / 50, 2.0 * (1 - step / steps))
        chosen = torch.randint(len(pictures), (options.batch,), generator=random)
        velocity_loss(network, prediction, pictures[chosen].to(options.device), random).backward()
        nn.utils.clip_grad_norm_(network.parameters(), 1.0)
        optimizer.step()
        optimizer.zero_grad()
        update_ema(average, network, ema_decay(step, half_life=steps / 20))
    return average


@torch.inference_mode()
def sampled(network: nn.Module, prediction: str, count: int, options: argparse.Namespace) -> Tensor:
    """Pictures (n 3 h w) drawn in 25 calls, x_0 kept within [-1, 1] for all three alike."""
    predictor = Predictor(network=network, schedule=SCHEDULE, prediction_type=prediction)
    denoise = Denoiser(predictor, {"cond": told(network, count)}, thresholding=StaticThresholding())
    noise, sampler, shape = BatchNoise(range(count)), DPMPP2M(), (3, options.side, options.side)
    x_T = noise(shape, options.device)
    times = sampler.times(SCHEDULE, 25)
    return sampler.sample(denoise, x_T, times, noise=lambda: noise(shape, options.device)).clamp(-1, 1).cpu()


@torch.inference_mode()
def denoised_psnr(network: nn.Module, prediction: str, held_out: Tensor, options: argparse.Namespace) -> float:
    eps = torch.randn(held_out.shape, generator=torch.Generator().manual_seed(1))
    found = []
    for level in LEVELS:
        clean = torch.full((len(held_out),), level)
        x_0 = x_0_of(network, prediction, *(part.to(options.device) for part in (held_out, eps, clean)))
        found.append(psnr(x_0.clamp(-1, 1).cpu(), held_out).mean())
    return float(torch.stack(found).mean())


@torch.inference_mode()
def features(judge: Classifier, pictures: Tensor) -> Tensor:
    return judge.features(F.interpolate(pictures, size=(64, 64), mode="bilinear"))


def measured(options: argparse.Namespace) -> tuple[dict[str, float], list[Cell], dict[tuple[str, int], Tensor]]:
    """The data's own figures, every cell, and some of its samples."""
    pictures, held_out = data(options)
    judge = load_classifier(JUDGE)
    truth = features(judge, held_out)
    floor = frechet_distance(features(judge, pictures[: options.samples]), truth)
    grey = frechet_distance(features(judge, torch.zeros_like(held_out) + held_out.mean((0, 2, 3), True)), truth)
    cells, samples = [], {}
    for patch in options.patches:
        for prediction in PREDICTIONS:
            start = time.process_time()
            network = trained(prediction, patch, pictures, options)
            seconds = time.process_time() - start
            drawn = sampled(network, prediction, options.samples, options)
            distance = frechet_distance(features(judge, drawn), truth)
            error = denoised_psnr(network, prediction, held_out, options)
            cells.append(Cell(prediction, patch, distance, error, seconds))
            samples[prediction, patch] = drawn[:8]
            print(row(cells[-1]), flush=True)
    return {"train": floor, "grey": grey}, cells, samples


def row(cell: Cell) -> str:
    numbers = 3 * cell.patch**2
    return (
        f"| {cell.patch} | {numbers} | {PREDICTIONS[cell.prediction]} | {cell.frechet:.1f} | {cell.psnr:.1f} |"
        f" {cell.cpu_seconds:.0f} |"
    )


def plot(cells: list[Cell]) -> str:
    """Frechet distance over patch size, both logarithmic, one line a prediction: SVG."""
    patches, logs = sorted({cell.patch for cell in cells}), [np.log(cell.frechet) for cell in cells]
    low, high = min(logs) - 0.1, max(logs) + 0.1

    def place(cell: Cell) -> tuple[float, float]:
        x = 40 + 330 * patches.index(cell.patch) / max(1, len(patches) - 1)
        return x, 260 - 220 * (np.log(cell.frechet) - low) / (high - low)

    lines = [
        '<svg xmlns="http://www.w3.org/2000/svg" width="560" height="310" font-family="sans-serif" font-size="13">',
        '<rect width="560" height="310" fill="white"/>',
        '<text x="10" y="20">Frechet distance (lower is better)</text>',
        '<text x="150" y="304">side of a patch, in pixels</text>',
    ]
    lines += [f'<text x="{place(cell)[0] - 5:.0f}" y="284">{cell.patch}</text>' for cell in cells[:: len(PREDICTIONS)]]
    lowest = 0.0  # of the names so far: they keep apart
    for prediction in sorted(PREDICTIONS, key=lambda name: place(_last(cells, name))[1]):
        points = [(*place(cell), cell) for cell in cells if cell.prediction == prediction]
        path, color = " ".join(f"{x:.1f},{y:.1f}" for x, y, _ in points), COLORS[prediction]
        lines.append(f'<polyline points="{path}" fill="none" stroke="{color}" stroke-width="2"/>')
        lines += [f'<circle cx="{x:.1f}" cy="{y:.1f}" r="4" fill="{color}"/>' for x, y, _ in points]
        lowest = max(lowest + 17, points[-1][1] + 4)
        name = f"{PREDICTIONS[prediction]}-prediction, {points[-1][2].frechet:.0f}"
        lines.append(f'<text x="385" y="{lowest:.1f}" fill="{color}">{name}</text>')
    return "\n".join([*lines, "</svg>\n"])


def _last(cells: list[Cell], prediction: str) -> Cell:
    return [cell for cell in cells if cell.prediction == prediction][-1]


def sheet(samples: dict[tuple[str, int], Tensor]) -> Image.Image:
    """A row of samples for each prediction, patch sizes side by side."""
    patches = sorted({patch for _, patch in samples})
    rows = [
        torch.cat([picture for patch in patches for picture in samples[prediction, patch]], dim=2)
        for prediction in PREDICTIONS
    ]
    pixels = ((torch.cat(rows, dim=1) + 1) * 127.5).round().byte().permute(1, 2, 0).numpy()
    return Image.fromarray(pixels).resize((2 * pixels.shape[1], 2 * pixels.shape[0]), Image.Resampling.NEAREST)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--pictures", type=int, default=8000, help="each network is trained on so many")
    parser.add_argument("--side", type=int, default=32, help="of the pictures, a multiple of every patch size")
    parser.add_argument("--distinct", type=int, default=2048, help="scenes rendered, which are shown again and again")
    parser.add_argument("--samples", type=int, default=512, help="pictures drawn, and held out, for each figure")
    parser.add_argument("--patches", type=int, nargs="+", default=PATCHES)
    parser.add_argument("--width", type=int, default=64, help="of the transformer: a multiple of 32")
    parser.add_argument("--depth", type=int, default=4)
    parser.add_argument("--batch", type=int, default=32)
    parser.add_argument("--rate", type=float, default=2e-3)
    parser.add_argument("--root", type=Path, help="folder of .npy files in place of rendered scenes")
    parser.add_argument("--device", default="cpu")
    parser.add_argument("--out", type=Path, default=Path("jit_claim"), help="folder for figures, plot and samples")
    options = parser.parse_args()
    print(
        "| patch | numbers in it | predicts | Frechet | PSNR of x_0, dB | CPU s |\n| --- | --- | --- | --- | --- | --- |"
    )
    data_figures, cells, samples = measured(options)
    print(f"\nFrechet of training pictures {data_figures['train']:.1f}, of plain grey {data_figures['grey']:.1f}")
    options.out.mkdir(parents=True, exist_ok=True)
    settings = {name: str(value) for name, value in vars(options).items() if name != "out"}
    figures = {"settings": settings, "data": data_figures, "cells": [asdict(cell) for cell in cells]}
    (options.out / "jit_claim.json").write_text(json.dumps(figures, indent=1) + "\n", encoding="utf-8")
    (options.out / "jit_claim.svg").write_text(plot(cells), encoding="utf-8")
    sheet(samples).save(options.out / "jit_claim.png")


if __name__ == "__main__":
    main()
