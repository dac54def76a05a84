"""Which network draws in DALL-E 2 what a picture's embedding says? Karlo's decoder (unCLIP, arXiv 2204.06125, section 2.1).

ADM's U-Net, which reads CLIP's text as 77 tokens and a vector, and CLIP's embedding of a picture as a vector and four tokens
more; padding is hidden.

Shapes: b batch, l text tokens, d width of the text encoder, k width of the text inside, e CLIP's common space.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, ClassVar

import torch
from einops import rearrange
from torch import Tensor, nn

from ..conditioning import Signals, TextEmbeds
from ._base import UNetConfig
from .adm import ADM, ADMConfig


@dataclass(frozen=True, kw_only=True)
class KarloDecoderConfig(UNetConfig):
    """Settings of `KarloDecoder`; the defaults are Karlo v1.0.alpha's. One entry a level, finest first."""

    tiny: ClassVar[dict[str, Any]] = {
        "channels": (32, 64),
        "num_res_blocks": (1, 1),
        "attention": (False, True),
        "per_head_channels": 32,
        "text_width": 24,
    }
    out_channels: int = 6  # a learned variance with it
    text_embed_dim: int | None = 768  # width of the text encoder, CLIP L/14
    channels: tuple[int, ...] = (320, 640, 960, 1280)  # width of each level
    num_res_blocks: tuple[int, ...] = (3, 3, 3, 3)  # on the way down; the way up has one more
    attention: tuple[bool, ...] = (False, True, True, True)  # after every block; the middle always attends
    per_head_channels: int = 64  # width of a head
    text_width: int = 1536  # of the text inside the network
    text_tokens: int = 77  # of a prompt, no more and no fewer
    image_embed_dim: int = 768  # of CLIP's common space, in which pictures and pooled texts lie
    image_tokens: int = 4  # what a picture's embedding becomes besides a vector

    def __post_init__(self) -> None:
        if self.text_embed_dim is None or self.patch_size != 1 or min(self.image_embed_dim, self.image_tokens) < 1:
            raise ValueError("Karlo's decoder reads text (text_embed_dim) and an image's embedding, with patch_size 1")
        _ = self.adm  # which checks the others

    @property
    def adm(self) -> ADMConfig:
        """What these settings mean in ADM's network."""
        return ADMConfig.of(self, text_norm=None, text_pooling=None)

    @property
    def inputs(self) -> tuple[str, ...]:
        return (*self.adm.inputs, "image_embed")


class KarloDecoder(ADM):
    """network(x_t, timestep, told): noisy picture (b c h w), timestep (b,) in 0..999 -> (b 2c h w).

    It is told `encode_image(...) + encode_text(...)`, both of them.
    """

    name: ClassVar[str] = "karlo_decoder"
    config_cls: ClassVar[type[UNetConfig]] = KarloDecoderConfig
    own_text_encoder: ClassVar[str] = "CLIP ViT-L/14, with which Karlo was trained: the text_encoder of its folder"

    def __init__(self, config: KarloDecoderConfig) -> None:
        super().__init__(config)
        embed_dim, image_dim, width = self.flags.embed_dim, config.image_embed_dim, config.text_width
        self.text_projection_norm = nn.LayerNorm(width)
        self.text_vector = nn.Linear(image_dim, embed_dim)
        self.image_vector = nn.Linear(image_dim, embed_dim)
        self.image_tokens = nn.Linear(image_dim, config.image_tokens * width)
        self.null_image = nn.Parameter(torch.zeros(image_dim))

    def encode_text(self, text: TextEmbeds) -> Signals:
        """What the network is told of a prompt: its tokens (b l d), and text.pooled (b e).

        Raises ValueError for text of another width or length, or without `pooled`.
        """
        embeds, mask = self._readable(text)
        inside = self.text_projection_norm(self.text_projection(embeds))  # b l k
        return Signals(vector=self.text_vector(self._pooled(text)), tokens=self._projected(inside, mask))

    def _pooled(self, text: TextEmbeds) -> Tensor:
        if text.pooled is None or text.pooled.shape[-1] != self.config.image_embed_dim:
            found = "is not there" if text.pooled is None else f"is {text.pooled.shape[-1]} wide"
            raise ValueError(
                f"this network reads a prompt's vector in CLIP's common space, {self.config.image_embed_dim} wide, which "
                f"{found}: use {self.own_text_encoder}, with its projection"
            )
        return text.pooled.to(self.stem.weight.dtype)

    def encode_image(self, embeds: Tensor | None, batch: int = 1) -> Signals:
        """What it is told of pictures' embeddings (b e), as CLIP's projection gives them: not normalised.

        None: of no picture, which it has learned too and guidance steers away from, `batch` times. Raises ValueError for
        embeddings of another width.
        """
        if embeds is None:
            embeds = self.null_image.expand(batch, -1)
        if embeds.shape[-1] != self.config.image_embed_dim:
            raise ValueError(
                f"the image embedding is {embeds.shape[-1]} wide, and this decoder reads {self.config.image_embed_dim}: "
                "make it with the CLIP, or the prior, that belongs to this checkpoint"
            )
        embeds = embeds.to(self.stem.weight.dtype)
        # The tokens lie innermost, as published.
        tokens = rearrange(self.image_tokens(embeds), "b (k l) -> b l k", l=self.config.image_tokens)
        return Signals(vector=self.image_vector(embeds), tokens=self._projected(tokens, None))
