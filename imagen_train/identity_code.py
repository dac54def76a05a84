"""How is an individual told from others, without a word for it? By a code that is alike for its pictures in any scene.

InfoNCE (arXiv 1807.03748) over a set's individuals: two pictures of each, and every picture has to find the other one of
its own among all the rest. No pictures of people are used, and none are known to it.

Shapes: b pictures, e a code's numbers, n pictures that are judged.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from random import Random

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from imagen_core.adapters.code_encoder import CodeEncoder

from .classifier import shaken
from .data import KINDS, PictureCache, render_pictures
from .identity_labels import Identities
from .judge_files import load_judge, save_judge
from .loop import LoopConfig, Preview, train
from .options import TrainOptions

FILE, KIND = "identity_code.safetensors", "identity_code"
SIDE, CHANNELS, CODE = 64, (48, 64, 96, 128), 64
SETTINGS = {"side": SIDE, "channels": list(CHANNELS), "code": CODE}
SHOWN, HELD_OUT, HELD_OUT_PICTURES = "identities64", "identities64_held_out", 1024
SHARPNESS = 12.0  # by which cosines are multiplied before the softmax


def info_nce(one: Tensor, other: Tensor, sharpness: float = SHARPNESS) -> Tensor:
    """Mean cross entropy of finding each code's (b e) partner, of unit length both, in both directions."""
    logits = sharpness * one.float() @ other.float().mT
    here = torch.arange(len(one), device=one.device)
    return (F.cross_entropy(logits, here) + F.cross_entropy(logits.mT, here)) / 2


def roc_area(same: Tensor, others: Tensor) -> float:
    """How often one of `same` is larger than one of `others`, of all pairs; half of what is equal counts."""
    ranked = others.double().sort().values
    below = torch.searchsorted(ranked, same.double()).double()
    upto = torch.searchsorted(ranked, same.double(), right=True).double()
    return ((below + upto) / 2 / len(ranked)).mean().item()


def verification(references: Tensor, drawn: Tensor) -> dict[str, float]:
    """Of codes (n e) of n individuals and of what was drawn of each: how well the right ones are told from the wrong.

    auc: of cosines of the same against those of any two different ones; found: how often a drawn one's nearest
    reference is its own; same, others: the mean cosines.
    """
    cosines = F.normalize(drawn.float(), dim=-1) @ F.normalize(references.float(), dim=-1).mT
    own = torch.eye(len(cosines), dtype=torch.bool)
    same, others = cosines[own], cosines[~own]
    found = (cosines.argmax(1) == torch.arange(len(cosines))).float()
    return {
        "auc": roc_area(same, others),
        "found": found.mean().item(),
        "same": same.mean().item(),
        "others": others.mean().item(),
    }


@torch.inference_mode()
def codes_of(encoder: nn.Module, pictures: Tensor, *, batch_size: int = 128) -> Tensor:
    """(n e), on the CPU."""
    device = next(encoder.parameters()).device
    return torch.cat([encoder(part.to(device)).float().cpu() for part in pictures.split(batch_size)])


def two_of_each(identities: Identities, most: int) -> tuple[list[int], list[int]]:
    """The first and the second picture of up to `most` individuals."""
    pairs = [members[:2] for members in identities.alike.values() if len(members) > 1][:most]
    return [first for first, _ in pairs], [second for _, second in pairs]


@dataclass(frozen=True, kw_only=True)
class IdentityCodeTask:
    """Two pictures of each individual find one another. batch_size: pictures."""

    cache: PictureCache
    identities: Identities
    held_out: PictureCache
    batch_size: int
    helper: None = None

    def loss(self, model: nn.Module, generator: torch.Generator, progress: float) -> Tensor:
        rng = Random(int(torch.randint(2**62, (), generator=generator)))
        chosen = rng.sample(list(self.identities.alike), min(self.batch_size // 2, len(self.identities.alike)))
        pairs = [rng.sample(self.identities.alike[who], 2) for who in chosen]
        indices = [first for first, _ in pairs] + [second for _, second in pairs]
        pictures = shaken(self.cache.pictures(indices), generator)
        device = next(model.parameters()).device
        return info_nce(*model(pictures.to(device).contiguous(memory_format=torch.channels_last)).chunk(2))

    def preview(self, model: nn.Module) -> Preview:
        return Preview(figures=code_figures(model, self.held_out))


def code_figures(model: nn.Module, cache: PictureCache, *, most: int = 256) -> dict[str, float]:
    """`verification` of one picture of each individual by another of it."""
    first, second = (codes_of(model, cache.pictures(part)) for part in two_of_each(Identities.of(cache), most))
    return verification(first, second) | {"individuals": float(len(first))}


def fresh_encoder() -> CodeEncoder:
    return CodeEncoder(SIDE, CHANNELS, CODE)


def train_identity_code(options: TrainOptions, path: Path, *, pictures: str = SHOWN) -> dict[str, object]:
    """Train on a cached set of pictures, test on individuals that are not in it, write `path`.

    Nothing is written when options.export is False or a signal stopped it ("interrupted" in the figures).
    """
    torch.manual_seed(options.seed)
    held_out = f"{pictures}_held_out"
    if held_out in KINDS:
        render_pictures(KINDS[held_out], HELD_OUT_PICTURES, options.cache_dir)
    cache = PictureCache(options.cache_dir, pictures)
    task = IdentityCodeTask(
        cache=cache,
        identities=Identities.of(cache),
        held_out=PictureCache(options.cache_dir, held_out if held_out in KINDS else pictures),
        batch_size=options.batch_size or 256,
    )
    model = fresh_encoder()
    if options.from_weights:
        model = load_identity_code(options.from_weights).requires_grad_(True)
    result = train(model, task, options, config=LoopConfig(warmup_steps=20, decay_start=0.5, ema_half_life=10.0))
    figures: dict[str, object] = {
        "steps": result.state.step,
        "images": result.state.images,
        "minutes": result.state.seconds / 60,
        "interrupted": result.interrupted,
        "pictures": len(cache),
        "held_out": code_figures(result.model, task.held_out),
    }
    if options.export and not result.interrupted:
        figures["file"] = str(save_judge(result.model, path, figures, kind=KIND, heads=SETTINGS))
    return figures


def load_identity_code(path: Path) -> CodeEncoder:
    """The encoder in float32, eval mode, frozen. Errors as `load_judge`."""
    return load_judge(fresh_encoder(), path, kind=KIND, heads=SETTINGS)
