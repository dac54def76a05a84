"""How does imagen-mini get a CLIP of its own? Pictures and their captions, told apart in a batch (arXiv 2103.00020).

It is a `ClipNetwork` small enough to ship, written as transformers keeps CLIPs, so that whatever reads a CLIP reads it.

Shapes: b pairs of picture and caption, l tokens, e the common space.
"""

from __future__ import annotations

import json
import math
import shutil
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from imagen_core._safetensors import write_safetensors
from imagen_core.clip.config import SIZES, ClipConfig, TextConfig, TowerConfig, VisionConfig
from imagen_core.clip.model import Clip
from imagen_core.clip.network import ClipNetwork
from imagen_core.text.tokenizer import load_tokenizer
from imagen_core.whole_files import whole, write

from .classifier import shaken
from .data import PictureCache
from .loop import LoopConfig, Preview, train
from .options import TrainOptions
from .scenes.vocabulary import COLORS

FOLDER = "clip"  # under the models folder: config.json, model.safetensors, tokenizer.json
EMBED_DIM = 128
START_SCALE, MOST_SCALE = 1 / 0.07, 100.0  # of exp(logit_scale), section 2.5
MARKS = 2  # ids behind the tokenizer's own: a text's start and its end
RETRIEVAL = 1000  # different held-out pictures among which each must be found


def clip_config(pieces: int) -> ClipConfig:
    """1.3 million weights, for a tokenizer of so many pieces and pictures of 64 px."""
    text = TextConfig(width=128, layers=3, heads=4, mlp=384, vocab_size=pieces + MARKS, positions=40, end=pieces + 1)
    vision = VisionConfig(width=128, layers=4, heads=4, mlp=384, side=64, patch=8)
    return ClipConfig(text=text, vision=vision, text_embed_dim=EMBED_DIM, vision_embed_dim=EMBED_DIM, scaled=True)


def fresh_network(config: ClipConfig) -> ClipNetwork:
    """Random weights: as torch makes layers, tables and tokens with a deviation of .02, the scale at 1/.07."""
    network = ClipNetwork(config)
    for module in network.modules():
        if isinstance(module, nn.Embedding):
            nn.init.normal_(module.weight, std=0.02)
    nn.init.normal_(network.vision_model.embeddings.class_embedding, std=0.02)
    nn.init.constant_(network.logit_scale, math.log(START_SCALE))
    return network


@dataclass(frozen=True, kw_only=True)
class Captioned:
    """Cached pictures with token ids (n l), and for each which scene it shows: `scenes` (n,), equal for equal ones."""

    cache: PictureCache
    ids: Tensor
    scenes: Tensor

    @staticmethod
    def of(cache: PictureCache, clip: Clip) -> Captioned:
        """Rows of pictures without a caption are left out by `drawn`, which never sees them."""
        columns = list(zip(*cache.labels.values(), strict=True)) or [()] * len(cache)
        known: dict[tuple, int] = {}
        said = [(labels, _word(text) if labels else text) for labels, text in zip(columns, cache.captions, strict=True)]
        scenes = [known.setdefault(each, len(known)) for each in said]
        return Captioned(cache=cache, ids=clip.token_ids(cache.captions), scenes=torch.tensor(scenes))


def _word(caption: str) -> str:
    """What stands on a sign, which labels do not say: captions write it in capitals."""
    return " ".join(word for word in caption.split() if len(word) > 1 and word.isupper())


@dataclass(frozen=True, kw_only=True)
class ClipTask:
    """Find each picture's caption in the batch, and each caption's picture.

    Several captions say one scene in other words: all of one scene's are right answers, in equal shares.
    """

    data: Captioned
    held_out: Captioned
    clip: Clip  # its tokenizer; the network is the loop's
    batch_size: int
    helper: None = None

    def loss(self, model: nn.Module, generator: torch.Generator, progress: float) -> Tensor:
        rows = torch.randint(len(self.data.ids), (self.batch_size,), generator=generator)
        clip = Clip(model, self.clip.tokenizer)
        pictures = shaken(self.data.cache.pictures(rows.tolist()).to(clip.device), generator)
        scenes = self.data.scenes[rows].to(clip.device)
        scale = model.logit_scale.exp().clamp(max=MOST_SCALE)
        logits = scale * clip.embed_pixels(pictures) @ clip.embed_ids(self.data.ids[rows].to(clip.device)).mT  # b b
        right = (scenes[:, None] == scenes).float()
        right = right / right.sum(1, keepdim=True)  # symmetric: a row's share is a column's
        return (F.cross_entropy(logits, right) + F.cross_entropy(logits.mT, right)) / 2

    def preview(self, model: nn.Module) -> Preview:
        return Preview(figures=clip_figures(Clip(model, self.clip.tokenizer), self.held_out, most=200))


