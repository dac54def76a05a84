"""How does imagen-mini get a CLIP of its own? Pictures and their captions, told apart in a batch (arXiv 2103.00020).

It is a `ClipNetwork` small enough to ship, written as transformers keeps CLIPs, so that whatever reads a CLIP reads it.
It sees noisy pictures too, so that it can guide from the first step on (GLIDE, arXiv 2112.10741, section 2.3).

Shapes: b pairs of picture and caption, k wrong captions, l tokens, e the common space, f facts of a picture.
"""

from __future__ import annotations

import json
import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from random import Random

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from imagen_core._safetensors import write_safetensors
from imagen_core.clip.config import SIZES, ClipConfig, TextConfig, TowerConfig, VisionConfig
from imagen_core.clip.loading import load_clip, load_clip_network
from imagen_core.clip.model import Clip, normalised
from imagen_core.clip.network import ClipNetwork
from imagen_core.text.tokenizer import Tokenizer, load_tokenizer
from imagen_core.whole_files import whole, write

from .classifier import shaken
from .clip_pictures import COLOR, COLOR_2, COUNT, FACTS, STATED, THING, THING_2, Captioned, Shown
from .data import KINDS, PictureCache, render_pictures
from .loop import LoopConfig, Preview, train
from .options import TrainOptions
from .stickers.captions import Caption, write_caption
from .stickers.colors import COLORS
from .stickers.contrasts import SWAPS, contrasted, swapped, two_captions
from .stickers.names import things
from .stickers.scene import Scene
from .stickers.words import build_tokenizer

FOLDER = "clip"  # under the models folder: config.json, model.safetensors, tokenizer.json
EMBED_DIM = 128
PLACES_STD = 2.0  # deviation of the vision tower's places at first
START_SCALE, MOST_SCALE = 1 / 0.07, 100.0  # of exp(logit_scale), section 2.5
MARKS = 2  # ids behind the tokenizer's own: a text's start and its end
POSITIONS = 26  # the longest caption has 23 words, beside them one unknown and two marks
RETRIEVAL = 1000  # different held-out pictures among which each must be found
SHOWN, HELD_OUT, TEST = "things64_crowded", "things64_wide_held_out", "things64_wide_test"
HELD_OUT_PICTURES, TEST_PICTURES = 16_384, 4096
PAIRS, UNSEEN = 0.5, 0.1  # of a batch: pairs, as they are and exchanged; colours that are never shown to the base
CONTRASTED = 0.3  # of a batch, from its middle: with a wrong caption beside
NOISY = 0.4  # of a batch
AT_PLACES, PLACES_SCALE = 0.5, 20.0  # of the loss of `Places`; what it multiplies unit vectors by


def clip_config(words: int) -> ClipConfig:
    """1.7 million weights, for a tokenizer of so many words and pictures of 64 px. Patches of 16 learn fastest on a CPU."""
    text = TextConfig(
        width=112, layers=3, heads=4, mlp=336, vocab_size=words + MARKS, positions=POSITIONS, end=words + 1
    )
    vision = VisionConfig(width=160, layers=4, heads=5, mlp=448, side=64, patch=16)
    return ClipConfig(
        text=text, vision=vision, text_embed_dim=EMBED_DIM, vision_embed_dim=EMBED_DIM, scaled=True, noise_aware=True
    )


def fresh_network(config: ClipConfig) -> ClipNetwork:
    """Random weights: as torch makes layers, tables and tokens with a deviation of .02, the scale at 1/.07.

    But for the vision tower's places: patches come out of their layer at about 3, and beside that .02 is never heard.
    """
    network = ClipNetwork(config)
    for module in network.modules():
        if isinstance(module, nn.Embedding):
            nn.init.normal_(module.weight, std=0.02)
    nn.init.normal_(network.vision_model.embeddings.class_embedding, std=0.02)
    nn.init.normal_(network.vision_model.embeddings.position_embedding.weight, std=PLACES_STD)
    nn.init.constant_(network.logit_scale, math.log(START_SCALE))
    return network


