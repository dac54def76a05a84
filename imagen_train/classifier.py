"""What does a small CNN see in a 64 x 64 picture: arrangement, backdrop, and each thing's color, shape, material, size?

It judges whether generated pictures show what their captions state, and its features give a Frechet distance. Things go
by place (left before right, upper before lower), not by mention: "a left of b" and "b right of a" are one picture.

Shapes: b pictures, c channels, h w pixels, n scenes.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from .data import KINDS, PictureCache, render_pictures
from .judge_files import load_judge, save_judge
from .loop import LoopConfig, Preview, train
from .options import TrainOptions
from .scenes import sample_scenes
from .scenes.scene import Scene, Thing
from .scenes.vocabulary import BACKDROPS, COLORS, MATERIALS, SHAPES, SIZES

FILE = "classifier.safetensors"
ARRANGEMENTS = ("one", "two", "three", "side", "stack", "trio", "sign")
ARRANGED = {"left": "side", "right": "side", "above": "stack", "below": "stack"}
_THING = {"color": COLORS, "shape": SHAPES, "material": MATERIALS, "size": SIZES}
PLACES = 2  # of a trio, the two on the left
HEADS = {"arrangement": len(ARRANGEMENTS), "backdrop": len(BACKDROPS)} | {
    f"{name}_{place}": len(values) for place in range(1, PLACES + 1) for name, values in _THING.items()
}
FEATURES = 256
PAIR_PICTURES = 4096


def by_place(scene: Scene) -> tuple[Thing, ...]:
    """The different things, left to right or top to bottom."""
    if scene.layout_name in ("two", "three"):
        return scene.things[:1]
    return scene.things[::-1] if scene.layout_name in ("right", "below") else scene.things


def picture_targets(scenes: Sequence[Scene], *, flipped: bool = False) -> Tensor:
    """Each head's class for each scene (or its mirror image): (n heads) long, -1 where there is no such thing."""
    return torch.tensor([_targets(scene, flipped) for scene in scenes])


def _targets(scene: Scene, flipped: bool) -> list[int]:
    arrangement = ARRANGED.get(scene.layout_name, scene.layout_name)
    things = by_place(scene)
    if flipped and arrangement in ("side", "trio"):
        things = things[::-1]
    row = [ARRANGEMENTS.index(arrangement), scene.backdrop]
    for place in range(PLACES):
        row += _thing_targets(things[place], arrangement) if place < len(things) else [-1] * len(_THING)
    return row


def _thing_targets(thing: Thing, arrangement: str) -> list[int]:
    if arrangement == "sign":
        return [thing.color, thing.shape, -1, -1]
    return [thing.color, thing.shape, thing.material, thing.size]


class ChannelNorm(nn.LayerNorm):
    """Layer norm of (b c h w) over channels: several times as fast as group norm on a CPU."""

    def forward(self, x: Tensor) -> Tensor:
        return super().forward(x.permute(0, 2, 3, 1)).permute(0, 3, 1, 2)


class ConvBlock(nn.Module):
    """x + conv(silu(norm(conv(silu(norm(x))))))."""

    def __init__(self, channels: int):
        super().__init__()
        self.norms = nn.ModuleList(ChannelNorm(channels) for _ in range(2))
        self.convs = nn.ModuleList(nn.Conv2d(channels, channels, 3, padding=1) for _ in range(2))

    def forward(self, x: Tensor) -> Tensor:
        h = x
        for norm, conv in zip(self.norms, self.convs, strict=True):
            h = conv(F.silu(norm(h)))
        return x + h


