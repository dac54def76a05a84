"""Which parts are the U-Nets built from? (ADM's, arXiv 2105.05233; text enters as in Imagen, 2205.11487 appendix F.)

Shapes: b batch, c h w a feature map, e time embedding, l text tokens, d text width.
"""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, ClassVar

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from ..conditioning import Signals, TextEmbeds, Tokens
from ._base import UNet, UNetConfig
from .attention import is_text_attention, zeroed
from .embeddings import ScalarEmbedding, TextPooling
from .group_norm import GroupNorm, group_norm

Modulation = tuple[Tensor | None, Tensor]  # scale, with the 1 of (1 + scale), and shift, each (b c 1 1)


def silu(x: Tensor) -> Tensor:
    """SiLU of a tensor that nobody else holds: in place where no gradient is recorded."""
    return F.silu(x, inplace=not torch.is_grad_enabled())


def gelu(x: Tensor) -> Tensor:
    """Exact (erf) GELU of a tensor that nobody else holds: in place where no gradient is recorded."""
    return F.gelu(x) if torch.is_grad_enabled() else torch.ops.aten.gelu_(x)


ACTIVATIONS: dict[str, Callable[[Tensor], Tensor]] = {"silu": silu, "gelu": gelu}


@dataclass(frozen=True, kw_only=True)
class BlockStyle:
    """What residual blocks of one family differ in; the defaults are this pack's own, `ADMConfig`'s the published."""

    activation: str = "silu"  # a key of ACTIVATIONS
    norm_groups: int | None = None  # of every norm; None: at most 32, of at least four channels
    norm_eps: float = 1e-5  # what every norm adds to the variance before it divides
    scale_shift: bool = True  # the time scales and shifts the second norm (ADM); else it is added before it (DDPM)
    joint: bool = False  # one product modulates all blocks and skips are products too; else each block has its layers
    skip_divisor: float = 1.0  # what the sum of a block and its skip is divided by


OWN = BlockStyle()


def channel_norm(x: Tensor) -> Tensor:
    """Layer norm of (b c h w) over channels, position by position: on a CPU a twentieth of group norm's time."""
    return F.layer_norm(x.permute(0, 2, 3, 1), x.shape[1:2]).permute(0, 3, 1, 2)


def conv3(c_in: int, c_out: int, *, stride: int = 1) -> nn.Conv2d:
    return nn.Conv2d(c_in, c_out, 3, stride=stride, padding=1)


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


def doubled(x: Tensor) -> Tensor:
    """(b c h w) with each position four times: (b c 2h 2w)."""
    return F.interpolate(x, scale_factor=2.0, mode="nearest")


class ResBlock(nn.Module):
    """norm, activation, (resample), conv, norm told the time, activation, conv; plus a skip (BigGAN, ADM)."""

    def __init__(
        self, c_in: int, c_out: int, embed_dim: int, *, resample: str | None = None, style: BlockStyle = OWN
    ) -> None:
        super().__init__()
        assert resample in (None, "up", "down")
        self.resample = resample
        self.style = style
        self.told_channels = 2 * c_out if style.scale_shift else c_out
        self.in_norm = group_norm(c_in, style.norm_groups, style.norm_eps)
        self.in_conv = conv3(c_in, c_out)
        self.scale_shift = None if style.joint else nn.Linear(embed_dim, self.told_channels)
        self.out_norm = group_norm(c_out, style.norm_groups, style.norm_eps)
        self.out_conv = zeroed(conv3(c_out, c_out))
        self.skip: nn.Module = nn.Identity()
        if c_in != c_out:
            self.skip = nn.Linear(c_in, c_out) if style.joint else nn.Conv2d(c_in, c_out, 1)

    def modulation(self, embedding: Tensor) -> Modulation:
        """What this block's own layer makes of the embedding (b e) after its activation."""
        told = self.scale_shift(embedding)[:, :, None, None]  # b told_channels 1 1
        if not self.style.scale_shift:
            return None, told
        scale, shift = told.chunk(2, dim=1)
        return 1 + scale, shift

    def forward(self, x: Tensor, modulation: Modulation) -> Tensor:
        """x (b c_in h w) -> (b c_out h' w')."""
        activation = ACTIVATIONS[self.style.activation]
        h = self.in_conv(self._resampled(activation(self.in_norm(x))))
        h = self.out_conv(activation(self._told(h, *modulation)))
        h = h + self._skipped(self._resampled(x))
        return h if self.style.skip_divisor == 1.0 else h / self.style.skip_divisor

    def _told(self, h: Tensor, scale: Tensor | None, shift: Tensor) -> Tensor:
        if scale is None:
            return self.out_norm(h + shift)
        if isinstance(self.out_norm, GroupNorm):
            return self.out_norm(h, scale, shift)
        return torch.addcmul(shift, self.out_norm(h), scale)

    def _skipped(self, x: Tensor) -> Tensor:
        if not isinstance(self.skip, nn.Linear):
            return self.skip(x)
        # A 1x1 convolution is a product over channels, which lie innermost: no layout change, and a faster kernel.
        return self.skip(x.permute(0, 2, 3, 1)).permute(0, 3, 1, 2)

    def _resampled(self, x: Tensor) -> Tensor:
        if self.resample == "up":
            return doubled(x)
        return F.avg_pool2d(x, 2) if self.resample == "down" else x


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


