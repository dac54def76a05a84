"""How are two models compared? The same prompts and seeds for both, each with its own settings; a page for people."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from torch import Tensor

from imagen_core import read_spec
from imagen_core.text.loading import load_text_encoder

from ..caption_files import encoder_for
from ..evaluate import SamplingSettings, draw_base
from .prompt_sets import Asked
from .side_by_side import Pages, write_pages


@dataclass(frozen=True, kw_only=True)
class Contender:
    """A checkpoint and how it is drawn with."""

    weights: Path
    settings: SamplingSettings = SamplingSettings()
    text_encoder: Path | None = None  # None: the folder beside it, or of the shipped ones, that is as wide as it reads
    side: int | None = None  # of its pictures, in pixels; None: what its stage is called by

    def encoder(self, places: Sequence[Path]) -> Path:
        """The text encoder's folder, also found under `places`. ValueError: no base that reads text, or no encoder."""
        spec = read_spec(self.weights)
        if spec.enlarges or "text" not in spec.inputs:
            raise ValueError(f"{self.weights} is a {spec.stage} stage, which draws nothing from a prompt: name a base")
        return self.text_encoder or encoder_for(spec.unet_config.text_embed_dim, (self.weights.parent, *places))

    def drawn(self, prompts: Sequence[str], count: int, places: Sequence[Path], device: str = "cpu") -> Tensor:
        """`count` pictures a prompt, the k-th of prompt i from seed i * count + k: (n k 3 h w) in [-1, 1].

        places: as of `encoder`, whose ValueErrors it has.
        """
        encoder = load_text_encoder(self.encoder(places), device=device)
        stage = self.settings.load(self.weights, device)
        captions = [prompt for prompt in prompts for _ in range(count)]
        pictures = draw_base(stage, encoder, captions, self.settings.of(stage), side=self.side)
        return pictures.unflatten(0, (len(prompts), count))

    def told(self) -> str:
        """It in words, for those who read the votes."""
        settings = self.settings
        parts = {"steps": settings.steps, "guidance scale": settings.guidance_scale, "sampler": settings.sampler}
        return ", ".join(
            [str(self.weights), *(f"{name} {value}" for name, value in parts.items() if value is not None)]
        )


def compare(
    asked: Sequence[Asked],
    pair: tuple[Contender, Contender],
    folder: Path,
    *,
    places: Sequence[Path],
    count: int = 4,
    seed: int = 0,
    device: str = "cpu",
) -> Pages:
    """Draw `count` pictures a prompt with both, and write the page for people. ValueError: both are the same."""
    if pair[0] == pair[1]:
        raise ValueError(
            "both models are one checkpoint with the same settings: name two, or two values of --guidance-scale, --steps or"
            " --sampler"
        )
    if count < 1:
        raise ValueError(f"{count} pictures a prompt show nothing: ask for 1 or more")
    for each in pair:
        each.encoder(places)  # found out before an hour of drawing
    prompts = [each.prompt for each in asked]
    drawn = tuple(each.drawn(prompts, count, places, device) for each in pair)
    return write_pages(folder, asked, drawn, tuple(each.told() for each in pair), seed=seed)
