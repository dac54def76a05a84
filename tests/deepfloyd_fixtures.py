"""What does a published DeepFloyd IF stage look like on disk? Tiny ones, with random weights, made by diffusers itself.

`tiny_unet` builds a stage, `save_folder` writes it as the model folders were published, `original_weights` renames it as
deep-floyd/IF's own files are. Written from the layout's description, not from our key tables, which it tests.
"""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import torch
from diffusers import UNet2DConditionModel
from safetensors.torch import save_file
from torch import Tensor, nn

TEXT_WIDTH = 128
COMMON: dict[str, Any] = {
    "act_fn": "gelu",
    "norm_num_groups": 32,
    "norm_eps": 1e-5,
    "attention_head_dim": 64,
    "out_channels": 6,
    "addition_embed_type": "text",
    "addition_embed_type_num_heads": 64,
    "encoder_hid_dim": TEXT_WIDTH,
    "encoder_hid_dim_type": "text_proj",
    "cross_attention_norm": "group_norm",
    "resnet_time_scale_shift": "scale_shift",
    "mid_block_type": "UNetMidBlock2DSimpleCrossAttn",
}
PLAIN, ATTENDING = "Resnet{}sampleBlock2D", "SimpleCrossAttn{}Block2D"


def config(
    stage: str, *, channels: tuple[int, ...], blocks: int | tuple[int, ...], plain_levels: int
) -> dict[str, Any]:
    """diffusers' settings of a "base64" (I) or "sr256" (II) stage; the finest `plain_levels` do not attend."""
    down = [(PLAIN if level < plain_levels else ATTENDING).format("Down") for level in range(len(channels))]
    settings = COMMON | {
        "block_out_channels": channels,
        "layers_per_block": blocks,
        "cross_attention_dim": channels[-1],
        "down_block_types": tuple(down),
        "up_block_types": tuple(kind.replace("Down", "Up") for kind in reversed(down)),
    }
    if stage == "base64":
        return settings | {"in_channels": 3, "sample_size": 64}
    return settings | {
        "in_channels": 6,
        "sample_size": 256,
        "class_embed_type": "timestep",
        "time_embedding_dim": channels[-1],
        "time_embedding_act_fn": "gelu",
        "resnet_skip_time_act": True,
        "resnet_out_scale_factor": 1.4142271248762552,
        "mid_block_scale_factor": 1.4142271248762552,
    }


TINY = {
    "base64": config("base64", channels=(32, 64, 128, 192), blocks=2, plain_levels=1),
    "sr256": config("sr256", channels=(32, 32, 64, 64, 128), blocks=(1, 1, 2, 1, 2), plain_levels=3),
}
# As published, or as near as the published sizes allow (if-weights.md, 1.1), with the parameters they have.
FULL = {
    "I-M": ("base64", (192, 384, 576, 768), 3, 1, 371_605_830, 775),
    "I-L": ("base64", (320, 640, 960, 1280), 3, 1, 935_365_830, 775),
    "I-XL": ("base64", (704, 1408, 2112, 2816), 3, 1, 4_304_695_110, 775),
    "II-M": ("sr256", (96, 192, 384, 576, 768), (2, 2, 3, 5, 5), 3, 482_483_334, 939),
    "II-L": ("sr256", (160, 320, 640, 960, 1280), (2, 2, 3, 5, 5), 3, 1_243_277_190, 939),
}
SCHEDULER = {
    "_class_name": "DDPMScheduler",
    "beta_schedule": "squaredcos_cap_v2",
    "clip_sample": True,
    "dynamic_thresholding_ratio": 0.95,
    "lambda_min_clipped": -5.1,
    "num_train_timesteps": 1000,
    "prediction_type": "epsilon",
    "thresholding": True,
    "variance_type": "learned_range",
}


