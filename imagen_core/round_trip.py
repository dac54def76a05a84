"""What does a picture lose on a round trip, and how much noise conditioning hides it? Say, through a VAE and back.

Where: the error of each pixel. How much: PSNR, edges, and each octave of frequency. aug_level: at which the small picture
of a super-resolution stage is as noisy as the round trip left it wrong (Imagen, arXiv 2205.11487, section 2.5).
Shapes: b pictures, c h w a picture in [-1, 1].
"""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor

from .schedules import Schedule
from .schedules.cosine import CosineSchedule
from .super_resolution import resize_longest_side
from .variance_exploding import sigma_ve_to_t

OCTAVES = (1 / 32, 1 / 16, 1 / 8, 1 / 4)  # cycles a pixel at which one band of frequencies ends and the next begins
BANDS = ("below 1/32", "1/32 to 1/16", "1/16 to 1/8", "1/8 to 1/4", "above 1/4")
UNSEEN = 1e-4  # an error of 1/80 of a step of 8 bits is none


@dataclass(frozen=True)
class RoundTrip:
    """What came of (b c h w): every figure one a picture, (b,), of a band (b bands)."""

    error: Tensor  # (b 1 h w): root mean square over the channels, 0 to 2
    psnr: Tensor  # decibels, of a peak of 2; infinite where nothing changed
    edges: Tensor  # share of the slopes that is wrong: sum |grad x' - grad x| / sum |grad x|
    bands: Tensor  # root mean square of the error in each band; their squares add up to the whole
    lost: Tensor  # error over signal in each band, both root mean square: 0 kept, 1 as wrong as if it were left out
    kept: Tensor  # energy that came back over what went in: below 1 blurred, above 1 invented


def measure_round_trip(before: Tensor, after: Tensor) -> RoundTrip:
    """Compare (b c h w) in [-1, 1] with what came back. Raises ValueError for other shapes, or none."""
    if before.shape != after.shape or before.ndim != 4 or min(before.shape) < 1:
        raise ValueError(
            f"pictures of shapes {tuple(before.shape)} and {tuple(after.shape)} cannot be compared: give both as (b c h w)"
        )
    before, after = before.double(), after.double()
    error = after - before
    wrong, signal, back = (_energy(x) for x in (error, _centred(before), _centred(after)))
    slopes = (_slopes(error).sum(1), _slopes(before).sum(1))
    return RoundTrip(
        error=error.square().mean(1, keepdim=True).sqrt().float(),
        psnr=(10.0 * torch.log10(4.0 / error.square().mean((1, 2, 3)))).float(),
        edges=_ratio(*slopes).float(),
        bands=wrong.sqrt().float(),
        lost=_ratio(wrong, signal).sqrt().float(),
        kept=_ratio(back, signal, of_nothing=1.0).float(),
    )


def matching_aug_level(before: Tensor, after: Tensor, *, side: int = 0, schedule: Schedule | None = None) -> float:
    """The aug_level whose noise is as strong as the error, as the super-resolution stage sees both; 0 for none at all.

    There x_t = alpha (x + n), where n has the deviation sigma / alpha: that is made the root mean square of the error of
    the whole batch. side: of the small picture that the stage is given, which averages fine errors out; 0 is as it is.
    schedule: the stage's; the plain cosine of imagen-mini's when none is named.
    """
    small = [resize_longest_side(x.float(), side) if side else x.float() for x in (before, after)]
    strength = (small[1] - small[0]).double().square().mean().sqrt()
    if strength < UNSEEN:
        return 0.0
    return float(sigma_ve_to_t(schedule or CosineSchedule(), strength))


def heat_map(error: Tensor, white: float) -> Tensor:
    """(b 1 h w), not negative, as pictures (b 3 h w) in [-1, 1]: black, red, yellow, and white from `white` on."""
    heat = 3.0 * error / white - torch.arange(3.0).view(1, 3, 1, 1)
    return heat.clamp(0.0, 1.0) * 2.0 - 1.0


def round_trip_report(found: RoundTrip, aug_level: float) -> str:
    """The figures in words, one paragraph a picture, for people."""
    told = [_told(found, picture) for picture in range(len(found.psnr))]
    return "\n\n".join([*told, f"aug_level {aug_level:.3f} puts noise on as strong as the error"])


def _told(found: RoundTrip, picture: int) -> str:
    lines = [f"picture {picture}: {found.psnr[picture]:.1f} dB, {found.edges[picture]:.1%} of the edges wrong"]
    rows = (figure[picture].tolist() for figure in (found.bands, found.lost, found.kept))
    for name, error, lost, kept in zip(BANDS, *rows, strict=True):
        lines.append(
            f"  {name} cycles a pixel: error {error / 2:.4f}, {lost:.0%} of what is there; {kept:.0%} came back"
        )
    return "\n".join(lines)


def _centred(x: Tensor) -> Tensor:
    """Without its mean colour, which would be most of the lowest band."""
    return x - x.mean((2, 3), keepdim=True)


def _energy(x: Tensor) -> Tensor:
    """(b bands): the mean square of (b c h w), shared out by frequency (Parseval)."""
    height, width = x.shape[-2:]
    power = torch.fft.fft2(x).abs().square().mean(1).flatten(1) / (height * width) ** 2  # b (h w)
    reach = torch.maximum(torch.fft.fftfreq(height).abs()[:, None], torch.fft.fftfreq(width).abs()[None]).flatten()
    band = torch.bucketize(reach.to(x.device), torch.tensor(OCTAVES, device=x.device))
    return power.new_zeros(len(power), len(BANDS)).index_add_(1, band, power)


def _slopes(x: Tensor) -> Tensor:
    """(b n): the absolute differences of neighbours, along rows and columns."""
    return torch.cat([x.diff(dim=-1).abs().flatten(1), x.diff(dim=-2).abs().flatten(1)], dim=1)


def _ratio(part: Tensor, whole: Tensor, of_nothing: float = 0.0) -> Tensor:
    """part / whole; `of_nothing` where there was nothing and nothing came, infinite where something came of nothing."""
    nothing = whole <= 1e-12
    return torch.where(nothing & (part <= 1e-12), of_nothing, part / whole.where(~nothing, torch.zeros_like(whole)))
