"""What do CLIP's towers compute? Learning Transferable Visual Models, arXiv 2103.00020, section 2.4 and figure 3.

Modules are named as transformers names them, so that its files need no other names.

Shapes: b texts or pictures, l tokens, d a tower's width, e the common space, n heads, k head width, h w pixels.
"""

from __future__ import annotations

from dataclasses import dataclass

import torch
from einops import rearrange
from torch import Tensor, nn
from torch.nn import functional as F

from .config import ClipConfig, TextConfig, TowerConfig, VisionConfig


@dataclass(frozen=True)
class Seen:
    """What a tower makes of its input."""

    hidden: Tensor  # (b l d) the last layer; of the text tower under its final norm
    penultimate: Tensor  # (b l d) the layer before, without a norm
    pooled: Tensor  # (b d) of the text's end, or of the picture's class token, under the final norm


def activated(x: Tensor, activation: str) -> Tensor:
    return x * torch.sigmoid(1.702 * x) if activation == "quick_gelu" else F.gelu(x)


class Attention(nn.Module):
    """Self-attention; each position reads those before it where `causal`."""

    def __init__(self, config: TowerConfig, *, causal: bool) -> None:
        super().__init__()
        self.heads, self.causal = config.heads, causal
        for name in ("q_proj", "k_proj", "v_proj", "out_proj"):
            setattr(self, name, nn.Linear(config.width, config.width))

    def forward(self, x: Tensor) -> Tensor:
        q, k, v = (
            rearrange(part(x), "b l (n k) -> b n l k", n=self.heads) for part in (self.q_proj, self.k_proj, self.v_proj)
        )
        read = F.scaled_dot_product_attention(q, k, v, is_causal=self.causal)
        return self.out_proj(rearrange(read, "b n l k -> b l (n k)"))


class FeedForward(nn.Module):
    def __init__(self, config: TowerConfig) -> None:
        super().__init__()
        self.activation = config.activation
        self.fc1, self.fc2 = nn.Linear(config.width, config.mlp), nn.Linear(config.mlp, config.width)

    def forward(self, x: Tensor) -> Tensor:
        return self.fc2(activated(self.fc1(x), self.activation))


class Layer(nn.Module):
    def __init__(self, config: TowerConfig, *, causal: bool) -> None:
        super().__init__()
        self.layer_norm1, self.layer_norm2 = (nn.LayerNorm(config.width, eps=config.epsilon) for _ in range(2))
        self.self_attn, self.mlp = Attention(config, causal=causal), FeedForward(config)

    def forward(self, x: Tensor) -> Tensor:
        x = x + self.self_attn(self.layer_norm1(x))
        return x + self.mlp(self.layer_norm2(x))


class Layers(nn.Module):
    def __init__(self, config: TowerConfig, *, causal: bool) -> None:
        super().__init__()
        self.layers = nn.ModuleList([Layer(config, causal=causal) for _ in range(config.layers)])

    def forward(self, x: Tensor) -> tuple[Tensor, Tensor]:
        """The last layer's output and its input, (b l d) each."""
        before = x
        for layer in self.layers:
            before, x = x, layer(x)
        return x, before


class TextTower(nn.Module):
    """tower(ids (b l)) -> Seen. What follows a text's end mark is not seen from it: pads need no mask."""

    def __init__(self, config: TextConfig) -> None:
        super().__init__()
        self.end = config.end
        self.embeddings = nn.ModuleDict(
            {
                "token_embedding": nn.Embedding(config.vocab_size, config.width),
                "position_embedding": nn.Embedding(config.positions, config.width),
            }
        )
        self.encoder = Layers(config, causal=True)
        self.final_layer_norm = nn.LayerNorm(config.width, eps=config.epsilon)

    def forward(self, ids: Tensor) -> Seen:
        places = torch.arange(ids.shape[1], device=ids.device)
        x = self.embeddings["token_embedding"](ids) + self.embeddings["position_embedding"](places)  # b l d
        x, penultimate = self.encoder(x)
        hidden = self.final_layer_norm(x)
        end = (ids == self.end).int().argmax(1)  # the first, where pads are end marks too
        return Seen(hidden, penultimate, hidden[torch.arange(len(ids), device=ids.device), end])


class Patches(nn.Module):
    """Pixels (b 3 h w) -> (b 1+l d): the class token, then patches row by row."""

    def __init__(self, config: VisionConfig) -> None:
        super().__init__()
        self.class_embedding = nn.Parameter(torch.empty(config.width))
        self.patch_embedding = nn.Conv2d(3, config.width, config.patch, stride=config.patch, bias=False)
        self.position_embedding = nn.Embedding((config.side // config.patch) ** 2 + 1, config.width)

    def forward(self, pixels: Tensor) -> Tensor:
        patches = rearrange(self.patch_embedding(pixels), "b d h w -> b (h w) d")
        class_token = self.class_embedding.expand(len(pixels), 1, -1)
        return torch.cat([class_token, patches], dim=1) + self.position_embedding.weight


class VisionTower(nn.Module):
    """tower(pixels (b 3 side side), normalised) -> Seen."""

    def __init__(self, config: VisionConfig) -> None:
        super().__init__()
        self.embeddings, self.encoder = Patches(config), Layers(config, causal=False)
        self.pre_layrnorm = nn.LayerNorm(config.width, eps=config.epsilon)  # so spelt in every file
        self.post_layernorm = nn.LayerNorm(config.width, eps=config.epsilon)

    def forward(self, pixels: Tensor) -> Seen:
        hidden, penultimate = self.encoder(self.pre_layrnorm(self.embeddings(pixels)))
        return Seen(hidden, penultimate, self.post_layernorm(hidden[:, 0]))


class ClipNetwork(nn.Module):
    """Those of the two towers that there are, and their way into the common space."""

    def __init__(self, config: ClipConfig) -> None:
        super().__init__()
        self.config = config
        self.text_model = None if config.text is None else TextTower(config.text)
        self.vision_model = None if config.vision is None else VisionTower(config.vision)
        self.text_projection = _projection(config.text, config.text_embed_dim)
        self.visual_projection = _projection(config.vision, config.vision_embed_dim)
        if config.scaled:
            self.logit_scale = nn.Parameter(torch.empty(()))

    def forward(self, pixels: Tensor, ids: Tensor) -> tuple[Tensor, Tensor]:
        """Normalised pixels (b 3 side side) and ids (n l) in the common space, (b e) and (n e): what training calls."""
        seen = self.visual_projection(self.vision_model(pixels).pooled)
        return seen, self.text_projection(self.text_model(ids).pooled)


def _projection(tower: TowerConfig | None, embed_dim: int | None) -> nn.Linear | None:
    return None if tower is None or embed_dim is None else nn.Linear(tower.width, embed_dim, bias=False)
