"""How good are the shipped weights? Draws from held-out captions and hands the pictures to `metrics`.

Shapes: b pictures, h w pixels.
"""

from __future__ import annotations

import argparse
from collections.abc import Callable
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from imagen_core.guidance.classifier_free import ClassifierFreeGuidance
from imagen_core.sampling import sample_base, super_resolve
from imagen_core.stage import Prompt, Stage, load_stage
from imagen_core.text.t5 import T5TextEncoder

from .classifier import load_classifier
from .data import KINDS, render_chunk, to_float
from .metrics import bicubic, feature_distance, frechet_distance, judge_alignment, models_file, psnr, seen_by
from .scenes import SceneBatch, sample_scenes
from .scenes.renderer import render
from .stages import shrink


def draw(
    stage: Stage,
    encoder: T5TextEncoder,
    captions: list[str],
    *,
    seed: int,
    steps: int | None = None,
    guidance_scale: float | None = None,
    batch_size: int = 32,
) -> Tensor:
    """Base pictures (b 3 64 64) of `captions` by the checkpoint's own settings, unless told otherwise."""
    defaults = stage.spec.defaults
    scale = defaults.get("guidance_scale", 1.0) if guidance_scale is None else guidance_scale
    parts = []
    for first in range(0, len(captions), batch_size):
        some = captions[first : first + batch_size]
        parts.append(
            sample_base(
                stage,
                Prompt(text=encoder.encode(some)),
                seeds=[seed + first + i for i in range(len(some))],
                steps=steps or defaults.get("steps", 25),
                guidance=ClassifierFreeGuidance(scale=scale),
            )
        )
    return torch.cat(parts)


def _drawn(args: argparse.Namespace) -> tuple[SceneBatch, Tensor]:
    """Held-out scenes and what the base draws of their captions."""
    stage = load_stage(models_file(args.models_dir, "base64.safetensors"), expected_stage="base64", device=args.device)
    encoder = T5TextEncoder.from_folder(args.models_dir / "text_encoder", args.device, torch.float32)
    batch = sample_scenes(args.count, seed=args.seed, held_out=True)
    pictures = draw(
        stage, encoder, batch.captions, seed=args.seed, steps=args.steps, guidance_scale=args.guidance_scale
    )
    return batch, pictures


def _judge(models_dir: Path, device: str) -> torch.nn.Module:
    return load_classifier(models_file(models_dir, "classifier.safetensors")).to(device)


def alignment(args: argparse.Namespace) -> dict[str, Any]:
    """Share of drawn pictures that show what their held-out captions state, beside the same for renders."""
    batch, pictures = _drawn(args)
    judge = _judge(args.models_dir, args.device)
    return {
        "drawn": judge_alignment(seen_by(judge, pictures.to(args.device)), batch),
        "renders": judge_alignment(seen_by(judge, render(batch, 64).to(args.device)), batch),
        "captions": "held out",
    }


def frechet(args: argparse.Namespace) -> dict[str, Any]:
    """Frechet distance of the judge's features: drawn to renders of the same captions, and renders to other renders."""
    batch, pictures = _drawn(args)
    judge = _judge(args.models_dir, args.device)
    truth = seen_by(judge, render(batch, 64).to(args.device))["features"]
    others = render(sample_scenes(args.count, seed=args.seed + 1, held_out=True), 64)
    floor = frechet_distance(seen_by(judge, others.to(args.device))["features"], truth)
    drawn = frechet_distance(seen_by(judge, pictures.to(args.device))["features"], truth)
    return {"drawn": drawn, "floor": floor, "count": args.count}


def super_resolution(args: argparse.Namespace) -> dict[str, Any]:
    """PSNR (dB) and feature distance to truth on held-out pictures: the network's, and bicubic's."""
    stage = load_stage(models_file(args.models_dir, f"{args.stage}.safetensors"), device=args.device)
    kind = KINDS["full256_held_out" if args.stage == "sr256" else "window1024_held_out"]
    chunks = [render_chunk(kind, 1000 + args.seed + i)[0] for i in range(-(-args.count // kind.chunk))]
    truth = torch.cat([to_float(chunk) for chunk in chunks])[: args.count]
    small, rows = shrink(truth), []
    for i in range(args.count):
        steps = args.steps or stage.spec.defaults.get("steps", 8)
        rows.append(super_resolve(stage, small[i : i + 1], seeds=[i], steps=steps, aug_level=args.aug_level))
    drawn, rival = torch.cat(rows), bicubic(small)
    figures: dict[str, Any] = {"count": args.count, "aug_level": args.aug_level}
    for name, pictures in (("network", drawn), ("bicubic", rival)):
        figures[name] = {"psnr": psnr(pictures, truth).mean().item()}
    figures["better_in"] = int((psnr(drawn, truth) > psnr(rival, truth)).sum())
    if (args.models_dir / "classifier.safetensors").exists():
        judge = _judge(args.models_dir, "cpu")
        for name, pictures in (("network", drawn), ("bicubic", rival)):
            figures[name]["feature_distance"] = feature_distance(judge, pictures, truth).mean().item()
    return figures


METRICS: dict[str, Callable[[argparse.Namespace], dict[str, Any]]] = {
    "alignment": alignment,
    "frechet": frechet,
    "sr": super_resolution,
}
