"""Tiny stages for the tests of sampling nodes: real networks, with weights that let every input show."""

import importlib

import torch
from pack import CORE

unets = importlib.import_module(f"{CORE.__name__}.unets")
TEXT_DIM = 16


def tiny_stage(kind, schedule="cosine"):
    """A stage of `kind` (base64, or a super-resolution stage without text) with random weights."""
    torch.manual_seed(0)
    if kind == "base64":
        config = unets.BaseUNetConfig(
            image_size=16,
            channels=16,
            channel_mult=(1, 2),
            num_res_blocks=1,
            attention_resolutions=(8,),
            per_head_channels=8,
            text_embed_dim=TEXT_DIM,
        )
    else:
        config = unets.EfficientUNetConfig(
            channels=(16, 16),
            num_res_blocks=(1, 1),
            self_attention=(False, False),
            text_cross_attention=(False, False),
            strides=(1, 2),
            num_heads=1,
            text_embed_dim=None,
            low_res_conditioning=True,
        )
    unet = CORE.build_unet(config).eval().requires_grad_(False)
    for parameter in unet.parameters():  # the output layer starts at zero, and zero would hide every fault
        torch.nn.init.normal_(parameter, std=0.05)
    settings = {"name": schedule}
    spec = CORE.StageSpec(stage=kind, unet_config=config, schedule_config=settings, prediction_type="x_0")
    return CORE.Stage(unet=unet, schedule=CORE.SCHEDULES[schedule](), spec=spec)


def tiny_prompt():
    """A prompt of five tokens."""
    torch.manual_seed(1)
    embeds = torch.randn(1, 5, TEXT_DIM)
    return CORE.Prompt(text=CORE.TextEmbeds(embeds=embeds, mask=torch.ones(1, 5, dtype=torch.bool)))
