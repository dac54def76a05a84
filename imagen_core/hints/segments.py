"""Which parts does a picture have, whatever their colours? Regions of like colour, each flat, the backdrop black.

A region's colour only tells it from its neighbours: what is drawn there is for the prompt to say. Colours are grouped by
k-means (Lloyd, "Least squares quantization in PCM", 1982), begun with colours as far apart as there are.

Shapes: b images, h w pixels, k groups.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import ClassVar

import torch
from torch import Tensor
from torch.nn import functional as F

from ._base import Hint, is_grey, uniform
from ._gradients import blurred

# Told apart easily, also from black; which one a region has means nothing.
COLORS = (
    *((0.9, 0.2, 0.2), (0.2, 0.7, 0.3), (0.25, 0.4, 0.95), (0.95, 0.8, 0.2), (0.7, 0.3, 0.85), (0.2, 0.8, 0.85)),
    *((0.95, 0.55, 0.15), (0.95, 0.5, 0.75), (0.55, 0.35, 0.2), (0.6, 0.85, 0.2), (0.4, 0.2, 0.5), (0.6, 0.6, 0.65)),
)
MOST = len(COLORS)  # regions' colours, besides the backdrop's
BRIGHTNESS = 0.5  # weight of how bright a colour is beside which it is: shading divides no region
ROUNDS = 6  # of Lloyd's
SHADES = 16  # a channel, in which flat colours are counted
BASE_SIDE = 64  # of a picture for which the blur and the smoothing are said
SMOOTHED = 1  # pixels of such a picture by which a border is straightened


@dataclass(frozen=True, kw_only=True)
class Segments(Hint):
    """Flat regions on black; what is drawn by hand in flat colours looks alike.

    groups: colours into which a picture is divided, the backdrop's included; 2 leaves one thing's outline, filled.
    sigma: how much the picture is blurred first, in pixels of a picture 64 wide.
    """

    name: ClassVar[str] = "segments"
    resizing: ClassVar[str] = "flat"
    what: ClassVar[str] = "flat regions of a few colours"
    reads_regions: ClassVar[bool] = True
    groups: int = 4
    sigma: float = 0.7
    first: int = 0  # of COLORS, that the largest region has

    def __post_init__(self) -> None:
        if not 2 <= self.groups <= MOST:
            raise ValueError(f"a picture in {self.groups} groups of colours: expected 2 to {MOST}, 4 is usual")

    def __call__(self, pictures: Tensor) -> Tensor:
        return self.painted(self.regions(pictures))

    def regions(self, pictures: Tensor) -> Tensor:
        """(b 3 h w) in [-1, 1] -> which region each pixel is in, (b h w) int64: 0 the backdrop, the others by size."""
        b, _, h, w = pictures.shape
        scale = max(h, w) / BASE_SIDE
        seen = blurred(pictures.float().flatten(0, 1)[:, None], self.sigma * scale).view(b, 3, h, w)
        groups = _straightened(_grouped(_opponent(seen), self.groups), self.groups, round(SMOOTHED * scale))
        return _ordered(groups, self.groups)

    def known(self, pictures: Tensor, regions: Tensor) -> Tensor:
        return self.painted(regions)

    def painted(self, regions: Tensor) -> Tensor:
        """Regions (b h w), 0 the backdrop, each in a colour of its own: (b 3 h w) in [-1, 1]."""
        colors = torch.tensor(COLORS, device=regions.device).roll(-self.first, 0) * 2.0 - 1.0
        table = torch.cat([colors.new_full((1, 3), -1.0), colors])  # the backdrop's, and the others'
        index = torch.where(regions > 0, (regions.long() - 1) % MOST + 1, 0)
        return table[index].permute(0, 3, 1, 2).contiguous()

    def fits(self, picture: Tensor) -> bool:
        shades = ((picture.clamp(-1, 1) + 1.0) * (SHADES - 1) / 2.0).round().long()
        codes = (shades[:, 0] * SHADES + shades[:, 1]) * SHADES + shades[:, 2]
        return all(_is_flat(each) for each in codes.flatten(1))

    def typical(self, picture: Tensor) -> bool:
        return not is_grey(picture)

    def varied(self, generator: torch.Generator) -> Segments:
        first = int(torch.randint(MOST, (), generator=generator))
        groups = int(torch.randint(2, 7, (), generator=generator))
        return replace(self, groups=groups, sigma=uniform(0.4, 1.2, generator), first=first)


def _is_flat(codes: Tensor) -> bool:
    """Whether a few colours, (n,) numbers of them, make up nearly all."""
    counts = codes.unique(return_counts=True)[1].sort(descending=True).values
    return bool(counts[: MOST + 1].sum() >= 0.97 * len(codes))


def _opponent(pictures: Tensor) -> Tensor:
    """(b 3 h w) as brightness, red against green and blue against yellow, (b h w 3)."""
    red, green, blue = pictures.unbind(1)
    bright = (red + green + blue) / 3.0 * BRIGHTNESS
    return torch.stack([bright, red - green, blue - (red + green) / 2.0], dim=-1)


def _grouped(seen: Tensor, k: int) -> Tensor:
    """(b h w 3) -> which of k groups of like colours each pixel is in, (b h w)."""
    b, h, w, _ = seen.shape
    pixels = seen.flatten(1, 2)  # b n 3
    centres = _far_apart(pixels, k)  # b k 3
    for _ in range(ROUNDS):
        member = F.one_hot(torch.cdist(pixels, centres).argmin(2), k).to(pixels)  # b n k
        sizes = member.sum(1)[..., None]  # b k 1
        centres = torch.where(sizes > 0, member.mT @ pixels / sizes.clamp_min(1.0), centres)
    return torch.cdist(pixels, centres).argmin(2).view(b, h, w)


def _far_apart(pixels: Tensor, k: int) -> Tensor:
    """Colours to begin with, (b k 3): the mean, and each next the one farthest from those before."""
    chosen = [pixels.mean(1, keepdim=True)]
    for _ in range(k - 1):
        nearest = torch.cdist(pixels, torch.cat(chosen, 1)).amin(2)  # b n
        chosen.append(pixels.gather(1, nearest.argmax(1)[:, None, None].expand(-1, 1, 3)))
    return torch.cat(chosen, 1)


def _straightened(groups: Tensor, k: int, reach: int) -> Tensor:
    """(b h w), each pixel in the group that most of its neighbours are in."""
    if reach < 1:
        return groups
    members = F.one_hot(groups, k).permute(0, 3, 1, 2).float()  # b k h w
    return F.avg_pool2d(members, 2 * reach + 1, stride=1, padding=reach).argmax(1)


def _ordered(groups: Tensor, k: int) -> Tensor:
    """Groups (b h w) numbered anew: 0 the one that most of the border is in, the others from the largest on."""
    members = F.one_hot(groups, k).float()  # b h w k
    border = members[:, [0, -1]].sum((1, 2)) + members[:, :, [0, -1]].sum((1, 2))  # b k
    sizes = members.sum((1, 2)).scatter(1, border.argmax(1, keepdim=True), torch.inf)
    place = sizes.argsort(dim=1, descending=True, stable=True).argsort(dim=1)  # b k
    return place.gather(1, groups.flatten(1)).view_as(groups)