class Classifier(nn.Module):
    """(b 3 64 64) in [-1, 1] -> logits (b classes) a head."""

    def __init__(self, channels: tuple[int, int, int] = (48, 96, 160), heads: dict[str, int] = HEADS):
        super().__init__()
        self.channels = channels
        fine, middle, coarse = channels
        self.early = nn.Sequential(
            nn.PixelUnshuffle(2),  # b 12 32 32
            nn.Conv2d(12, fine, 3, padding=1),
            ChannelNorm(fine),
            nn.SiLU(),
            nn.Conv2d(fine, middle, 3, stride=2, padding=1),  # b middle 16 16
            ConvBlock(middle),
        )
        self.late = nn.Sequential(
            ChannelNorm(middle),
            nn.SiLU(),
            nn.Conv2d(middle, coarse, 3, stride=2, padding=1),  # b coarse 8 8
            ConvBlock(coarse),
            ConvBlock(coarse),
            ChannelNorm(coarse),
            nn.SiLU(),
        )
        self.squeeze = nn.Conv2d(coarse, 32, 1)
        self.to_features = nn.Linear(32 * 8 * 8, FEATURES)
        self.heads = nn.ModuleDict({name: nn.Linear(FEATURES, count) for name, count in heads.items()})

    def maps(self, x: Tensor) -> tuple[Tensor, Tensor]:
        """Feature maps at a quarter and an eighth of the size of pictures of any size: (b c h/4 w/4), (b c h/8 w/8)."""
        early = self.early(x)
        return early, self.late(early)

    def features(self, x: Tensor) -> Tensor:
        """What the heads read: (b FEATURES)."""
        return F.silu(self.to_features(self.squeeze(self.maps(x)[1]).flatten(1)))

    def forward(self, x: Tensor) -> dict[str, Tensor]:
        features = self.features(x)
        return {name: head(features) for name, head in self.heads.items()}


@torch.inference_mode()
def classify(model: Classifier, pictures: Tensor, *, batch_size: int = 128) -> dict[str, Tensor]:
    """Each head's likeliest class (b,), and the features (b FEATURES) as "features"."""
    parts: dict[str, list[Tensor]] = {}
    for batch in pictures.split(batch_size):
        features = model.features(batch)
        parts.setdefault("features", []).append(features)
        for name, head in model.heads.items():
            parts.setdefault(name, []).append(head(features).argmax(1))
    return {name: torch.cat(values) for name, values in parts.items()}


@dataclass(frozen=True, kw_only=True)
class LabelledPictures:
    """Cached pictures with each head's classes, as they are and mirrored (n heads); `words` (n,): has any."""

    cache: PictureCache
    targets: Tensor
    mirrored: Tensor
    words: Tensor

    def __len__(self) -> int:
        return self.targets.shape[0]


