"""What do DiT and JiT share? Patches of a picture as a transformer's tokens, told time and class by its norms.

ViT's patches (arXiv 2010.11929) under adaLN-Zero (DiT, arXiv 2212.09748, section 3.2).

Shapes: b batch, c h w a picture or latents, m positions (patches, row by row), d width of the transformer, n attention
heads, k head width.
"""

from __future__ import annotations

import math
from abc import abstractmethod
from dataclasses import dataclass
from functools import lru_cache
from typing import Any, ClassVar

import torch
from einops import rearrange
from torch import Tensor, nn
from torch.nn import functional as F

from ..conditioning import Signals, TextEmbeds
from ._base import UNet, UNetConfig
from .attention import attend, split_heads, zeroed
from .embeddings import ScalarEmbedding

TIME_WIDTH = 256  # of the time's sinusoid, in every published size


@dataclass(frozen=True, kw_only=True)
class PatchTransformerConfig(UNetConfig):
    """Settings of DiT and JiT; those of every network are explained at `UNetConfig`."""

    null_class: ClassVar[bool] = True
    text_embed_dim: int | None = None  # it reads no text
    side: int = 256  # of the pictures (of latents: the latents) that the network was trained on
    patch_size: int = 16  # pixels a side of what becomes one token
    width: int = 768  # of a token inside
    depth: int = 12  # blocks
    heads: int = 12  # of attention, each width / heads wide
    mlp_width: int = 3072  # hidden width of each block's MLP
    num_classes: int = 1000  # of labels; one more stands for none

    def __post_init__(self) -> None:
        if self.text_embed_dim is not None:
            raise ValueError(
                f"text_embed_dim is {self.text_embed_dim}, and a patch transformer reads no text: leave it None"
            )
        if self.heads < 1 or self.width % (4 * self.heads):
            raise ValueError(f"width {self.width} is no multiple of 4 times heads={self.heads}: change either")
        if self.patch_size < 1 or self.side % self.patch_size:
            raise ValueError(f"side {self.side} is no multiple of patch_size={self.patch_size}: change either")

    @property
    def inputs(self) -> tuple[str, ...]:
        return ("class",)

    @property
    def grid(self) -> int:
        """Positions a side of the pictures that it was trained on."""
        return self.side // self.patch_size


class PatchTransformer(UNet):
    """network(x_t, time, told), told a class by `encode_class`; a subclass makes patches, blocks and the head."""

    def __init__(self, config: PatchTransformerConfig) -> None:
        super().__init__()
        self.config = config
        self.time_embedding = ScalarEmbedding(TIME_WIDTH, config.width)
        self.class_embedding = nn.Embedding(config.num_classes + 1, config.width)  # the last is no class

    def encode_text(self, text: TextEmbeds) -> Signals:
        raise ValueError("this network was built without text: it draws classes, by their number; give it no prompt")

    def encode_class(self, labels: Tensor | None = None) -> Signals:
        """What the network is told of which class to draw; labels (b,) integers in 0..num_classes-1; None: of none (b = 1).

        Raises ValueError for a label that is no class.
        """
        classes = self.config.num_classes
        wrong = [] if labels is None else [label for label in labels.tolist() if not 0 <= label < classes]
        if wrong:
            raise ValueError(f"label {wrong[0]} is no class of this network: it has {classes}, 0 to {classes - 1}")
        rows = torch.tensor([classes]) if labels is None else labels
        return Signals(vector=self.class_embedding(rows.to(self.class_embedding.weight.device)))

    def forward(self, x_t: Tensor, time: Tensor, told: Signals) -> Tensor:
        """x_t (b in_channels h w) in the network's dtype, any h and w; time (b,); returns (b out_channels h w)."""
        if told.vector is None:
            raise ValueError(
                "this network is conditioned on a class, and was told none: add encode_class() for no class"
            )
        h, w = x_t.shape[-2:]
        patch = self.config.patch_size
        x = F.pad(x_t, (0, -w % patch, 0, -h % patch), mode="replicate") if h % patch or w % patch else x_t
        grid = x.shape[-2] // patch, x.shape[-1] // patch
        label = told.vector.to(x.dtype)
        tokens = self._patches(x) + grid_table(*grid, self.config.grid, self.config.width, like=x)
        drawn = self._transform(tokens, grid, F.silu(self.time_embedding(time) + label), label)
        picture = rearrange(drawn, "b (h w) (p q c) -> b c (h p) (w q)", h=grid[0], p=patch, q=patch)
        return picture[..., :h, :w]

    @abstractmethod
    def _patches(self, x: Tensor) -> Tensor:
        """x (b c h w) of whole patches -> their tokens (b m d)."""

    @abstractmethod
    def _transform(self, x: Tensor, grid: tuple[int, int], embedding: Tensor, label: Tensor) -> Tensor:
        """Tokens x (b m d) of a grid of rows and columns -> the patches drawn (b m p*p*c).

        embedding: time and class (b d), after their silu. label: the class alone (b d).
        """


