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

import torch
from torch import Tensor
from torch.nn import functional as F

from imagen_core import Clip, Control, LoadedAdapter, Prior, Prompt, Stage, load_adapter, load_clip, load_prior
from imagen_core.image_embeds import image_embeds, moved_by_texts, noised, slerp
from imagen_core.noise import BatchNoise
from imagen_core.priors.prior import sample_prior
from imagen_core.sampling import sample_base
from imagen_core.text.loading import load_text_encoder
from imagen_core.text.t5 import T5TextEncoder

from .caption_files import encoder_for
from .data import drawings_folder
from .evaluate import SamplingSettings
from .metrics import Figure
from .prior import prompt_of, read_ids
from .stickers import backdrops
from .stickers.captions import unnamed_caption, write_caption
from .stickers.colors import COLORS
from .stickers.evaluate import ASKED, share
from .stickers.judge import TEST_SEED
from .stickers.nearest import UNSIZED, judged_each
from .stickers.pictures import Library, open_library, paint
from .stickers.scene import STYLES, Scene, SceneSampler

MIX = dataclasses.replace(UNSIZED, pair=0.0)  # a base that mixes up pairs cannot be asked for them by a picture either
SHARES = (0.0, 0.25, 0.5, 0.75, 1.0)  # of the way between two pictures
MOVES = (0.25, 0.5)  # of the way that a text difference points; the paper's
STRAY = 0.2  # noise on an embedding that shall vary


def shown(scene: Scene, library: Library) -> Tensor:
    """The scene's render, (3 h w) in [-1, 1]."""
    return torch.from_numpy(paint(scene, library)).permute(2, 0, 1).float() / 127.5 - 1


def scenes_of(library: Library, count: int, tier: int, *, held_out: bool = False) -> list[Scene]:
    """`count` scenes of one thing, or several alike; held_out: in colours that training never shows on them."""
    sampler = SceneSampler(library.vocabulary, library.available(tier), MIX, held_out=held_out)
    rng = Random(f"unclip {TEST_SEED} {held_out}")
    sampler.things = [i for i in sampler.things if i not in sampler.held.things]
    order = rng.sample(sampler.things, len(sampler.things))
    return [sampler.sample(rng, first=order[i % len(order)]) for i in range(count)]


def reference_of(scene: Scene, rng: Random) -> Scene:
    """One of the same thing in the same colour, in another style and before another backdrop."""
    (style,) = rng.sample([each for each in STYLES if each != scene.style], 1)
    backdrop = rng.choice([each for each in backdrops.NAMES if each not in (scene.backdrop, scene.placed[0].color)])
    alone = dataclasses.replace(scene.placed[0], x=0.5, y=0.5, size=0.79)
    return dataclasses.replace(
        scene, layout="one", style=style, backdrop=backdrop, placed=(alone,), seed=scene.seed + 1
    )


@dataclass(frozen=True, kw_only=True)
class Decoder:
    """A base with the image prompt that makes it draw embeddings."""

    stage: Stage
    adapter: LoadedAdapter
    clip: Clip
    encoder: T5TextEncoder
    settings: SamplingSettings
    library: Library
    tier: int

    def drawn(
        self, references: Tensor | None, texts: Sequence[str] = (), *, seed: int = 0, x_T: Tensor | None = None
    ) -> Tensor:
        """A picture a reference, which are embeddings (b e) or pictures (b 3 h w), or a text, the i-th from seed + i.

        texts: none is an empty one each.
        """
        count, parts = len(texts) if references is None else len(references), []
        texts = list(texts) or [""] * count
        for first in range(0, count, self.settings.batch_size):
            part = slice(first, min(count, first + self.settings.batch_size))
            controls = [] if references is None else [Control(adapter=self.adapter, picture=references[part])]
            draw = self.settings.draw(range(seed + part.start, seed + part.stop), controls)
            draw = draw if x_T is None else dataclasses.replace(draw, x_T=x_T[part])
            parts.append(sample_base(self.stage, Prompt(text=self.encoder.encode(texts[part])), draw))
        return torch.cat(parts)

    def seen(self, scenes: Sequence[Scene]) -> Tensor:
        return torch.stack([shown(scene, self.library) for scene in scenes])

    def embeds(self, scenes: Sequence[Scene]) -> Tensor:
        return image_embeds(self.clip, self.seen(scenes))

    def judged(self, sets: dict[str, Tensor], scenes: Sequence[Scene]) -> dict[str, dict[str, Figure]]:
        """Of pictures (b 3 h w) of the scenes, by name, how often the nearest of all renders is the right one."""
        things = self.library.available(self.tier)
        found = judged_each(list(sets.values()), scenes, self.library, things)
        return dict(zip(sets, found, strict=True))

    def noise(self, seeds: Sequence[int]) -> Tensor:
        side = self.stage.spec.native_side
        return BatchNoise(seeds)((3, side, side))