@torch.inference_mode()
def clip_figures(clip: Clip, data: Captioned, *, most: int = RETRIEVAL) -> dict[str, float]:
    """On different scenes: how often a picture finds its caption among all, a caption its picture, and the swap test.

    swapped: share of captions with two colours that fit their picture better than the same with the colours exchanged.
    """
    rows = _first_of_each(data.scenes)[:most]
    seen = torch.cat([clip.embed_pixels(data.cache.pictures(part)) for part in _parts(rows)])
    read = torch.cat([clip.embed_ids(data.ids[part].to(clip.device)) for part in _parts(rows)])
    found, here = seen @ read.mT, torch.arange(len(rows), device=seen.device)
    captions = [data.cache.captions[row] for row in rows]
    swapped = {i: other for i, caption in enumerate(captions) if (other := with_colors_swapped(caption))}
    others = clip.embed_texts(list(swapped.values())) if swapped else read[:0]
    better = [float(found[i, i] > seen[i] @ other) for i, other in zip(swapped, others, strict=True)]
    return {
        "caption_of_picture": (found.argmax(1) == here).float().mean().item(),
        "picture_of_caption": (found.argmax(0) == here).float().mean().item(),
        "swapped": sum(better) / max(1, len(better)),
        "among": float(len(rows)),
    }


def with_colors_swapped(caption: str) -> str | None:
    """The caption with its two colours exchanged; None where there are not two different ones."""
    words = caption.split()
    places = [i for i, word in enumerate(words) if word.strip(",.") in COLORS]
    if len(places) != 2 or words[places[0]] == words[places[1]]:
        return None
    a, b = places
    words[a], words[b] = words[b], words[a]
    return " ".join(words)


def _first_of_each(scenes: Tensor) -> list[int]:
    first: dict[int, int] = {}
    for row, scene in enumerate(scenes.tolist()):
        first.setdefault(scene, row)
    return list(first.values())


def _parts(rows: Sequence[int], size: int = 128) -> list[list[int]]:
    return [list(rows[start : start + size]) for start in range(0, len(rows), size)]


def train_clip(options: TrainOptions) -> dict[str, object]:
    """Train on the cached base64 pictures with the tokenizer in models_dir, test on held-out ones, write models_dir/clip.

    Nothing is written when options.export is False or a signal stopped it ("interrupted" in the figures).
    """
    torch.manual_seed(options.seed)
    pieces_file = options.models_dir / "text_encoder" / "tokenizer.json"
    tokenizer = load_tokenizer(pieces_file)
    clip = Clip(fresh_network(clip_config(tokenizer.size)), tokenizer)
    task = ClipTask(
        data=Captioned.of(PictureCache(options.cache_dir, "base64"), clip),
        held_out=Captioned.of(PictureCache(options.cache_dir, "base64_held_out", limit=4096), clip),
        clip=clip,
        batch_size=options.batch_size or 256,
    )
    result = train(clip.network, task, options, config=LoopConfig(decay_start=0.3, ema_half_life=100.0))
    figures: dict[str, object] = {
        "steps": result.state.step,
        "images": result.state.images,
        "minutes": result.state.seconds / 60,
        "interrupted": result.interrupted,
        "pictures": len(task.data.ids),
        **clip_figures(Clip(result.model, tokenizer), task.held_out),
    }
    if options.export and not result.interrupted:
        figures["file"] = str(save_clip(result.model, options.models_dir / FOLDER, figures, pieces_file))
    return figures


def save_clip(network: ClipNetwork, folder: Path, figures: dict[str, object], pieces: Path) -> Path:
    """A folder as transformers keeps a CLIPModel, weights in float16 with their figures; the weights come last."""
    folder.mkdir(parents=True, exist_ok=True)
    write(folder / "config.json", (json.dumps(hub_config(network.config), indent=2) + "\n").encode())
    with whole(folder / "tokenizer.json") as draft:
        shutil.copyfile(pieces, draft)
    tensors = {name: weight.detach().cpu().half().contiguous() for name, weight in network.state_dict().items()}
    with whole(folder / "model.safetensors") as draft:
        write_safetensors(draft, tensors, {"format": "pt", "training": json.dumps(figures)})
    return folder / "model.safetensors"


def hub_config(config: ClipConfig) -> dict[str, object]:
    """What transformers calls all that."""
    towers = {"text_config": config.text, "vision_config": config.vision}
    told = {name: _hub_tower(tower) for name, tower in towers.items()}
    told["text_config"]["bos_token_id"] = config.text.end - 1
    return {"model_type": "clip", "architectures": ["CLIPModel"], "projection_dim": config.text_embed_dim, **told}


def _hub_tower(tower: TowerConfig) -> dict[str, object]:
    return {SIZES[name]: value for name, value in vars(tower).items()}