@dataclass(frozen=True)
class Drawn:
    """One batch: pictures, what they show, what is said of them, and what is wrongly said of some."""

    pixels: Tensor  # (b 3 64 64) in [-1, 1]
    facts: Tensor  # (b f)
    captions: list[Caption]
    wrong: list[str]


class Places(nn.Module):
    """What stands at a pair's first place, and at its second: thing and colour, from either embedding by the same weights.

    Contrast alone leaves both towers bags of words for long: as neither says the order, neither is asked for it.
    """

    def __init__(self, classes: int) -> None:
        super().__init__()
        self.things, self.colors = (
            nn.ModuleList([nn.Linear(EMBED_DIM, count, bias=False) for _ in range(2)])
            for count in (classes, len(COLORS) + 1)
        )

    def begin_at(self, names: Tensor) -> None:
        """Both places with every thing's name as the text tower reads it (classes e)."""
        with torch.no_grad():
            for head in self.things:
                head.weight.copy_(names)

    def loss(self, seen: Tensor, read: Tensor, facts: Tensor) -> Tensor:
        """Mean cross entropy over both embeddings (b e), both places, thing and colour, of the pairs among `facts` (b f)."""
        pairs = facts[:, THING_2] >= 0
        facts, losses = facts[pairs], []
        with torch.autocast(seen.device.type, enabled=False):
            for embeds in (seen[pairs], read[pairs]):
                embeds = PLACES_SCALE * F.normalize(embeds.float(), dim=-1)
                for place, (thing, color) in enumerate(((THING, COLOR), (THING_2, COLOR_2))):
                    losses.append(F.cross_entropy(self.things[place](embeds), facts[:, thing]))
                    losses.append(F.cross_entropy(self.colors[place](embeds), facts[:, color] + 1))
        return torch.stack(losses).mean()


@dataclass(frozen=True, kw_only=True)
class ClipTask:
    """Find each picture's caption in the batch, and each caption's picture; wrong captions stand among the captions.

    Every caption that is true of a picture is a right answer, in equal shares.
    """

    shown: Captioned
    held_out: Captioned  # colours and things that the base never sees: who judges must know them
    test: Captioned
    tokenizer: Tokenizer
    batch_size: int
    helper: Places

    def loss(self, model: nn.Module, generator: torch.Generator, progress: float) -> Tensor:
        batch = self.drawn(generator)
        pixels = noised(shaken(batch.pixels, generator, reach=2), generator)
        rng = Random(int(torch.randint(2**62, (), generator=generator)))
        texts = [with_unknown_words(text, rng) for text in (*(c.text for c in batch.captions), *batch.wrong)]
        device = next(model.parameters()).device
        seen, read = model(normalised(pixels.to(device)), Clip(model, self.tokenizer).token_ids(texts).to(device))
        told = contrastive_loss(seen, read, model.logit_scale, true_of(batch).to(device))
        return told + AT_PLACES * self.helper.loss(seen, read[: len(seen)], batch.facts.to(device))

    def drawn(self, generator: torch.Generator) -> Drawn:
        """Pairs first, half of them with their things exchanged, then any pictures, then what the base never sees."""
        pairs, unseen = int(self.batch_size * PAIRS / 2), int(self.batch_size * UNSEEN)
        rng = Random(int(torch.randint(2**62, (), generator=generator)))
        plain = self.shown.exchangeable
        twice = self.shown.at(plain[_random(len(plain), pairs, generator)])
        other = twice.exchanged()
        rest = self.shown.at(_random(len(self.shown.scenes), self.batch_size - 2 * pairs - unseen, generator))
        parts = [twice, other, rest, self.held_out.at(_random(len(self.held_out.scenes), unseen, generator))]
        captions, wrong = said(parts, self.shown.things, rng)
        pixels, facts = (torch.cat([getattr(part, name) for part in parts]) for name in ("pixels", "facts"))
        return Drawn(pixels, facts, captions, wrong)

    def preview(self, model: nn.Module) -> Preview:
        return Preview(figures=clip_figures(Clip(model, self.tokenizer), self.test, most=200))