def reconstructed(decoder: Decoder, scenes: list[Scene]) -> dict[str, Tensor]:
    """From the embedding alone and from the picture, both without words; from other noise; from a straying embedding."""
    embeds = decoder.embeds(scenes)
    return {
        "from_embedding": decoder.drawn(embeds),
        "from_picture": decoder.drawn(decoder.seen(scenes)),
        "other_seed": decoder.drawn(embeds, seed=10_000),
        f"stray_{STRAY}": decoder.drawn(noised(embeds, STRAY, 0)),
    }


def beside_words(decoder: Decoder, scenes: list[Scene]) -> dict[str, Tensor]:
    """A reference of the same thing and colour in another style before another backdrop; words say all but the thing."""
    rng = Random(f"words {TEST_SEED}")
    references = decoder.seen([reference_of(scene, rng) for scene in scenes])
    texts = [unnamed_caption(scene.style, len(scene.placed), scene.backdrop, rng) for scene in scenes]
    return {"words_and_reference": decoder.drawn(references, texts), "words_alone": decoder.drawn(None, texts)}


def drawn_again(decoder: Decoder, scenes: list[Scene]) -> dict[str, object]:
    """What of the scenes is kept, and how far apart pixels of two variations are (of 2)."""
    sets = reconstructed(decoder, scenes)
    plain = sets["from_embedding"]
    apart = {name: (plain - each).abs().mean().item() for name, each in sets.items() if each is not plain}
    return {**decoder.judged(sets | beside_words(decoder, scenes), scenes), "apart_from_from_embedding": apart}


def interpolated(decoder: Decoder, scenes: list[Scene]) -> dict[str, object]:
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


def recolored(decoder: Decoder, scenes: list[Scene]) -> dict[str, object]:
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


def _texts(decoder: Decoder, scenes: list[Scene]) -> object:
    things = [decoder.library.vocabulary[scene.placed[0].thing].noun for scene in scenes]
    texts = [f"a {scene.placed[0].color} {thing}" for scene, thing in zip(scenes, things, strict=True)]
    return read_ids(decoder.clip, decoder.clip.token_ids(texts))


def from_captions(decoder: Decoder, prior: Prior, count: int, *, held_out: bool) -> dict[str, object]:
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
    settings = settings or SamplingSettings()
    stage = settings.load(base, device, expected_stage="base64")
    adapter = load_adapter(image_prompt, device=device, dtype=stage.dtype)
    adapter.check_fits(stage)
    if adapter.network.reads_embeds is None:
        raise ValueError(
            f"{image_prompt} reads no CLIP embeddings: name one that imagen train image_prompt --clip made"
        )
    width = stage.spec.unet_config.text_embed_dim
    decoder = Decoder(
        stage=stage,
        adapter=adapter,
        clip=load_clip(clip).to(device),
        encoder=load_text_encoder(encoder_for(width, (models_dir, base.parent)), device=device),
        settings=settings.of(stage),
        library=open_library(drawings_folder()),
        tier=tier,
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