def labelled_pictures(cache_dir: Path, name: str, *, limit: int | None = None) -> LabelledPictures:
    """A kind's cached pictures; their scenes are drawn again from the chunks' seeds."""
    cache, kind = PictureCache(cache_dir, name, limit=limit), KINDS[name]
    scenes: list[Scene] = []
    for index in range(len(cache) // kind.chunk):
        batch = sample_scenes(kind.chunk, seed=kind.first_seed + index, held_out=kind.held_out)
        if batch.captions[0] != cache.captions[len(scenes)]:
            raise ValueError(f"{cache.folder} was rendered by other scenes than today's: delete it and render again")
        scenes += batch.scenes
    return LabelledPictures(
        cache=cache,
        targets=picture_targets(scenes),
        mirrored=picture_targets(scenes, flipped=True),
        words=torch.tensor([scene.word is not None for scene in scenes]),
    )


@dataclass(frozen=True, kw_only=True)
class ClassifierTask:
    """Read every head from pictures that are mirrored, shifted a little and made a little noisy.

    A third of each batch shows `pairs`, the (color, shape) pairs that no stage is trained on: a judge that had never
    seen them took them for others (.89 right where known pairs had .99), and would have blamed the drawings.
    """

    data: LabelledPictures
    pairs: LabelledPictures
    held_out: LabelledPictures
    batch_size: int
    helper: None = None

    def loss(self, model: nn.Module, generator: torch.Generator, progress: float) -> Tensor:
        third = self.batch_size // 3
        parts = [_drawn(self.data, self.batch_size - third, generator), _drawn(self.pairs, third, generator)]
        return head_loss(model, parts, generator)

    def preview(self, model: nn.Module) -> Preview:
        return Preview(figures=head_accuracy(model, self.held_out, limit=512))


def head_loss(model: nn.Module, parts: Sequence[tuple[Tensor, Tensor]], generator: torch.Generator) -> Tensor:
    """The mean over heads of the cross entropy of pictures (b 3 h w) and targets (b heads), -1 where there is no answer.

    The parts are one batch; the heads are those of the network's answer, in its order.
    """
    device = next(model.parameters()).device
    pictures, targets = (torch.cat(tensors).to(device) for tensors in zip(*parts, strict=True))
    logits = model(shaken(pictures, generator).contiguous(memory_format=torch.channels_last))
    losses = [
        F.cross_entropy(answers.float(), targets[:, i], ignore_index=-1, reduction="sum")
        / (targets[:, i] >= 0).sum().clamp_min(1)
        for i, answers in enumerate(logits.values())
    ]
    return torch.stack(losses).mean()


def _drawn(data: LabelledPictures, count: int, generator: torch.Generator) -> tuple[Tensor, Tensor]:
    """Random pictures (b 3 h w), half of those without words mirrored, and their classes (b heads)."""
    rows = torch.randint(len(data), (count,), generator=generator)
    flip = (torch.rand(count, generator=generator) < 0.5) & ~data.words[rows]
    pictures = data.cache.pictures(rows.tolist())
    pictures = pictures.flip(3).where(flip[:, None, None, None], pictures)
    return pictures, data.mirrored[rows].where(flip[:, None], data.targets[rows])


def shaken(pictures: Tensor, generator: torch.Generator, *, reach: int = 3) -> Tensor:
    """Shift the batch by up to `reach` pixels (edges repeat) and add noise of up to .04, picture by picture."""
    b, _, h, w = pictures.shape
    y, x = torch.randint(2 * reach + 1, (2,), generator=generator).tolist()
    pictures = F.pad(pictures, (reach,) * 4, mode="replicate")[:, :, y : y + h, x : x + w]
    level = 0.04 * torch.rand(b, 1, 1, 1, generator=generator).to(pictures.device)
    return pictures + level * torch.randn(pictures.shape, generator=generator).to(pictures.device)


def head_accuracy(model: Classifier, data: LabelledPictures, *, limit: int | None = None) -> dict[str, float]:
    """Share of right answers a head, over pictures that have such a thing."""
    count = min(len(data), limit or len(data))
    device = next(model.parameters()).device
    seen = classify(model, data.cache.pictures(range(count)).to(device))
    targets = data.targets[:count]
    return {
        name: (seen[name].cpu() == targets[:, i])[targets[:, i] >= 0].double().mean().item()
        for i, name in enumerate(HEADS)
    }


def train_classifier(options: TrainOptions) -> dict[str, object]:
    """Train on the cached base64 pictures and pairs, test on held-out ones, write models_dir/classifier.safetensors.

    Nothing is written when options.export is False or a signal stopped it ("interrupted" in the figures).
    """
    torch.manual_seed(options.seed)
    render_pictures(KINDS["base64_pairs"], PAIR_PICTURES, options.cache_dir)
    task = ClassifierTask(
        data=labelled_pictures(options.cache_dir, "base64"),
        pairs=labelled_pictures(options.cache_dir, "base64_pairs"),
        held_out=labelled_pictures(options.cache_dir, "base64_held_out", limit=4096),
        batch_size=options.batch_size or 64,
    )
    model = Classifier()
    if options.from_weights:
        model = load_classifier(options.from_weights).requires_grad_(True)
    result = train(model, task, options, config=LoopConfig(decay_start=0.5, ema_half_life=100.0))
    figures: dict[str, object] = {
        "steps": result.state.step,
        "images": result.state.images,
        "minutes": result.state.seconds / 60,
        "interrupted": result.interrupted,
        "pictures": len(task.data) + len(task.pairs),
        "held_out_pictures": len(task.held_out),
        "accuracy": head_accuracy(result.model, task.held_out),
    }
    if options.export and not result.interrupted:
        figures["file"] = str(save_classifier(result.model, options.models_dir / FILE, figures))
    return figures


def save_classifier(model: Classifier, path: Path, figures: dict[str, object]) -> Path:
    """Write the weights with their figures, atomically."""
    return save_judge(model, path, figures, kind="classifier", heads=HEADS)


def load_classifier(path: Path) -> Classifier:
    """The classifier in float32, eval mode, frozen. ValueError: another kind of file, or other heads."""
    return load_judge(Classifier(), path, kind="classifier", heads=HEADS)