def full_config(name: str) -> dict[str, Any]:
    """diffusers' settings of a published size, a key of FULL, with T5-XXL's width."""
    stage, channels, blocks, plain_levels, _, _ = FULL[name]
    settings = config(stage, channels=channels, blocks=blocks, plain_levels=plain_levels)
    return settings | {"encoder_hid_dim": 4096}


def tiny_unet(stage: str, seed: int = 0) -> UNet2DConditionModel:
    """A stage whose every parameter counts: norms and biases are random too."""
    torch.manual_seed(seed)
    unet = UNet2DConditionModel(**TINY[stage]).eval().requires_grad_(False)
    for parameter in unet.parameters():
        if parameter.ndim == 1:
            nn.init.normal_(parameter, parameter.mean().item(), 0.1)
    return unet


def save_folder(
    path: Path, stage: str, unet: UNet2DConditionModel, *, variant: str | None = None, shards: bool = False
) -> Path:
    """Write a pipeline's folder as DeepFloyd's were published: 2023's config.json, scheduler, index of shards."""
    path.mkdir(parents=True, exist_ok=True)
    unet.save_pretrained(path / "unet", variant=variant, max_shard_size="3MB" if shards else "10GB")
    settings = json.loads((path / "unet" / "config.json").read_text())
    for later in ("encoder_hid_dim_type", "attention_type", "reverse_transformer_layers_per_block", "dropout"):
        settings.pop(later, None)
    (path / "unet" / "config.json").write_text(json.dumps(settings, indent=2))
    names = {"base64": "IFPipeline", "sr256": "IFSuperResolutionPipeline"}
    (path / "model_index.json").write_text(json.dumps({"_class_name": names[stage]}))
    scheduler = SCHEDULER | {"sample_max_value": 1.5 if stage == "base64" else 1.0}
    write_json(path / "scheduler" / "scheduler_config.json", scheduler)
    if stage == "sr256":
        noising = {"_class_name": "DDPMScheduler", "beta_schedule": "squaredcos_cap_v2", "num_train_timesteps": 1000}
        write_json(path / "image_noising_scheduler" / "scheduler_config.json", noising)
    return path


def write_json(path: Path, content: dict[str, Any]) -> None:
    path.parent.mkdir(exist_ok=True)
    path.write_text(json.dumps(content, indent=2))


def save_single(path: Path, weights: dict[str, Tensor]) -> Path:
    save_file({key: value.contiguous() for key, value in weights.items()}, path)
    return path


OUTER = {
    "time_embedding.linear_1": "time_embed.0",
    "time_embedding.linear_2": "time_embed.2",
    "class_embedding.linear_1": "aug_proj.0",
    "class_embedding.linear_2": "aug_proj.2",
    "class_embedding": "label_emb",
    "encoder_hid_proj": "encoder_proj",
    "add_embedding.norm1": "encoder_pooling.0",
    "add_embedding.pool.positional_embedding": "encoder_pooling.1.positional_embedding",
    "add_embedding.pool.q_proj": "encoder_pooling.1.q_proj",
    "add_embedding.pool.k_proj": "encoder_pooling.1.k_proj",
    "add_embedding.pool.v_proj": "encoder_pooling.1.v_proj",
    "add_embedding.proj": "encoder_pooling.2",
    "add_embedding.norm2": "encoder_pooling.3",
    "conv_in": "input_blocks.0.0",
    "conv_norm_out": "out.0",
    "conv_out": "out.2",
}
INNER = {
    "norm1": "in_layers.0",
    "conv1": "in_layers.2",
    "time_emb_proj": "emb_layers.1",
    "norm2": "out_layers.0",
    "conv2": "out_layers.3",
    "conv_shortcut": "skip_connection",
    "group_norm": "norm",
    "norm_cross": "norm_encoder",
}


