"""How does `imagen train lora` teach a stage a thing from a folder of pictures? Prepared, encoded, fitted, saved."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from tqdm import tqdm

from imagen_core import (
    LoraSettings,
    Prompt,
    Stage,
    draw_class,
    fit_lora,
    load_stage,
    load_text_encoder,
    save_lora,
    typed_prompt,
)

from .caption_files import encoder_for
from .options import default_models_dir
from .own_pictures import collection_of
from .prepared import prepare


@dataclass(frozen=True, kw_only=True)
class ClassToKeep:
    """What the base shall go on to draw as before: prompts, and how many pictures it draws of them first."""

    prompts: tuple[str, ...]
    images: int = 100


def train_lora(
    base: Path,
    pictures: Path,
    out: Path,
    *,
    text_encoder: Path | None = None,
    cache_dir: Path,
    side: int = 64,
    settings: LoraSettings,
    keep: ClassToKeep | None = None,
    device: str = "cpu",
) -> Path:
    """Learn a LoRA for the checkpoint `base` from a collection of pictures with captions; returns `out`.

    text_encoder: a folder; None: the one of the base's width, in the models folder or beside the base. keep: prior
    preservation. ValueError: no pictures, another kind of stage, or a text encoder of another width.
    """
    stage = load_stage(base, device=device)
    encoder = load_text_encoder(text_encoder or _encoder_of(stage, base), device=device)
    shown = prepare(collection_of(pictures), cache_dir, side=side).shown

    def read(captions: Sequence[str]) -> list[Prompt]:
        return [stage.read(typed_prompt(encoder, caption)) for caption in captions]

    prompts, prior = read(shown.captions), None
    if keep is not None:
        with _bar(keep.images, "class picture") as bar:
            given = {"side": side, "seed": settings.seed}
            prior = draw_class(
                stage, read(keep.prompts), keep.images, **given, drawn=lambda done, _: bar.update(done - bar.n)
            )
    with _bar(settings.steps, "step") as bar:

        def report(step: int, total: int, loss: float) -> None:
            bar.set_postfix_str(f"loss {loss:.4f}", refresh=False)
            bar.update(1)

        lora = fit_lora(stage, shown.pictures(range(len(shown))), prompts, settings, report, prior)
    return save_lora(out, lora)


def _encoder_of(stage: Stage, base: Path) -> Path:
    return encoder_for(stage.spec.unet_config.text_embed_dim, (default_models_dir(), base.parent))


def _bar(total: int, unit: str) -> tqdm:
    return tqdm(total=total, unit=unit, mininterval=2.0, disable=None)
