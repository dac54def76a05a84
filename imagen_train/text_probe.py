"""Can each thing's color and shape be read from the frozen text embeddings? The gate that an encoder has to pass.

One learned query a label looks at the tokens once, and a linear layer names what it finds: no more than a U-Net's
cross-attention can do. Trained on training captions, judged on captions whose first (color, shape) pair is held out.

Shapes: b captions, l tokens, d width, k labels.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from imagen_core.text.loading import load_text_encoder
from imagen_core.text.t5 import T5TextEncoder

from .scenes import SceneBatch, sample_captions
from .scenes.vocabulary import BACKDROPS, COLORS, LABELS, LAYOUTS, MATERIALS, SHAPES, SIZES

GATE_LABELS = ("color_1", "shape_1", "color_2", "shape_2")
GATE = 0.95
KINDS = {"layout": LAYOUTS, "backdrop": BACKDROPS, "size": SIZES, "color": COLORS, "shape": SHAPES}
KINDS = {**KINDS, "material": MATERIALS}


def classes(label: str) -> int:
    """How many values a label has."""
    return len(KINDS[label.split("_")[0]])


def share(right: Tensor) -> dict[str, float | int | None]:
    """Mean of booleans with count and binomial standard error; None where there is nothing to count."""
    n = right.numel()
    if n == 0:
        return {"accuracy": None, "n": 0, "se": None}
    p = right.double().mean().item()
    return {"accuracy": p, "n": n, "se": (p * (1 - p) / n) ** 0.5}


@dataclass(frozen=True, kw_only=True)
class Reading:
    """Frozen embeddings (b l d), their mask (b l), and each label's class (b,), -1 where the caption leaves it out."""

    embeds: Tensor
    mask: Tensor
    targets: dict[str, Tensor]


def read_captions(encoder: T5TextEncoder, batch: SceneBatch) -> Reading:
    """Encode a batch's captions, exactly as a prompt is encoded for a picture."""
    encoded = encoder.encode(batch.captions)
    targets = {name: batch.labels[name].where(batch.stated[name], -1) for name in LABELS}
    return Reading(embeds=encoded.embeds, mask=encoded.mask, targets=targets)


class AttentionProbe(nn.Module):
    """One query and one linear layer a label."""

    def __init__(self, width: int):
        super().__init__()
        self.queries = nn.Parameter(torch.randn(len(LABELS), width) / width**0.5)
        self.heads = nn.ModuleDict({name: nn.Linear(width, classes(name)) for name in LABELS})

    def forward(self, embeds: Tensor, mask: Tensor) -> dict[str, Tensor]:
        """(b l d), (b l) -> logits (b classes) a label."""
        scores = torch.einsum("bld,kd->bkl", embeds, self.queries).masked_fill(~mask[:, None], -torch.inf)
        found = scores.softmax(2) @ embeds  # b k d
        return {name: self.heads[name](found[:, i]) for i, name in enumerate(LABELS)}


def train_probe(reading: Reading, *, steps: int, batch_size: int = 512, seed: int = 0) -> AttentionProbe:
    """Fit the probe with Adam; the learning rate falls to zero."""
    generator = torch.Generator().manual_seed(seed)
    with torch.random.fork_rng():
        torch.manual_seed(seed)
        probe = AttentionProbe(reading.embeds.shape[2])
    optimizer = torch.optim.Adam(probe.parameters(), lr=1e-2)
    for step in range(steps):
        rows = torch.randint(len(reading.mask), (batch_size,), generator=generator)
        logits = probe(reading.embeds[rows], reading.mask[rows])
        loss = sum(F.cross_entropy(logits[n], reading.targets[n][rows], ignore_index=-1) for n in LABELS)
        optimizer.param_groups[0]["lr"] = 1e-2 * (1 - step / steps)
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
    return probe.eval()


@torch.no_grad()
def judge_probe(probe: AttentionProbe, reading: Reading) -> dict[str, dict[str, float | int | None]]:
    """Each label's accuracy where stated; "pair_...": in captions of two things or more; "bound": all four right."""
    logits = probe(reading.embeds, reading.mask)
    right = {name: logits[name].argmax(1) == reading.targets[name] for name in LABELS}
    stated = {name: reading.targets[name] >= 0 for name in LABELS}
    figures = {name: share(right[name][stated[name]]) for name in LABELS}
    pair = stated["shape_2"]
    figures |= {f"pair_{name}": share(right[name][stated[name] & pair]) for name in GATE_LABELS}
    four = torch.stack([stated[name] for name in GATE_LABELS]).all(0)
    figures["bound"] = share(torch.stack([right[name] for name in GATE_LABELS]).all(0)[four])
    return figures


def probe_folder(
    folder: Path, *, seed: int = 0, captions: int = 8_000, held_out: int = 4_000, steps: int = 300
) -> dict[str, object]:
    """Probe the encoder in `folder`: {"probe": figures on held-out captions, "gate_passed": GATE_LABELS all >= GATE}.

    The gate counts captions of two things and more: with one thing there is nothing to confuse.
    """
    encoder = load_text_encoder(folder)
    probe = train_probe(read_captions(encoder, sample_captions(captions, seed=seed + 1)), steps=steps, seed=seed)
    figures = judge_probe(probe, read_captions(encoder, sample_captions(held_out, seed=seed + 1, held_out=True)))
    passed = all((figures[f"pair_{name}"]["accuracy"] or 0.0) >= GATE for name in GATE_LABELS)
    return {"probe": figures, "gate_passed": passed}
