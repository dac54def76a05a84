"""A change of this pack's own format, with one layer in factors and a wider stem; its base lies beside it."""

import dataclasses

import torch

from imagen_core import Stage, StageSpec, fingerprint, save_checkpoint
from imagen_core.checkpoints.readers.change import BASE_FILE, FORMAT, FORMAT_VERSION
from imagen_core.checkpoints.readers.native import spec_to_metadata
from imagen_core.fingerprint import KEY
from imagen_core.schedules import schedule_from_config
from imagen_core.unets import UViTConfig, build_unet

CONFIG = UViTConfig(patch_size=4, channels=8, width=16, depth=2, per_head_channels=8, text_embed_dim=8)
RANK = 2


def base():
    spec = StageSpec(stage="base64", unet_config=CONFIG, schedule_config={"name": "cosine"}, prediction_type="x_0")
    torch.manual_seed(5)
    return Stage(unet=build_unet(CONFIG), schedule=schedule_from_config(spec.schedule_config), spec=spec)


def write_beside(folder):
    stage = base()
    save_checkpoint(folder / "base.safetensors", stage.unet, spec=stage.spec)


def shapes():
    stage, wider = base(), dataclasses.replace(CONFIG, repaints=True)
    with torch.device("meta"):
        stem = build_unet(wider).stem.weight
    outputs, inputs = stage.unet.transformer[0].mlp[0].weight.shape
    about = {"format": FORMAT, "format_version": str(FORMAT_VERSION), BASE_FILE: "base.safetensors"}
    spec = dataclasses.replace(stage.spec, unet_config=wider)
    factors = {"change_up.weight": (outputs, RANK), "change_down.weight": (RANK, inputs)}
    return (
        {"stem.weight": tuple(stem.shape)} | {f"transformer.0.mlp.0.{end}": shape for end, shape in factors.items()},
        spec_to_metadata(spec) | about | {KEY: fingerprint(stage).to_json()},
    )
