"""Which networks are compared, at equal parameter counts, and what is one guided step of each?

Shapes: b batch, l text tokens, d text width, h w pixels.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import torch
from resident import resident_mib
from torch import nn

TEXT_TOKENS, TEXT_WIDTH = 32, 768  # google/t5-v1_1-base, the peer's default encoder
GUIDANCE_SCALE = 5.0
AUG_LEVEL = 0.2
PARAMETER_TOLERANCE = 0.03


@dataclass(frozen=True, kw_only=True)
class Contender:
    """A network and the two things that are measured: one conditional forward pass, and one guided step.

    imports_mib: resident size before the network was built, after everything that its side imports.
    """

    network: nn.Module
    forward: Callable[[], object]
    guided_step: Callable[[], object]
    imports_mib: float

    @property
    def parameters(self) -> int:
        return sum(parameter.numel() for parameter in self.network.parameters())


def ours(config: object, side: int) -> Contender:
    """One of our networks behind `Denoiser`: the prompt encoded beforehand, prompt and null prompt in one batch.

    A guided step here is all that a sampler asks for: network, conversion to x_0, guidance, dynamic thresholding, eps.
    """
    from imagen_core.conditioning import Signals, TextEmbeds
    from imagen_core.denoiser import Denoiser
    from imagen_core.guidance import GUIDANCE
    from imagen_core.predictor import Predictor
    from imagen_core.schedules import SCHEDULES
    from imagen_core.thresholding import THRESHOLDINGS
    from imagen_core.unets import build_unet

    imports_mib = resident_mib()
    network = build_unet(config).eval().requires_grad_(False)
    enlarges = getattr(config, "low_res_conditioning", False)
    low_res, aug_level = torch.randn(1, 3, side, side), torch.full((1,), AUG_LEVEL)
    picture = Signals(pixels=low_res, aug_level=aug_level) if enlarges else Signals()
    mask = torch.ones(1, TEXT_TOKENS, dtype=torch.bool)
    prompt = TextEmbeds(embeds=torch.randn(1, TEXT_TOKENS, TEXT_WIDTH), mask=mask)
    with torch.no_grad():
        cond, null = (picture + network.encode_text(text) for text in (prompt, TextEmbeds.null(1, TEXT_WIDTH)))
    denoise = Denoiser(
        Predictor(network=network, schedule=SCHEDULES["cosine"](), prediction_type="eps"),
        {"cond": cond, "null": null},
        guidance=GUIDANCE["classifier_free"](scale=GUIDANCE_SCALE),
        thresholding=THRESHOLDINGS["dynamic"](),
    )
    x_t, t = torch.randn(1, 3, side, side), torch.tensor(0.5)
    time = denoise.schedule.network_time(t).float().reshape(1)
    return Contender(
        network=network,
        forward=lambda: network(x_t, time, cond),
        guided_step=lambda: denoise(x_t, t),
        imports_mib=imports_mib,
    )


def peer(preset: str, side: int, *, dim: int, cond_dim: int) -> Contender:
    """One of imagen-pytorch's presets at width `dim`, given its text embeddings ready made.

    A guided step here is `forward_with_cond_scale` alone, plain classifier-free guidance: two passes, each of which
    projects and pools the text anew. Conversion to x_0 and thresholding (`p_mean_variance`) are left out, in its favour.
    """
    from peer_shim import import_peer

    build = getattr(import_peer(), preset)
    imports_mib = resident_mib()
    enlarges = preset.startswith("SR")
    network = build(dim=dim, cond_dim=cond_dim, text_embed_dim=TEXT_WIDTH, lowres_cond=enlarges)
    network = network.eval().requires_grad_(False)
    conditions = {
        "text_embeds": torch.randn(1, TEXT_TOKENS, TEXT_WIDTH),
        "text_mask": torch.ones(1, TEXT_TOKENS, dtype=torch.bool),
    }
    if enlarges:
        conditions |= {"lowres_cond_img": torch.randn(1, 3, side, side), "lowres_noise_times": torch.zeros(1)}
    x_t, log_snr = torch.randn(1, 3, side, side), torch.zeros(1)
    return Contender(
        network=network,
        forward=lambda: network(x_t, log_snr, **conditions),
        guided_step=lambda: network.forward_with_cond_scale(
            x_t, log_snr, cond_scale=GUIDANCE_SCALE, remove_parallel_component=False, **conditions
        ),
        imports_mib=imports_mib,
    )


def _our_base64() -> Contender:
    from imagen_core.unets import BaseUNetConfig

    return ours(BaseUNetConfig(channels=64, text_embed_dim=TEXT_WIDTH), 64)


def _our_sr256() -> Contender:
    """Appendix F.2 at 11/32 of its width; the time embedding is as wide as the peer's."""
    from imagen_core.unets import EfficientUNetConfig

    return ours(EfficientUNetConfig(channels=(44, 88, 176, 352), time_embed_dim=256, text_embed_dim=TEXT_WIDTH), 256)


def _efficient_256() -> Contender:
    from imagen_core.unets import EfficientUNetConfig

    return ours(EfficientUNetConfig(channels=(28, 56, 112, 224), text_embed_dim=TEXT_WIDTH), 256)


def _base_256() -> Contender:
    """The base network's own plan (appendix F.1) for 256 pixels: attention at 32 px, as in the paper's base model."""
    from imagen_core.unets import BaseUNetConfig

    config = BaseUNetConfig(
        image_size=256, channels=52, per_head_channels=52, attention_resolutions=(32,), text_embed_dim=TEXT_WIDTH
    )
    return ours(config, 256)


def _base_256_same_blocks() -> Contender:
    """The base design with the Efficient U-Net's levels (1 2 4 8 times as wide; 2 4 8 8 blocks), attention in the middle."""
    from imagen_core.unets import BaseUNetConfig

    config = BaseUNetConfig(
        image_size=256,
        channels=24,
        channel_mult=(1, 2, 4, 8),
        num_res_blocks=(2, 4, 8, 8),
        per_head_channels=48,
        attention_resolutions=(),
        text_embed_dim=TEXT_WIDTH,
    )
    return ours(config, 256)


# pair -> (the side it is compared to, ours). cond_dim 512 is what the peer's README builds its U-Nets with.
PAIRS: dict[str, tuple[Callable[[], Contender], Callable[[], Contender]]] = {
    "base64": (lambda: peer("BaseUnet64", 64, dim=64, cond_dim=512), _our_base64),
    "sr256": (lambda: peer("SRUnet256", 256, dim=32, cond_dim=512), _our_sr256),
    "efficient-plan": (_base_256, _efficient_256),
    "efficient-blocks": (_base_256_same_blocks, _efficient_256),
}
