"""How does a base draw what references show? Scenes to be asked for, their renders, and one base with its image prompt.

What `evaluate unclip` and `evaluate image_prompt` share.

Shapes: b pictures, h w pixels.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from random import Random
from typing import TypeVar

import torch
from torch import Tensor

from imagen_core import Control, LoadedAdapter, Prompt, Stage, load_adapter
from imagen_core.sampling import sample_base
from imagen_core.text.loading import load_text_encoder
from imagen_core.text.t5 import T5TextEncoder

from .caption_files import encoder_for
from .data import drawings_folder
from .evaluate import SamplingSettings
from .metrics import Figure
from .stickers import backdrops
from .stickers.judge import TEST_SEED
from .stickers.nearest import UNSIZED, judged_each
from .stickers.pictures import Library, open_library, paint
from .stickers.scene import STYLES, Mix, Scene, SceneSampler

MIX = dataclasses.replace(UNSIZED, pair=0.0)  # a base that mixes up pairs cannot be asked for them by a picture either

D = TypeVar("D", bound="Decoder")


def shown(scene: Scene, library: Library) -> Tensor:
    """The scene's render, (3 h w) in [-1, 1]."""
    return torch.from_numpy(paint(scene, library)).permute(2, 0, 1).float() / 127.5 - 1


def scenes_of(
    library: Library, count: int, tier: int, *, held_out: bool = False, mix: Mix = MIX, name: str = "unclip"
) -> list[Scene]:
    """`count` scenes by a mix, others for each name; held_out: in colours that training never shows on their things."""
    sampler = SceneSampler(library.vocabulary, library.available(tier), mix, held_out=held_out)
    rng = Random(f"{name} {TEST_SEED} {held_out}")
    sampler.things = [i for i in sampler.things if i not in sampler.held.things]
    order = rng.sample(sampler.things, len(sampler.things))
    return [sampler.sample(rng, first=order[i % len(order)]) for i in range(count)]


def alone(scene: Scene, which: int = 0) -> Scene:
    """One of its things by itself, large and in the middle, in the scene's style and before its backdrop."""
    placed = dataclasses.replace(scene.placed[which], x=0.5, y=0.5, size=0.79)
    return dataclasses.replace(scene, layout="one", placed=(placed,), relation=None)


def reference_of(scene: Scene, rng: Random) -> Scene:
    """One of the same thing in the same colour, in another style and before another backdrop."""
    (style,) = rng.sample([each for each in STYLES if each != scene.style], 1)
    backdrop = rng.choice([each for each in backdrops.NAMES if each not in (scene.backdrop, scene.placed[0].color)])
    return dataclasses.replace(alone(scene), style=style, backdrop=backdrop, seed=scene.seed + 1)


@dataclass(frozen=True, kw_only=True)
class Decoder:
    """A base with the image prompt that makes it draw references."""

    stage: Stage
    adapter: LoadedAdapter
    encoder: T5TextEncoder
    settings: SamplingSettings
    library: Library
    tier: int

    @classmethod
    def of(
        cls: type[D],
        base: Path,
        image_prompt: Path,
        models_dir: Path,
        *,
        tier: int,
        settings: SamplingSettings | None = None,
        device: str = "cpu",
        **more: object,
    ) -> D:
        """From files. ValueError for those that do not belong together. more: the fields of a subclass."""
        settings = settings or SamplingSettings()
        stage = settings.load(base, device, expected_stage="base64")
        adapter = load_adapter(image_prompt, device=device, dtype=stage.dtype)
        adapter.check_fits(stage)
        encoder = encoder_for(stage.spec.unet_config.text_embed_dim, (models_dir, base.parent))
        return cls(
            stage=stage,
            adapter=adapter,
            encoder=load_text_encoder(encoder, device=device),
            settings=settings.of(stage),
            library=open_library(drawings_folder()),
            tier=tier,
            **more,
        )

    def drawn(
        self,
        references: Tensor | None,
        texts: Sequence[str] = (),
        *,
        seed: int = 0,
        x_T: Tensor | None = None,
        strength: float = 1.0,
    ) -> Tensor:
        """A picture a reference, which are embeddings (b e) or pictures (b 3 h w), or a text, the i-th from seed + i.

        texts: none is an empty one each.
        """
        if references is None:
            return self.steered([], texts, seed=seed, x_T=x_T)
        told = Control(adapter=self.adapter, picture=references, strength=strength)
        return self.steered([told], list(texts) or [""] * len(references), seed=seed, x_T=x_T)

    def steered(
        self, controls: Sequence[Control], texts: Sequence[str], *, seed: int = 0, x_T: Tensor | None = None
    ) -> Tensor:
        """A picture a text, the i-th from seed + i, under the i-th reference of each control; masks hold for all."""
        parts = []
        for first in range(0, len(texts), self.settings.batch_size):
            part = slice(first, min(len(texts), first + self.settings.batch_size))
            told = [dataclasses.replace(each, picture=each.picture[part]) for each in controls]
            draw = self.settings.draw(range(seed + part.start, seed + part.stop), told)
            draw = draw if x_T is None else dataclasses.replace(draw, x_T=x_T[part])
            parts.append(sample_base(self.stage, Prompt(text=self.encoder.encode(list(texts[part]))), draw))
        return torch.cat(parts)

    def seen(self, scenes: Sequence[Scene]) -> Tensor:
        """Renders (b 3 h w)."""
        return torch.stack([shown(scene, self.library) for scene in scenes])

    def judged(self, sets: dict[str, Tensor], scenes: Sequence[Scene]) -> dict[str, dict[str, Figure]]:
        """Of pictures (b 3 h w) of the scenes, by name, how often the nearest of all renders is the right one."""
        things = self.library.available(self.tier)
        found = judged_each(list(sets.values()), scenes, self.library, things)
        return dict(zip(sets, found, strict=True))