def _random(among: int, count: int, generator: torch.Generator) -> Tensor:
    return torch.randint(among, (count,), generator=generator)


def said(parts: Sequence[Shown], known: list[int], rng: Random) -> tuple[list[Caption], list[str]]:
    """A caption of every scene, pairs and exchanged pairs in the same words; and wrong ones, see CONTRASTED.

    parts: pairs, the same exchanged, and others.
    """
    vocabulary, (twice, other, *rest) = things(), parts
    both = [two_captions(*each, vocabulary, rng) for each in zip(twice.scenes, other.scenes, strict=True)]
    captions = [one for one, _ in both] + [two for _, two in both]
    captions += [write_caption(scene, vocabulary, rng) for part in rest for scene in part.scenes]
    scenes = [*other.scenes, *(scene for part in rest for scene in part.scenes)]
    scenes = scenes[: int(sum(len(part.scenes) for part in parts) * CONTRASTED)]
    wrong = [two_captions(scene, contrasted(scene, known, rng), vocabulary, rng)[1].text for scene in scenes]
    return captions, wrong


def with_unknown_words(text: str, rng: Random, *, share: float = 0.2) -> str:
    """Now and then a word that no caption has, to be passed over: "a cute fox" is a fox."""
    if rng.random() >= share:
        return text
    words = text.split()
    words.insert(rng.randrange(len(words) + 1), "\N{WHITE SQUARE}")
    return " ".join(words)


def true_of(batch: Drawn) -> Tensor:
    """(b b+k) bool: whether a caption is true of a picture, in all that it states. Wrong ones are true of none."""
    states = torch.ones(len(batch.captions), len(FACTS), dtype=torch.bool)
    for row, caption in enumerate(batch.captions):
        for name, places in STATED.items():
            states[row, list(places)] = name in caption.stated
    same = (batch.facts[:, None] == batch.facts[None]) | ~states[None]  # b b f
    return F.pad(same.all(-1), (0, len(batch.wrong)))


def contrastive_loss(seen: Tensor, read: Tensor, logit_scale: Tensor, true: Tensor) -> Tensor:
    """Symmetric cross entropy of pictures (b e) and captions (b+k e), not normalised; true (b b+k): right answers.

    Figure 3 of arXiv 2103.00020, with NegCLIP's wrong captions (arXiv 2210.01936), which are nobody's.
    """
    with torch.autocast(seen.device.type, enabled=False):
        seen, read = F.normalize(seen.float(), dim=-1), F.normalize(read.float(), dim=-1)
        logits = logit_scale.float().exp().clamp(max=MOST_SCALE) * seen @ read.mT  # b b+k
        right = true.float()
        own = right[:, : len(seen)]
        of_picture = F.cross_entropy(logits, right / right.sum(1, keepdim=True))
        of_caption = F.cross_entropy(logits[:, : len(seen)].mT, own.mT / own.mT.sum(1, keepdim=True))
        return (of_picture + of_caption) / 2


def noised(pictures: Tensor, generator: torch.Generator) -> Tensor:
    """x_t of the first of every five pictures and of the second, at any time of the cosine schedule; others as they are."""
    level = torch.rand(len(pictures), generator=generator) * math.pi / 2
    level = level.where(torch.arange(len(pictures)) % 5 < 5 * NOISY, 0.0)[:, None, None, None]
    return level.cos() * pictures + level.sin() * torch.randn(pictures.shape, generator=generator)


