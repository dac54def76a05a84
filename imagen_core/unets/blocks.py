"""Which parts are both U-Nets built from? (ADM's, arXiv 2105.05233; text enters as in Imagen, 2205.11487 appendix F.)

Shapes: b batch, c h w a feature map, e time embedding, l text tokens, d text width, n attention heads, k head width,
m keys (h*w picture positions, after the l text tokens if there are any).
"""

from __future__ import annotations

import math
from abc import abstractmethod
from typing import ClassVar

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from ..conditioning import Signals, TextEmbeds, Tokens
from ._base import UNet
from .attention import attend, is_text_attention, split_heads


def zeroed(module: nn.Module) -> nn.Module:
    """The module with all parameters at zero, so that its branch starts as the identity."""
    for parameter in module.parameters():
        nn.init.zeros_(parameter)
    return module


def norm_groups(channels: int) -> int:
    """Largest divisor of `channels` up to 32 that leaves at least four channels a group (or one group)."""
    return next(g for g in range(min(32, max(1, channels // 4)), 0, -1) if channels % g == 0)


def silu(x: Tensor) -> Tensor:
    """SiLU of a tensor that nobody else holds: in place where no gradient is recorded."""
    return F.silu(x, inplace=not torch.is_grad_enabled())


def group_norm(channels: int) -> nn.GroupNorm:
    return nn.GroupNorm(norm_groups(channels), channels)


def channel_norm(x: Tensor) -> Tensor:
    """Layer norm of (b c h w) over channels, position by position: on a CPU a twentieth of group norm's time."""
    return F.layer_norm(x.permute(0, 2, 3, 1), x.shape[1:2]).permute(0, 3, 1, 2)


def conv3(c_in: int, c_out: int, *, stride: int = 1) -> nn.Conv2d:
    return nn.Conv2d(c_in, c_out, 3, stride=stride, padding=1)


def sinusoid(time: Tensor, width: int, *, max_period: float = 10_000.0) -> Tensor:
    """Sinusoidal embedding of `time` (b,) in 0..1000 as (b, width), in float32: half precision blurs 999 and 1000."""
    half = width // 2
    steps = torch.arange(half, device=time.device, dtype=torch.float32)
    angles = time.float()[:, None] * torch.exp(steps * (-math.log(max_period) / half))  # b width/2
    embedding = torch.cat([angles.cos(), angles.sin()], dim=1)  # b width
    return F.pad(embedding, (0, width - 2 * half))


class ScalarEmbedding(nn.Module):
    """A scalar (b,) in 0..1000 -> (b, e): sinusoid in float32, then a two-layer MLP."""

    def __init__(self, width: int, embed_dim: int) -> None:
        super().__init__()
        self.width = width
        self.in_layer = nn.Linear(width, embed_dim)
        self.out_layer = nn.Linear(embed_dim, embed_dim)

    def forward(self, value: Tensor) -> Tensor:
        embedding = sinusoid(value, self.width).to(self.in_layer.weight.dtype)
        return self.out_layer(F.silu(self.in_layer(embedding)))


class TextPooling(nn.Module):
    """Attention pooling: `queries` learned queries read the tokens and are projected to one (b, e) vector.

    One query is the paper's pooling; several ("slots") let a small network read several facts at once.
    """

    def __init__(self, text_dim: int, embed_dim: int, queries: int) -> None:
        super().__init__()
        width = min(text_dim, embed_dim)
        self.heads = width // 64 if width % 64 == 0 else 1
        self.queries = nn.Parameter(torch.randn(queries, width))
        self.keys_values = nn.Linear(text_dim, 2 * width)
        self.norm = nn.LayerNorm(queries * width)
        self.in_layer = nn.Linear(queries * width, embed_dim)
        self.out_layer = nn.Linear(embed_dim, embed_dim)

    def forward(self, tokens: Tensor, mask: Tensor) -> Tensor:
        """tokens (b l d), already layer-normed; mask (b l) bool -> (b e)."""
        batch = tokens.shape[0]
        keys, values = split_heads(self.keys_values(tokens), 2, self.heads)  # b n l k
        queries = self.queries.to(keys.dtype).unflatten(1, (self.heads, -1)).transpose(0, 1)  # n queries k
        pooled = F.scaled_dot_product_attention(
            queries.expand(batch, -1, -1, -1), keys, values, attn_mask=mask[:, None, None, :]
        )
        pooled = pooled.transpose(1, 2).reshape(batch, -1)  # b queries*width
        return self.out_layer(F.silu(self.in_layer(self.norm(pooled))))


def keep_skip(x: Tensor, skips: list[Tensor], told: Signals) -> Tensor:
    """x (b c h w) as it goes on down, another skip of it kept: the N-th, the stem's the 0-th.

    The feature "down.N" is added to both (T2I-Adapter), "skip.N" to the skip alone (ControlNet).
    """
    x = told.added(f"down.{len(skips)}", x)
    skips.append(told.added(f"skip.{len(skips)}", x))
    return x


def points_of(skips: list[Tensor], middle: Tensor) -> dict[str, Tensor]:
    """The end of a way down by the names of its points: each skip, and what goes on through the middle."""
    return {**{f"skip.{index}": skip for index, skip in enumerate(skips)}, "middle": middle}


class Attention(nn.Module):
    """Attention of picture positions over themselves, over text, or over both joined (Imagen's base model).

    Joined: text keys/values are concatenated before self-attention's own. Text keys/values come ready in
    `Signals.tokens`, made once per prompt by `project_text`.
    """

    def __init__(
        self, channels: int, *, heads: int, inner: int, text_dim: int | None, text_index: int = -1, to_self: bool = True
    ) -> None:
        super().__init__()
        self.heads = heads
        self.to_self = to_self
        self.text_index = text_index if text_dim is not None else -1
        self.norm = group_norm(channels)
        self.query = nn.Linear(channels, (3 if to_self else 1) * inner)  # queries, keys and values in one product
        self.text_keys_values = nn.Linear(text_dim, 2 * inner) if text_dim is not None else None
        self.out = zeroed(nn.Linear(inner, channels))

    def project_text(self, tokens: Tensor) -> tuple[Tensor, Tensor]:
        """tokens (b l d), already layer-normed -> keys and values, each (b n l k)."""
        keys, values = split_heads(self.text_keys_values(tokens), 2, self.heads)
        return keys, values

    def forward(self, x: Tensor, told: Signals) -> Tensor:
        b, c, h, w = x.shape
        # With channels_last memory this is a view, no copy.
        tokens = self.norm(x).permute(0, 2, 3, 1).reshape(b, h * w, c)
        queries, *own = split_heads(self.query(tokens), 3 if self.to_self else 1, self.heads)  # b n h*w k
        read = self.out(attend(queries, own, told, self.text_index))  # b h*w c
        return x + read.view(b, h, w, c).permute(0, 3, 1, 2)


class ResBlock(nn.Module):
    """norm, silu, (resample), conv, scale-shift norm by the embedding, silu, conv; plus a skip (BigGAN, ADM)."""

    def __init__(self, c_in: int, c_out: int, embed_dim: int, *, resample: str | None = None) -> None:
        super().__init__()
        assert resample in (None, "up", "down")
        self.resample = resample
        self.in_norm = group_norm(c_in)
        self.in_conv = conv3(c_in, c_out)
        self.scale_shift = nn.Linear(embed_dim, 2 * c_out)
        self.out_norm = group_norm(c_out)
        self.out_conv = zeroed(conv3(c_out, c_out))
        self.skip = nn.Conv2d(c_in, c_out, 1) if c_in != c_out else nn.Identity()

    def _resampled(self, x: Tensor) -> Tensor:
        if self.resample == "up":
            return F.interpolate(x, scale_factor=2.0, mode="nearest")
        return F.avg_pool2d(x, 2) if self.resample == "down" else x

    def forward(self, x: Tensor, embedding: Tensor) -> Tensor:
        """x (b c_in h w), embedding (b e) after its silu -> (b c_out h' w')."""
        scale, shift = self.scale_shift(embedding)[:, :, None, None].chunk(2, dim=1)  # b c_out 1 1
        h = self.in_conv(self._resampled(silu(self.in_norm(x))))
        h = torch.addcmul(shift, self.out_norm(h), 1 + scale)
        return self.skip(self._resampled(x)) + self.out_conv(silu(h))


class ConvBlock(nn.Module):
    """norm, conv, norm scaled and shifted by the embedding, silu, conv; plus a skip. Norms are over channels."""

    def __init__(self, c_in: int, c_out: int, embed_dim: int) -> None:
        super().__init__()
        self.in_conv = conv3(c_in, c_out)
        self.scale_shift = nn.Linear(embed_dim, 2 * c_out)
        self.out_conv = zeroed(conv3(c_out, c_out))
        self.skip = nn.Conv2d(c_in, c_out, 1) if c_in != c_out else nn.Identity()

    def forward(self, x: Tensor, embedding: Tensor) -> Tensor:
        """x (b c_in h w), embedding (b e) after its silu -> (b c_out h w)."""
        scale, shift = self.scale_shift(embedding)[:, :, None, None].chunk(2, dim=1)  # b c_out 1 1
        h = torch.addcmul(shift, channel_norm(self.in_conv(channel_norm(x))), 1 + scale)
        return self.skip(x) + self.out_conv(silu(h))


class PatchedUNet(UNet):
    """What both U-Nets share: input packing, embeddings, `encode_text`, padding to a whole number of cells.

    A subclass sets `multiple` (picture pixels one coarsest cell covers) and implements `_body`.
    """

    multiple: int
    way_up: ClassVar[tuple[str, ...]] = ("up", "head_norm", "head")

    def __init__(
        self, *, patch_size: int, time_width: int, embed_dim: int, text_dim: int | None, pooling_queries: int
    ) -> None:
        super().__init__()
        self.patch_size = patch_size
        self.text_dim = text_dim
        self.time_embedding = ScalarEmbedding(time_width, embed_dim)
        self.text_pooling = None if text_dim is None else TextPooling(text_dim, embed_dim, pooling_queries)

    @abstractmethod
    def _body(self, x: Tensor, embedding: Tensor, told: Signals) -> Tensor:
        """Patches (b c_in*p*p h/p w/p), embedding (b e) -> patches of the output."""

    def encode_text(self, text: TextEmbeds) -> Signals:
        """Everything this network needs of a prompt, once for all steps: keys and values a layer, pooled text.

        text.embeds is (b l d), text.mask (b l) bool. Differentiable. Raises ValueError when the network takes no text,
        or text of another width.
        """
        if self.text_dim is None:
            raise ValueError("This network was built without text (text_embed_dim is None); give it no prompt.")
        if text.embeds.shape[-1] != self.text_dim:
            raise ValueError(
                f"Text embeddings are {text.embeds.shape[-1]} wide, this network reads {self.text_dim}; "
                "use the text encoder that the checkpoint was trained with."
            )
        # LayerNorm on text "helps considerably" (appendix F); its scale and bias would fold into the projections.
        # Everything stays on the text's device: a host short of memory keeps weights elsewhere until they are used.
        dtype = self.text_pooling.keys_values.weight.dtype
        tokens = F.layer_norm(text.embeds.to(dtype), (self.text_dim,))
        mask = text.mask.to(tokens.device)
        layers = sorted((m for m in self.modules() if is_text_attention(m)), key=lambda m: m.text_index)
        padded = torch.is_grad_enabled() or not bool(mask.all())  # no device sync in a training step
        return Signals(
            vector=self.text_pooling(tokens, mask),
            tokens=Tokens(
                keys_values=tuple(layer.project_text(tokens) for layer in layers), mask=mask if padded else None
            ),
        )

    def _embed(self, time: Tensor, told: Signals) -> Tensor:
        """(b e): the time, and what is told beside it."""
        embedding = self.time_embedding(time)
        if self.text_dim is not None and told.tokens is None:
            raise ValueError(
                "this network is conditioned on text, and was told none: "
                "add encode_text(TextEmbeds.null(...)) for an empty prompt"
            )
        return embedding if told.vector is None else embedding + told.vector.to(embedding.dtype)

    def _entering(self, x_t: Tensor, time: Tensor, told: Signals) -> tuple[Tensor, Tensor]:
        """What the stem sees, (b c h w), and the embedding (b e)."""
        return x_t, self._embed(time, told)

    def way_down(self, x_t: Tensor, time: Tensor, told: Signals) -> dict[str, Tensor]:
        x, embedding = self._entering(x_t, time, told)
        return self._points(self._patched(x), F.silu(embedding), told)

    def _points(self, x: Tensor, embedding: Tensor, told: Signals) -> dict[str, Tensor]:
        """`way_down` of patches (b c*p*p h/p w/p), embedding (b e) after its silu."""
        raise ValueError(f"a {self.name} network has no way down for a ControlNet to copy")

    def _patched(self, x: Tensor) -> Tensor:
        """(b c h w), padded to whole cells by repeating the border, as patches (b c*p*p h/p w/p)."""
        h, w = x.shape[-2:]
        pad_h, pad_w = -h % self.multiple, -w % self.multiple
        if pad_h or pad_w:
            x = F.pad(x, (0, pad_w, 0, pad_h), mode="replicate")
        return F.pixel_unshuffle(x, self.patch_size) if self.patch_size > 1 else x

    def _run_patched(self, x: Tensor, embedding: Tensor, told: Signals) -> Tensor:
        """The body run on patches of x (b c h w), and what was padded cropped off."""
        h, w = x.shape[-2:]
        x = self._body(self._patched(x), F.silu(embedding), told)
        if self.patch_size > 1:
            x = F.pixel_shuffle(x, self.patch_size)
        return x[:, :, :h, :w] if h % self.multiple or w % self.multiple else x