def embeddings_of(config: UNetConfig, time_width: int, embed_dim: int) -> dict[str, Any]:
    """What a network of this pack's own hands to `PatchedUNet`: how it reads the time, and pools the text."""
    text_dim = config.text_embed_dim
    return {
        "patch_size": config.patch_size,
        "text_dim": text_dim,
        "time_embedding": ScalarEmbedding(time_width, embed_dim),
        "text_pooling": None if text_dim is None else TextPooling(text_dim, embed_dim, config.pooling_queries),
    }


class PatchedUNet(UNet):
    """What the U-Nets share: input packing, embeddings, `encode_text`, padding to a whole number of cells.

    A subclass sets `multiple` (picture pixels one coarsest cell covers), makes its `stem` and implements `_body`.
    """

    multiple: int
    stem: nn.Conv2d
    way_up: ClassVar[tuple[str, ...]] = ("up", "head_norm", "head")
    of_words: ClassVar[tuple[str, ...]] = ("text_pooling",)
    own_text_encoder: ClassVar[str] = (
        "the text encoder that the checkpoint was trained with"  # what a wrong prompt is sent to
    )
    activation = staticmethod(silu)  # of the embedding, before blocks read it

    def __init__(
        self, *, patch_size: int, text_dim: int | None, time_embedding: nn.Module, text_pooling: nn.Module | None
    ) -> None:
        super().__init__()
        self.patch_size = patch_size
        self.text_dim = text_dim
        self.time_embedding = time_embedding
        self.text_pooling = text_pooling

    @abstractmethod
    def _body(self, x: Tensor, embedding: Tensor, told: Signals) -> Tensor:
        """Patches (b c_in*p*p h/p w/p), embedding (b e) -> patches of the output."""

    def encode_text(self, text: TextEmbeds) -> Signals:
        """Everything this network needs of a prompt, once for all steps: keys and values a layer, pooled text.

        text.embeds is (b l d), text.mask (b l) bool. Differentiable. Raises ValueError when the network takes no text,
        or text of another width.
        """
        embeds, mask = self._readable(text)
        # LayerNorm on text "helps considerably" (appendix F); its scale and bias would fold into the projections.
        tokens = self._understood(F.layer_norm(embeds, (self.text_dim,)), mask)
        pooled = None if self.text_pooling is None else self.text_pooling(tokens, mask)
        return Signals(vector=pooled, tokens=self._projected(tokens, mask))

    def _understood(self, tokens: Tensor, mask: Tensor) -> Tensor:
        """What the layers read of a prompt's normed tokens (b l d), mask (b l): those, where a network adds nothing."""
        return tokens

    def _readable(self, text: TextEmbeds) -> tuple[Tensor, Tensor]:
        """The prompt's (b l d) in the network's dtype (ids as they are), its mask (b l); ValueError for none for it."""
        if self.text_dim is None:
            raise ValueError("this network was built without text (text_embed_dim is None): give it no prompt")
        if text.embeds.shape[-1] != self.text_dim:
            raise ValueError(
                f"text embeddings are {text.embeds.shape[-1]} wide, this network reads {self.text_dim}: "
                f"use {self.own_text_encoder}"
            )
        # Everything stays on the text's device: a host short of memory keeps weights elsewhere until they are used.
        embeds = text.embeds if self.config.reads_ids else text.embeds.to(self.stem.weight.dtype)
        return embeds, text.mask.to(embeds.device)

    def _projected(self, tokens: Tensor, mask: Tensor | None) -> Tokens:
        """Keys and values of every layer that reads text; a mask (b l) only where a token is padding."""
        layers = sorted((m for m in self.modules() if is_text_attention(m)), key=lambda m: m.text_index)
        # In a training step the mask is kept without a look, which would wait for the device.
        padded = mask is not None and (torch.is_grad_enabled() or not bool(mask.all()))
        return Tokens(keys_values=tuple(layer.project_text(tokens) for layer in layers), mask=mask if padded else None)

    def _embed(self, time: Tensor, told: Signals) -> Tensor:
        """(b e): the time, and what is told beside it."""
        embedding = self.time_embedding(time)
        if self.text_dim is not None and told.tokens is None:
            raise ValueError(
                "this network is conditioned on text, and was told none: "
                "add encode_text(TextEmbeds.null(...)) for an empty prompt"
            )
        return embedding if told.vector is None else embedding + told.vector.to(embedding.dtype)

    def _low_res(self, x_t: Tensor, told: Signals) -> Tensor:
        """told.pixels (b c h w) in x_t's dtype; ValueError when it is missing or of another size."""
        pixels, joined = told.pixels, ("known", "mask", "low_res", "estimate")
        named = [name for name in self.config.inputs if name in joined]
        if pixels is None and named == ["low_res"]:
            raise ValueError(
                "this super-resolution network needs a low_res picture (Signals.pixels, at the output's size)"
            )
        channels = self.config.pixel_channels
        if pixels is None or pixels.shape[1] != channels:
            raise ValueError(
                f"this network is shown {', '.join(named)} beside x_t, {channels} channels in this order, and was told "
                f"{0 if pixels is None else pixels.shape[1]}: draw with Imagen Base Sample 64 or Imagen Super Resolution"
            )
        if pixels.shape[-2:] != x_t.shape[-2:]:
            sizes = f"{named[-1]} is {tuple(pixels.shape[-2:])}, x_t {tuple(x_t.shape[-2:])}"
            raise ValueError(f"{sizes}: resize {named[-1]} first")
        return pixels.to(x_t.dtype)

    def _aug_level(self, told: Signals) -> Tensor:
        """told.aug_level (b,); ValueError when it is missing."""
        if told.aug_level is None:
            raise ValueError("this super-resolution network needs aug_level, how noisy its low_res picture is")
        return told.aug_level

    def _entering(self, x_t: Tensor, time: Tensor, told: Signals) -> tuple[Tensor, Tensor]:
        """What the stem sees, (b c h w), and the embedding (b e)."""
        return x_t, self._embed(time, told)

    def way_down(self, x_t: Tensor, time: Tensor, told: Signals) -> dict[str, Tensor]:
        x, embedding = self._entering(x_t, time, told)
        return self._points(self._patched(x), self.activation(embedding), told)

    def _points(self, x: Tensor, embedding: Tensor, told: Signals) -> dict[str, Tensor]:
        """`way_down` of patches (b c*p*p h/p w/p), embedding (b e) after its activation."""
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
        x = self._body(self._patched(x), self.activation(embedding), told)
        if self.patch_size > 1:
            x = F.pixel_shuffle(x, self.patch_size)
        return x[:, :, :h, :w] if h % self.multiple or w % self.multiple else x
