"""How well does a base draw what a CLIP sees? Reconstructed, varied, mixed, moved by words, beside words, and from a prior.

DALL-E 2's demonstrations (arXiv 2204.06125, section 3) with truths to hold them against: the pictures are composed of
drawings, and the judge is the nearest of all renders that might have been asked for (`stickers.nearest`).

Shapes: b pictures, e CLIP's common space.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from random import Random

from torch import Tensor
from torch.nn import functional as F

from imagen_core import Clip, Prior, load_clip, load_prior
from imagen_core.image_embeds import image_embeds, moved_by_texts, noised, slerp
from imagen_core.noise import BatchNoise
from imagen_core.priors.prior import sample_prior

from .decoding import Decoder, reference_of, scenes_of
from .evaluate import SamplingSettings
from .prior import prompt_of, read_ids
from .stickers.captions import unnamed_caption, write_caption
from .stickers.colors import COLORS
from .stickers.evaluate import ASKED, share
from .stickers.judge import TEST_SEED
from .stickers.scene import Scene

SHARES = (0.0, 0.25, 0.5, 0.75, 1.0)  # of the way between two pictures
MOVES = (0.25, 0.5)  # of the way that a text difference points; the paper's
STRAY = 0.2  # noise on an embedding that shall vary


@dataclass(frozen=True, kw_only=True)
class ClipDecoder(Decoder):
    """The same, drawing what a CLIP sees."""

    clip: Clip

    def embeds(self, scenes: Sequence[Scene]) -> Tensor:
        return image_embeds(self.clip, self.seen(scenes))

    def noise(self, seeds: Sequence[int]) -> Tensor:
        side = self.stage.spec.native_side
        return BatchNoise(seeds)((3, side, side))


def reconstructed(decoder: ClipDecoder, scenes: list[Scene]) -> dict[str, Tensor]:
    """From the embedding alone and from the picture, both without words; from other noise; from a straying embedding."""
    embeds = decoder.embeds(scenes)
    return {
        "from_embedding": decoder.drawn(embeds),
        "from_picture": decoder.drawn(decoder.seen(scenes)),
        "other_seed": decoder.drawn(embeds, seed=10_000),
        f"stray_{STRAY}": decoder.drawn(noised(embeds, STRAY, 0)),
    }


def beside_words(decoder: ClipDecoder, scenes: list[Scene]) -> dict[str, Tensor]:
    """A reference of the same thing and colour in another style before another backdrop; words say all but the thing."""
    rng = Random(f"words {TEST_SEED}")
    references = decoder.seen([reference_of(scene, rng) for scene in scenes])
    texts = [unnamed_caption(scene.style, len(scene.placed), scene.backdrop, rng) for scene in scenes]
    return {"words_and_reference": decoder.drawn(references, texts), "words_alone": decoder.drawn(None, texts)}


def drawn_again(decoder: ClipDecoder, scenes: list[Scene]) -> dict[str, object]:
    """What of the scenes is kept, and how far apart pixels of two variations are (of 2)."""
    sets = reconstructed(decoder, scenes)
    plain = sets["from_embedding"]
    apart = {name: (plain - each).abs().mean().item() for name, each in sets.items() if each is not plain}
    return {**decoder.judged(sets | beside_words(decoder, scenes), scenes), "apart_from_from_embedding": apart}


def interpolated(decoder: ClipDecoder, scenes: list[Scene]) -> dict[str, object]:
    """From each scene of the first half to one of the second, along arcs of embeddings and noises: does it turn once?"""
    half = len(scenes) // 2
    ends = [scenes[:half], scenes[half : 2 * half]]
    embeds, renders = ([f(each) for each in ends] for f in (decoder.embeds, decoder.seen))
    noises = [decoder.noise(range(half)), decoder.noise(range(10_000, 10_000 + half))]
    nearer_last = []
    for at in SHARES:
        drawn = decoder.drawn(slerp(*embeds, at), x_T=slerp(*noises, at))
        first, last = ((drawn - each).square().mean((1, 2, 3)) for each in renders)
        nearer_last.append((last < first).tolist())
    rows = list(zip(*nearer_last, strict=True))
    return {
        "begins_as_first": share([not row[0] for row in rows]),
        "ends_as_last": share([row[-1] for row in rows]),
        "turns_once": share([list(row) == sorted(row) and row[0] != row[-1] for row in rows]),
        "nearer_last": dict(zip(map(str, SHARES), [sum(each) / max(1, half) for each in nearer_last], strict=True)),
    }


def recolored(decoder: ClipDecoder, scenes: list[Scene]) -> dict[str, object]:
    """Embeddings moved by "a blue fox" less "a red fox": is it blue then, and a fox still?"""
    rng = Random(f"recolored {TEST_SEED}")
    scenes = [scene for scene in scenes if scene.placed[0].color and scene.layout == "one"]
    wanted = [_in_color(scene, _other_color(scene, rng)) for scene in scenes]
    texts, embeds = [_texts(decoder, each) for each in (wanted, scenes)], decoder.embeds(scenes)
    sets = {"unmoved": decoder.drawn(embeds)}
    sets |= {f"moved_{t}": decoder.drawn(moved_by_texts(embeds, *texts, t)) for t in MOVES}
    sets["embedding_of_the_wanted"] = decoder.drawn(decoder.embeds(wanted))
    return decoder.judged(sets, wanted)


def _other_color(scene: Scene, rng: Random) -> str:
    return rng.choice([each for each in COLORS if each not in (scene.placed[0].color, scene.backdrop)])


def _in_color(scene: Scene, color: str) -> Scene:
    return dataclasses.replace(scene, placed=tuple(dataclasses.replace(each, color=color) for each in scene.placed))


def _texts(decoder: ClipDecoder, scenes: list[Scene]) -> object:
    things = [decoder.library.vocabulary[scene.placed[0].thing].noun for scene in scenes]
    texts = [f"a {scene.placed[0].color} {thing}" for scene, thing in zip(scenes, things, strict=True)]
    return read_ids(decoder.clip, decoder.clip.token_ids(texts))


def from_captions(decoder: ClipDecoder, prior: Prior, count: int, *, held_out: bool) -> dict[str, object]:
    """A prior's embeddings, the pictures' own, and the base's own words: what is drawn of the same captions?"""
    scenes, rng = scenes_of(decoder.library, count, decoder.tier, held_out=held_out), Random(f"captions {held_out}")
    captions = [write_caption(scene, decoder.library.vocabulary, rng, ASKED).text for scene in scenes]
    prompt = prompt_of(decoder.clip, decoder.clip.token_ids(captions))
    draw = SamplingSettings(steps=25, guidance_scale=4.0, sampler="ddpm").draw(range(count))
    embeds, true = sample_prior(prior, prompt, draw, candidates=2), decoder.embeds(scenes)
    sets = {"prior": decoder.drawn(embeds), "true_embedding": decoder.drawn(true)}
    sets["base_text"] = decoder.drawn(None, captions)
    near = {"prior": embeds, "text": prompt.text.pooled.cpu()}
    return {
        **{f"cosine_of_{name}": F.cosine_similarity(each, true).mean().item() for name, each in near.items()},
        **decoder.judged(sets, scenes),
    }


