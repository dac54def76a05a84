"""What do unpicked pictures look like at every stage? Contact sheets for the model card, from fixed captions and seeds.

Shapes: b pictures, 3 channels, h w pixels.
"""

from __future__ import annotations

from pathlib import Path

import torch
from torch import Tensor
from torch.nn import functional as F
from tqdm import tqdm

from imagen_core.sampling import super_resolve
from imagen_core.stage import Stage, load_stage
from imagen_core.text.loading import load_text_encoder
from imagen_core.whole_files import whole

from .evaluate import EVALUATION_SEED, SamplingSettings, draw_base
from .scenes import sample_scenes
from .sheets import grid, write_captions
from .text_encoder import FOLDER

COLUMNS, TILE = 8, 256


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
    """Draw `count` captions as training words them, the i-th from seed i, none left out, and enlarge every picture.

    Writes sheet_64.jpg (pixels doubled), sheet_256.jpg, sheet_1024.jpg (the middle 256 px of each, pixel for pixel),
    sheet_1024_whole.jpg (the first picture) and captions.txt.
    """
    base, sr256, sr1024 = (
        load_stage(models_dir / f"{name}.safetensors", expected_stage=name, device=device)
        for name in ("base64", "sr256", "sr1024")
    )
    encoder = load_text_encoder(models_dir / FOLDER, device=device)
    captions = sample_scenes(count, seed=EVALUATION_SEED + 3).captions
    small = draw_base(base, encoder, captions, SamplingSettings().of(base))
    middle, cuts, first = [], [], None
    for seed in tqdm(range(count), desc="enlarging", disable=None):
        middle.append(enlarge_one(sr256, small[seed : seed + 1], seed))
        large = enlarge_one(sr1024, middle[-1], seed)
        first = large if first is None else first
        edge = (large.shape[-1] - TILE) // 2
        cuts.append(F.pad(large, (-edge,) * 4) if edge > 0 else large)
    sheets = {
        "sheet_64.jpg": grid(small, columns=columns, scale=2),
        "sheet_256.jpg": grid(torch.cat(middle), columns=columns),
        "sheet_1024.jpg": grid(torch.cat(cuts), columns=columns),
        "sheet_1024_whole.jpg": first[0],
    }
    folder.mkdir(parents=True, exist_ok=True)
    write_captions(folder / "captions.txt", captions)
    return [_write_jpeg(folder / name, picture, quality) for name, picture in sheets.items()]


def _write_jpeg(path: Path, picture: Tensor, quality: int) -> Path:
    """(3 h w) in [-1, 1] as a JPEG."""
    from PIL import Image

    pixels = ((picture.clamp(-1, 1) + 1) * 127.5).round().byte().permute(1, 2, 0).numpy()
    with whole(path) as draft:
        Image.fromarray(pixels).save(draft, format="JPEG", quality=quality, optimize=True)
    return path
