"""What does a T5 encoder compute? Raffel et al., arXiv 1910.10683, with T5 1.1's gated feed-forward (arXiv 2002.05202).

Our own forward pass, so that weights may rest quantised or on the disk and be made dense one at a time. The operations
and their order follow transformers' T5, with which it agrees bit by bit in float32 on a CPU.

Shapes: b prompts, l tokens, d d_model, n heads, k d_kv, f d_ff.
"""

from __future__ import annotations

import math
from collections.abc import Sequence

import torch
from torch import Tensor
from torch.nn import functional as F

from .own_network import ACTIVATIONS, Batch, OwnNetwork
from .t5_config import T5Config


class T5Network(OwnNetwork):
    """network(batches) -> one (b l d) a batch. Several batches share each dense weight: it is made once for all.

    The residual stream and the norms stay float32 in any dtype, and so does `wo` under float16, whose range its sums
    exceed.
    """

    config: T5Config

    @torch.no_grad()
    def __call__(self, batches: Sequence[Batch]) -> list[Tensor]:
        """Encode. Rows of masked tokens hold what T5 gives there; they attend to the real tokens, as all do."""
        hidden = self._embed([ids for ids, _ in batches])
        biases = self._position_biases([mask for _, mask in batches])
        for layer in range(self.config.num_layers):
            hidden = self._attention(f"encoder.block.{layer}.layer.0.", hidden, biases)
            hidden = self._feed_forward(f"encoder.block.{layer}.layer.1.", hidden)
            if self.on_layer is not None:
                self.on_layer(layer + 1, self.config.num_layers)
        return self.checked(self._norm("encoder.final_layer_norm.weight", hidden))

    def _embed(self, ids: list[Tensor]) -> list[Tensor]:
        """The rows of the table that occur, and no other: all of XXL's would take 0.5 GB."""
        occurring, places = torch.cat([each.flatten() for each in ids]).cpu().unique(return_inverse=True)
        rows = self.weights["shared.weight"].rows(occurring).dense(self.device, torch.float32)
        split = places.split([each.numel() for each in ids])
        return [rows[place.to(self.device)].view(*each.shape, -1) for place, each in zip(split, ids, strict=True)]

    def _norm(self, name: str, xs: list[Tensor]) -> list[Tensor]:
        """Root mean square norm (arXiv 1910.07467)."""
        weight = self.weights[name].dense(self.device, torch.float32)
        epsilon = self.config.layer_norm_epsilon
        return [weight * (x * torch.rsqrt(x.pow(2).mean(-1, keepdim=True) + epsilon)) for x in xs]

    def _linear(self, name: str, xs: list[Tensor], dtype: torch.dtype | None = None) -> list[Tensor]:
        dtype = dtype or self.dtype
        weight = self.weights[name].dense(self.device, dtype)
        return [F.linear(x.to(dtype), weight) for x in xs]

    def _attention(self, name: str, hidden: list[Tensor], biases: list[Tensor]) -> list[Tensor]:
        normed = self._norm(f"{name}layer_norm.weight", hidden)
        q, k, v = (map(self._heads, self._linear(f"{name}SelfAttention.{part}.weight", normed)) for part in "qkv")
        attended = [
            F.scaled_dot_product_attention(q_i, k_i, v_i, attn_mask=bias.to(self.dtype), scale=1.0)  # b n l k
            for q_i, k_i, v_i, bias in zip(q, k, v, biases, strict=True)
        ]
        joined = [each.transpose(1, 2).flatten(2) for each in attended]  # b l (n k)
        out = self._linear(f"{name}SelfAttention.o.weight", joined)
        return [x + y for x, y in zip(hidden, out, strict=True)]  # float32, whatever y is

    def _heads(self, x: Tensor) -> Tensor:
        return x.view(*x.shape[:-1], -1, self.config.d_kv).transpose(1, 2)  # b n l k

    def _feed_forward(self, name: str, hidden: list[Tensor]) -> list[Tensor]:
        x = self._norm(f"{name}layer_norm.weight", hidden)
        activation = ACTIVATIONS[self.config.activation]
        if self.config.gated:
            gates = [activation(gate) for gate in self._linear(f"{name}DenseReluDense.wi_0.weight", x)]
            x = [g * y for g, y in zip(gates, self._linear(f"{name}DenseReluDense.wi_1.weight", x), strict=True)]
        else:
            x = [activation(y) for y in self._linear(f"{name}DenseReluDense.wi.weight", x)]
        wide = torch.float32 if self.dtype == torch.float16 else self.dtype
        out = self._linear(f"{name}DenseReluDense.wo.weight", x, wide)
        return [h + y for h, y in zip(hidden, out, strict=True)]

    def _position_biases(self, masks: list[Tensor]) -> list[Tensor]:
        """What attention adds to its scores, (b n l l): a learned bias a distance, and the lowest number at masked keys.

        The first block's biases serve every block.
        """
        name = "encoder.block.0.layer.0.SelfAttention.relative_attention_bias.weight"
        table = self.weights[name].dense(self.device, torch.float32)  # buckets n
        biases = []
        for mask in masks:
            position = torch.arange(mask.shape[1], device=self.device)
            bucket = self._buckets(position[None, :] - position[:, None])  # l l
            bias = table[bucket].permute(2, 0, 1)[None]  # 1 n l l
            if not mask.all():
                bias = torch.where(mask[:, None, None, :].to(self.device), bias, torch.finfo(self.dtype).min)
            biases.append(bias.contiguous())
        return biases

    def _buckets(self, distance: Tensor) -> Tensor:
        """The bucket of a key's distance from its query: exact when near, logarithmic when far, halves by direction."""
        half = self.config.relative_attention_num_buckets // 2
        exact = half // 2
        away = distance.abs()
        growth = math.log(self.config.relative_attention_max_distance / exact)
        far = exact + (torch.log(away.float() / exact) / growth * (half - exact)).to(torch.long)
        bucket = torch.where(away < exact, away, far.clamp(max=half - 1))
        return bucket + (distance > 0).to(torch.long) * half
