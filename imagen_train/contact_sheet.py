"""What do unpicked pictures look like through the whole cascade? Contact sheets for the model card, from fixed seeds.

Shapes: b pictures, 3 channels, h w pixels.
"""

from __future__ import annotations

from pathlib import Path

import torch
from torch import Tensor
from tqdm import tqdm

from imagen_core.sampling import super_resolve
from imagen_core.stage import Stage, load_stage
from imagen_core.text.loading import load_text_encoder
from imagen_core.whole_files import whole

from .data import KINDS, drawings_folder
from .evaluate import EVALUATION_SEED, SamplingSettings, draw_base
from .sheets import grid, write_captions
from .stickers.nearest import asked_scenes
from .stickers.pictures import open_library
from .stickers.redraw import ENCODER

COLUMNS, WHOLE = 8, 8  # pictures in a row; how many are shown at 1024 px


def enlarge_one(stage: Stage, picture: Tensor, seed: int) -> Tensor:
    """(1 3 h w) -> (1 3 4h 4w) with the checkpoint's own settings."""
    settings = SamplingSettings().of(stage)
    return super_resolve(
        stage,
        picture,
        None,
        settings.draw([seed]),
        aug_level=settings.aug_level,
    )


def write_contact_sheets(
    models_dir: Path, folder: Path, *, count: int = 64, columns: int = COLUMNS, quality: int = 85, device: str = "cpu"
) -> list[Path]:
    """Draw `count` captions in colours that training never showed on their things, the i-th from seed i, none left out.

    Writes sheet_256.webp, sheet_1024.webp (the first eight, whole) and captions.txt. FileNotFoundError where no drawings
    were rendered, of which captions are made.
    """
    base, sr256, sr1024 = (
        load_stage(models_dir / f"{file}.safetensors", expected_stage=stage, device=device)
        for file, stage in (("things64", "base64"), ("sr256", "sr256"), ("sr1024", "sr1024"))
    )
    encoder = load_text_encoder(models_dir / ENCODER, device=device)
    seed, tier = EVALUATION_SEED + 3, KINDS["things64_wide"].tier
    captions = asked_scenes(open_library(drawings_folder()), count, seed, tier=tier, held_out=True).texts
    small = draw_base(base, encoder, captions, SamplingSettings().of(base))
    middle, large = [], []
    for seed in tqdm(range(count), desc="enlarging", disable=None):
        middle.append(enlarge_one(sr256, small[seed : seed + 1], seed))
        if seed < WHOLE:
            large.append(enlarge_one(sr1024, middle[-1], seed))
    sheets = {
        "sheet_256.webp": grid(torch.cat(middle), columns=columns),
        "sheet_1024.webp": grid(torch.cat(large), columns=columns // 2),
    }
    folder.mkdir(parents=True, exist_ok=True)
    write_captions(folder / "captions.txt", captions)
    return [_write_webp(folder / name, picture, quality) for name, picture in sheets.items()]


def _write_webp(path: Path, picture: Tensor, quality: int) -> Path:
    """(3 h w) in [-1, 1] as a WebP, two thirds of a JPEG of that quality."""
    from PIL import Image

    pixels = ((picture.clamp(-1, 1) + 1) * 127.5).round().byte().permute(1, 2, 0).numpy()
    with whole(path) as draft:
        Image.fromarray(pixels).save(draft, format="WEBP", quality=quality, method=6)
    return path