@torch.inference_mode()
def clip_figures(clip: Clip, data: Captioned, *, most: int = RETRIEVAL) -> dict[str, float]:
    """How often a picture finds its caption among `most` different ones, a caption its picture; and the swap test.

    noisy_caption_of_picture: of x_t at t = 0.5 of the cosine schedule, where signal and noise are equally strong.
    swapped_*: share of pairs whose caption fits them better than the same with colours, things or places exchanged.
    """
    rows = first_of_each(data.cache.captions)[:most]
    seen = torch.cat([clip.embed_pixels(data.cache.pictures(part)) for part in _parts(rows)])
    generator = torch.Generator().manual_seed(0)
    noisy = torch.cat([clip.embed_noisy(_half_noise(data.cache.pictures(p), generator)) for p in _parts(rows)])
    read = torch.cat([clip.embed_texts([data.cache.captions[row] for row in part]) for part in _parts(rows)])
    here = torch.arange(len(rows), device=seen.device)
    found = {
        "caption_of_picture": (seen @ read.mT).argmax(1) == here,
        "picture_of_caption": (seen @ read.mT).argmax(0) == here,
        "noisy_caption_of_picture": (noisy @ read.mT).argmax(1) == here,
    }
    figures = {name: right.float().mean().item() for name, right in found.items()}
    figures["named"] = named(clip, data, most=most)
    return figures | swap_figures(clip, data, most=most) | {"among": float(len(rows))}


def named(clip: Clip, data: Captioned, *, most: int) -> float:
    """How often the bare name ("a fox") of what a picture shows, one thing alone, is best among all things' names."""
    rows = (data.facts[:, COUNT] == 1).nonzero()[:most, 0]
    names = clip.embed_texts([things()[i].head for i in data.things])
    best = torch.cat(
        [(clip.embed_pixels(data.cache.pictures(part)) @ names.mT).argmax(1) for part in _parts(rows.tolist())]
    )
    return (torch.tensor(data.things)[best.cpu()] == data.facts[rows, THING]).float().mean().item()


def _half_noise(pictures: Tensor, generator: torch.Generator) -> Tensor:
    return (pictures + torch.randn(pictures.shape, generator=generator)) / math.sqrt(2)


def swap_figures(clip: Clip, data: Captioned, *, most: int) -> dict[str, float]:
    """The swap test on the first pairs: of each way to exchange, and of all together as "swapped"."""
    right: dict[str, list[bool]] = {}
    for part in _parts(data.pairs[:most].tolist()):
        seen = clip.embed_pixels(data.cache.pictures(part))
        for what in SWAPS:
            own, texts = _swapped_texts([data.scenes[row] for row in part], what)
            if not own:
                continue
            fits = (seen[own, None] * clip.embed_texts(texts).unflatten(0, (-1, 2))).sum(-1)  # n 2
            right.setdefault(f"swapped_{what}", []).extend((fits[:, 0] > fits[:, 1]).tolist())
    shares = {name: sum(each) / len(each) for name, each in right.items()}
    every = [one for each in right.values() for one in each]
    return shares | {"swapped": sum(every) / max(1, len(every)), "swaps": float(len(every))}


def _swapped_texts(scenes: Sequence[Scene], what: str) -> tuple[list[int], list[str]]:
    """Which scenes can be swapped, and for each of those its caption and the swapped one."""
    rng, vocabulary, own, texts = Random(0), things(), [], []
    for row, scene in enumerate(scenes):
        other = swapped(scene, what)
        if other is not None:
            own.append(row)
            texts += [caption.text for caption in two_captions(scene, other, vocabulary, rng)]
    return own, texts


def first_of_each(captions: Sequence[str]) -> list[int]:
    """Where each caption stands for the first time."""
    first: dict[str, int] = {}
    for row, caption in enumerate(captions):
        first.setdefault(caption, row)
    return list(first.values())


def _parts(rows: Sequence[int], size: int = 128) -> Iterator[list[int]]:
    yield from (list(rows[start : start + size]) for start in range(0, len(rows), size))