class PatchBlock(nn.Module):
    """Attention and MLP, each on a norm scaled and shifted by the embedding, each gated: adaLN-Zero.

    A subclass makes `in_norm`, `mlp_norm` and `mlp`, and may turn queries and keys in `_place`.
    """

    def __init__(self, width: int, heads: int) -> None:
        super().__init__()
        self.heads = heads
        self.modulation = zeroed(nn.Linear(width, 6 * width))
        self.query = nn.Linear(width, 3 * width)  # queries, keys and values in one product
        self.out = nn.Linear(width, width)

    def forward(self, x: Tensor, embedding: Tensor, place: Any = None) -> Tensor:
        """x (b m d), embedding (b d) after its silu -> (b m d). place: what `_place` is given."""
        parts = self.modulation(embedding)[:, None].chunk(6, dim=2)  # six of b 1 d
        shift, scale, gate, mlp_shift, mlp_scale, mlp_gate = parts
        x = torch.addcmul(x, gate, self._attended(torch.addcmul(shift, self.in_norm(x), 1 + scale), place))
        return torch.addcmul(x, mlp_gate, self.mlp(torch.addcmul(mlp_shift, self.mlp_norm(x), 1 + mlp_scale)))

    def _attended(self, x: Tensor, place: Any) -> Tensor:
        queries, keys, values = split_heads(self.query(x), 3, self.heads)  # b n m k
        queries, keys = self._place(queries, keys, place)
        return self.out(attend(queries, (keys, values), Signals(), -1))

    def _place(self, queries: Tensor, keys: Tensor, place: Any) -> tuple[Tensor, Tensor]:
        return queries, keys


class PatchHead(nn.Module):
    """Tokens to patches: a norm scaled and shifted by the embedding, then a linear map that starts at zero."""

    def __init__(self, norm: nn.Module, config: PatchTransformerConfig) -> None:
        super().__init__()
        self.norm = norm
        self.modulation = zeroed(nn.Linear(config.width, 2 * config.width))
        self.out = zeroed(nn.Linear(config.width, config.patch_size**2 * config.out_channels))

    def forward(self, x: Tensor, embedding: Tensor) -> Tensor:
        """x (b m d), embedding (b d) after its silu -> (b m p*p*c)."""
        shift, scale = self.modulation(embedding)[:, None].chunk(2, dim=2)  # b 1 d
        return self.out(torch.addcmul(shift, self.norm(x), 1 + scale))


def grid_table(rows: int, columns: int, trained: int, width: int, *, like: Tensor) -> Tensor:
    """The fixed sinusoids (rows*columns d) of a grid's positions: half the channels a column's, half a row's.

    A grid of other than `trained` positions a side is laid over the trained one. In the dtype and on the device of `like`.
    """
    return _grid_table(rows, columns, trained, width, like.dtype, like.device)


def grid_angles(
    rows: int, columns: int, trained: int, rates: int, dtype: torch.dtype = torch.float64
) -> tuple[Tensor, Tensor]:
    """Angles of each position's row and column (rows*columns rates), rates falling from 1 to 1 / 10,000 (not reached)."""
    rate = torch.exp(torch.arange(rates, dtype=dtype, device="cpu") * (-math.log(10_000.0) / rates))
    down, across = (
        torch.arange(count, dtype=dtype, device="cpu")[:, None] * (trained / count) * rate for count in (rows, columns)
    )
    return down.repeat_interleave(columns, 0), across.repeat(rows, 1)


@lru_cache(maxsize=16)
@torch.inference_mode(False)
def _grid_table(rows: int, columns: int, trained: int, width: int, dtype: torch.dtype, device: torch.device) -> Tensor:
    down, across = grid_angles(rows, columns, trained, width // 4)
    return torch.cat([across.sin(), across.cos(), down.sin(), down.cos()], dim=1).to(dtype).to(device)
