"""How does `imagen train lora` teach a stage a thing from a folder of pictures? Prepared, encoded, fitted, saved."""

from __future__ import annotations

from pathlib import Path

from tqdm import tqdm

from imagen_core import LoraSettings, fit_lora, load_stage, load_text_encoder, save_lora, typed_prompt

from .own_pictures import collection_of
from .prepared import prepare


def train_lora(
    base: Path,
    pictures: Path,
    out: Path,
    *,
    text_encoder: Path,
    cache_dir: Path,
    side: int = 64,
    settings: LoraSettings,
    device: str = "cpu",
) -> Path:
    """Learn a LoRA for the checkpoint `base` from a collection of pictures with captions; returns `out`.

    ValueError: no pictures, another kind of stage, or a text encoder of another width.
    """
    stage = load_stage(base, device=device)
    encoder = load_text_encoder(text_encoder, device=device)
    shown = prepare(collection_of(pictures), cache_dir, side=side).shown
    prompts = [stage.read(typed_prompt(encoder, caption)) for caption in shown.captions]
    with tqdm(total=settings.steps, unit="step", mininterval=2.0, disable=None) as bar:

        def report(step: int, total: int, loss: float) -> None:
            bar.set_postfix_str(f"loss {loss:.4f}", refresh=False)
            bar.update(1)

        lora = fit_lora(stage, shown.pictures(range(len(shown))), prompts, settings, report)
    return save_lora(out, lora)