def train_clip(options: TrainOptions) -> dict[str, object]:
    """Train on the cached SHOWN and HELD_OUT pictures, test on fresh ones, write models_dir/clip.

    Nothing is written when options.export is False or a signal stopped it ("interrupted" in the figures).
    """
    torch.manual_seed(options.seed)
    for name, count in ((HELD_OUT, HELD_OUT_PICTURES), (TEST, TEST_PICTURES)):
        render_pictures(KINDS[name], count, options.cache_dir)
    words = options.state_dir / "tokenizer.json"
    options.state_dir.mkdir(parents=True, exist_ok=True)
    write(words, tokenizer_json())
    tokenizer = load_tokenizer(words)
    shown, held_out, test = (Captioned.of(PictureCache(options.cache_dir, name)) for name in (SHOWN, HELD_OUT, TEST))
    network, helper = fresh_network(clip_config(tokenizer.size)), Places(len(things()))
    if options.from_weights:
        network.load_state_dict(load_clip_network(options.from_weights.parent, dtype=torch.float32).state_dict())
        helper.begin_at(Clip(network, tokenizer).embed_texts([thing.head for thing in things()]).detach())
    task = ClipTask(
        shown=shown,
        held_out=held_out,
        test=test,
        tokenizer=tokenizer,
        batch_size=options.batch_size or 160,
        helper=helper,
    )
    result = train(network, task, options, config=LoopConfig(decay_start=0.4, ema_half_life=50.0))
    figures: dict[str, object] = {
        "steps": result.state.step,
        "images": result.state.images,
        "minutes": result.state.seconds / 60,
        "interrupted": result.interrupted,
        "pictures": len(shown.scenes) + len(held_out.scenes),
        **clip_figures(Clip(result.model, tokenizer), test),
    }
    if options.export and not result.interrupted:
        figures["file"] = str(save_clip(result.model, options.models_dir / FOLDER, figures))
    return figures


def evaluate_clip(path: Path, cache_dir: Path, *, count: int = TEST_PICTURES) -> dict[str, object]:
    """`clip_figures` of a whole CLIP at `path` on fresh pictures of things, rendered where they are not in the cache."""
    clip = load_clip(path)
    render_pictures(KINDS[TEST], count, cache_dir)
    return clip_figures(clip, Captioned.of(PictureCache(cache_dir, TEST))) | {"clip": str(path)}


def tokenizer_json() -> bytes:
    return build_tokenizer(KINDS[SHOWN].tier).to_str(pretty=False).encode()


def save_clip(network: ClipNetwork, folder: Path, figures: dict[str, object]) -> Path:
    """A folder as transformers keeps a CLIPModel, weights in float16 with their figures; the weights come last."""
    folder.mkdir(parents=True, exist_ok=True)
    write(folder / "config.json", (json.dumps(hub_config(network.config), indent=2) + "\n").encode())
    write(folder / "tokenizer.json", tokenizer_json())
    tensors = {name: weight.detach().cpu().half().contiguous() for name, weight in network.state_dict().items()}
    with whole(folder / "model.safetensors") as draft:
        write_safetensors(draft, tensors, {"format": "pt", "training": json.dumps(figures)})
    return folder / "model.safetensors"


def hub_config(config: ClipConfig) -> dict[str, object]:
    """What transformers calls all that; noise_aware is ours, and passed over there."""
    towers = {"text_config": config.text, "vision_config": config.vision}
    told = {name: _hub_tower(tower) for name, tower in towers.items()}
    told["text_config"]["bos_token_id"] = config.text.end - 1
    about = {"model_type": "clip", "architectures": ["CLIPModel"], "projection_dim": config.text_embed_dim}
    return {**about, "noise_aware": config.noise_aware, **told}


def _hub_tower(tower: TowerConfig) -> dict[str, object]:
    return {SIZES[name]: value for name, value in vars(tower).items()}