def original_weights(unet: nn.Module, *, head_by_head: bool = True) -> dict[str, Tensor]:
    """The same weights as guided-diffusion, and deep-floyd/IF after it, name and cut them.

    head_by_head: False is guided-diffusion's "new attention order": all queries, all keys, all values.
    """
    weights = dict(unet.state_dict())
    renamed: dict[str, Tensor] = {}
    for theirs, original in OUTER.items():
        for key in [key for key in weights if key == theirs or key.rpartition(".")[0] == theirs]:
            renamed[original + key[len(theirs) :]] = weights.pop(key)
    head = unet.config.attention_head_dim
    number = 0
    places: list[tuple[str, str]] = []
    for b, block in enumerate(unet.down_blocks):
        for kind, modules in (("resnets", block.resnets), ("downsamplers", block.downsamplers or [])):
            for j in range(len(modules)):
                number += 1
                places.append((f"down_blocks.{b}.{kind}.{j}.", f"input_blocks.{number}.0."))
                places.append((f"down_blocks.{b}.attentions.{j}.", f"input_blocks.{number}.1."))
                if kind == "downsamplers":
                    places.pop()
    places += [("mid_block.resnets.0.", "middle_block.0."), ("mid_block.attentions.0.", "middle_block.1.")]
    places += [("mid_block.resnets.1.", "middle_block.2.")]
    number = 0
    for b, block in enumerate(unet.up_blocks):
        attends = hasattr(block, "attentions")
        for j in range(len(block.resnets)):
            places.append((f"up_blocks.{b}.resnets.{j}.", f"output_blocks.{number}.0."))
            places.append((f"up_blocks.{b}.attentions.{j}.", f"output_blocks.{number}.1."))
            number += 1
        places.append((f"up_blocks.{b}.upsamplers.0.", f"output_blocks.{number - 1}.{2 if attends else 1}."))
    for theirs, original in places:
        inside = {key[len(theirs) :]: weights.pop(key) for key in list(weights) if key.startswith(theirs)}
        for kind in ("weight", "bias") if "to_q.weight" in inside else ():
            for name, parts in {"qkv": ("to_q", "to_k", "to_v"), "encoder_kv": ("add_k_proj", "add_v_proj")}.items():
                tensors = [inside.pop(f"{part}.{kind}") for part in parts if f"{part}.{kind}" in inside]
                if not tensors:  # no text
                    continue
                heads = [tensor.split(head if head_by_head else len(tensor)) for tensor in tensors]
                rows = torch.cat([part[h] for h in range(len(heads[0])) for part in heads])
                inside[f"{name}.{kind}"] = rows[..., None] if kind == "weight" else rows
            out = inside.pop(f"to_out.0.{kind}")
            inside[f"proj_out.{kind}"] = out[..., None] if kind == "weight" else out
        for key, tensor in inside.items():
            name, _, kind = key.rpartition(".")
            renamed[f"{original}{INNER.get(name, name)}.{kind}"] = tensor
    assert not weights, sorted(weights)
    return renamed


def config_yml(stage: str) -> str:
    """The original's settings file."""
    settings = TINY[stage]
    widths = settings["block_out_channels"]
    lines = {
        "image_size": settings["sample_size"],
        "model_channels": widths[0],
        "channel_mult": '"' + ",".join(str(width // widths[0]) for width in widths) + '"',
        "num_head_channels": settings["attention_head_dim"],
        "encoder_dim": settings["encoder_hid_dim"],
        "encoder_channels": settings["cross_attention_dim"],
        "att_pool_heads": settings["addition_embed_type_num_heads"],
        "activation": "gelu",
        "precision": "16",
    }
    if stage == "sr256":
        lines |= {"efficient_activation": "true", "scale_skip_connection": "true"}
    return "".join(f"{key}: {value}\n" for key, value in lines.items())


def text_states(batch: int = 2, seed: int = 5) -> Tensor:
    """What T5 would say of `batch` prompts: (b 77 TEXT_WIDTH)."""
    return torch.randn(batch, 77, TEXT_WIDTH, generator=torch.Generator().manual_seed(seed))
