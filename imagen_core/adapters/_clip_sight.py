"""How does an adapter see what a CLIP sees? With the CLIP's vision tower, which lies in its file; or by an embedding.

Shapes: b pictures, e CLIP's common space, c h w the tower's map, a position for each of its patches.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, ClassVar

from einops import rearrange
from torch import Tensor, nn
from torch.nn import functional as F

from ..clip.config import ClipConfig, VisionConfig
from ..clip.model import Clip, prepared
from ..clip.network import VisionTower
from ..unets import UNetConfig
from ._base import Adapter, AdapterConfig


@dataclass(frozen=True, kw_only=True)
class SightConfig(AdapterConfig):
    """Settings of what sees as a CLIP does; the others are explained at `AdapterConfig`."""

    tiny: ClassVar[dict[str, Any]] = {
        **{"embed_dim": 16, "side": 16, "patch": 8, "tower_width": 16, "tower_layers": 1, "tower_heads": 1},
        "tower_mlp": 16,
    }
    kinds: tuple[str, ...] = ("picture",)
    embed_dim: int = 128  # of an embedding, as the CLIP's projection gives it
    side: int = 64  # pixels of the square that the CLIP sees
    patch: int = 8  # of one position of its map
    tower_width: int = 128  # of its vision tower
    tower_layers: int = 4  # 0: the tower is too large to lie in the file, and embeddings alone are read
    tower_heads: int = 4  # of its attention
    tower_mlp: int = 384  # width of its feed-forward's hidden layer
    activation: str = "quick_gelu"  # of that layer: one of CLIP's two

    @property
    def vision(self) -> VisionConfig:
        """The tower, as CLIP calls its settings."""
        sizes = {"width": self.tower_width, "layers": self.tower_layers, "heads": self.tower_heads}
        return VisionConfig(**sizes, mlp=self.tower_mlp, activation=self.activation, side=self.side, patch=self.patch)

    @property
    def places(self) -> int:
        """Positions of the tower's map."""
        return (self.side // self.patch) ** 2


def sight_of(clip: ClipConfig) -> dict[str, Any]:
    """The settings of a `SightConfig` for what this CLIP sees. ValueError for one that cannot look."""
    vision, embed_dim = clip.vision, clip.vision_embed_dim
    if vision is None or embed_dim is None:
        raise ValueError("this CLIP has no vision tower with a projection: an image prompt needs one that looks")
    tower = {f"tower_{name}": getattr(vision, name) for name in ("width", "layers", "heads", "mlp")}
    return {
        "embed_dim": embed_dim,
        **tower,
        **{name: getattr(vision, name) for name in ("side", "patch", "activation")},
    }


class SeesAsClip(Adapter):
    """An image prompt with a CLIP's vision tower in it, which training leaves as it is where it is `frozen`."""

    takes_hint: ClassVar[bool] = False
    frozen: ClassVar[tuple[str, ...]] = ("tower", "projection")
    config: SightConfig

    def __init__(self, config: SightConfig, base: UNetConfig) -> None:
        super().__init__()
        self.config, self.base = config, base
        self.tower = self.projection = None
        if config.tower_layers:
            self.tower = VisionTower(config.vision)
            nn.init.zeros_(self.tower.embeddings.class_embedding)
            self.projection = nn.Linear(config.tower_width, config.embed_dim, bias=False)

    @property
    def reads_embeds(self) -> int | None:
        return self.config.embed_dim

    @property
    def reads_pictures(self) -> bool:
        return self.tower is not None

    def seeing_as(self, clip: Clip) -> SeesAsClip:
        """Before training: with the tower and projection of a CLIP of the same sizes. Returns itself."""
        if self.tower is not None:
            self.tower.load_state_dict(clip.network.vision_model.state_dict())
            self.projection.load_state_dict(clip.network.visual_projection.state_dict())
        return self

    def seen(self, picture: Tensor) -> tuple[Tensor, Tensor | None]:
        """Embeddings (b e), and the map (b c h w) where these are pictures (b 3 h w) in [-1, 1] and no embeddings."""
        if picture.ndim == 2:
            return picture, None
        seen = self.tower(prepared(picture, self.config.side))
        side = self.config.side // self.config.patch
        places = rearrange(seen.penultimate[:, 1:], "b (h w) c -> b c h w", h=side)
        return self.projection(seen.pooled), places


def directions(embeds: Tensor) -> Tensor:
    """Embeddings (b e) whatever their length, each number about 1."""
    return F.normalize(embeds, dim=-1) * embeds.shape[-1] ** 0.5
