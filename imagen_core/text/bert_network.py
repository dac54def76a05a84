"""What does a BERT encoder compute? Devlin et al., arXiv 1810.04805: the other frozen encoder that Imagen compares.

Our own forward pass, so that weights may rest as int8 or on the disk and be made dense one at a time, as T5's do.

Shapes: b prompts, l tokens, d d_model, n heads, k head width, f d_ff.
"""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor
from torch.nn import functional as F

from .bert_config import BertConfig
from .own_network import ACTIVATIONS, Batch, OwnNetwork


class BertNetwork(OwnNetwork):
    """network(batches) -> one (b l d) a batch: the last layer's hidden states."""

    config: BertConfig

    @torch.no_grad()
    def __call__(self, batches: Sequence[Batch]) -> list[Tensor]:
        """Encode. Rows of masked tokens hold what BERT gives there; they attend to the real tokens, as all do."""
        hidden = [self._embed(ids) for ids, _ in batches]
        masks = [None if mask.all() else mask[:, None, None].to(self.device) for _, mask in batches]  # b 1 1 l
        for layer in range(self.config.num_layers):
            name = f"encoder.layer.{layer}."
            hidden = self._attention(f"{name}attention.", hidden, masks)
            hidden = self._feed_forward(name, hidden)
            if self.on_layer is not None:
                self.on_layer(layer + 1, self.config.num_layers)
        return self.checked(hidden)

    def _embed(self, ids: Tensor) -> Tensor:
        """Word, place and kind of sentence, (b l) -> (b l d): only the rows that occur."""
        rows, places = ids.cpu().unique(return_inverse=True)
        name = "embeddings.{}_embeddings.weight"

        def table(kind: str, index: Tensor) -> Tensor:
            return self.weights[name.format(kind)].rows(index).dense(self.device, torch.float32)

        words = table("word", rows)[places.to(self.device)]
        kind, place = (
            table("token_type", torch.zeros(1, dtype=torch.long)),
            table("position", torch.arange(ids.shape[1])),
        )
        return self._norm("embeddings.LayerNorm", words + kind + place)

    def _norm(self, name: str, x: Tensor) -> Tensor:
        weight, bias = (self.weights[f"{name}.{part}"].dense(self.device, torch.float32) for part in ("weight", "bias"))
        return F.layer_norm(x.float(), x.shape[-1:], weight, bias, self.config.layer_norm_epsilon)

    def _linear(self, name: str, xs: list[Tensor]) -> list[Tensor]:
        weight, bias = (self.weights[f"{name}.{part}"].dense(self.device, self.dtype) for part in ("weight", "bias"))
        return [F.linear(x.to(self.dtype), weight, bias) for x in xs]

    def _attention(self, name: str, hidden: list[Tensor], masks: list[Tensor | None]) -> list[Tensor]:
        q, k, v = (map(self._heads, self._linear(f"{name}self.{part}", hidden)) for part in ("query", "key", "value"))
        attended = [
            F.scaled_dot_product_attention(*each, attn_mask=mask).transpose(1, 2).flatten(2)  # b l d
            for *each, mask in zip(q, k, v, masks, strict=True)
        ]
        out = self._linear(f"{name}output.dense", attended)
        return [self._norm(f"{name}output.LayerNorm", x + y) for x, y in zip(hidden, out, strict=True)]

    def _heads(self, x: Tensor) -> Tensor:
        return x.unflatten(-1, (self.config.num_heads, -1)).transpose(1, 2)  # b n l k

    def _feed_forward(self, name: str, hidden: list[Tensor]) -> list[Tensor]:
        activation = ACTIVATIONS[self.config.activation]
        wide = [activation(x) for x in self._linear(f"{name}intermediate.dense", hidden)]
        out = self._linear(f"{name}output.dense", wide)
        return [self._norm(f"{name}output.LayerNorm", x + y) for x, y in zip(hidden, out, strict=True)]