def evaluate_unclip(
    base: Path,
    image_prompt: Path,
    clip: Path,
    models_dir: Path,
    *,
    prior: Path | None = None,
    count: int = 128,
    tier: int = 2,
    settings: SamplingSettings | None = None,
    device: str = "cpu",
) -> dict[str, object]:
    """All of the above on `count` scenes; of a prior's captions in training's colours and in others.

    Raises ValueError for files that do not belong together.
    """
    read = load_clip(clip).to(device)
    decoder = ClipDecoder.of(base, image_prompt, models_dir, tier=tier, settings=settings, device=device, clip=read)
    if decoder.adapter.network.reads_embeds is None:
        raise ValueError(
            f"{image_prompt} reads no CLIP embeddings: name one that imagen train image_prompt --clip made"
        )
    scenes = scenes_of(decoder.library, count, tier)
    figures: dict[str, object] = {
        part.__name__: part(decoder, scenes) for part in (drawn_again, interpolated, recolored)
    }
    if prior is not None:
        loaded = load_prior(prior, device=device)
        for name, held_out in (("prior", False), ("prior_unseen_colors", True)):
            figures[name] = from_captions(decoder, loaded, count, held_out=held_out)
    asked = {"count": count, "things": len(decoder.library.available(tier)), "image_prompt": image_prompt.name}
    return {**figures, "asked": asked, "settings": dataclasses.asdict(decoder.settings)}
