"""How does a given picture enter sampling: as where to start (img2img), or as what must stay (inpainting)?

Inpainting replaces every predicted x_0 by the known pixels outside the mask. From the exact x_0, a sampler's own step
takes those pixels to alpha x_0 + sigma eps of the next level, whichever sampler it is: they are re-noised at every
level with the very variance of the forward process, and one noise runs through both sides of a soft mask's edge.
Resampling is RePaint's (arXiv 2201.09865, section 4.2 and Algorithm 1): draw a stretch of the way, put the noise back
on, draw it again, so that what is drawn and what is known come to fit.

Shapes: b images, c channels, h w pixels.
"""

from __future__ import annotations

import math
from dataclasses import dataclass, replace

import torch
from torch import Tensor

from .denoiser import Prediction
from .parameterization import diffuse, x_0_to_eps
from .samplers import Sampler
from .samplers._base import Callback, Denoise, Noise, Reported, levels
from .schedules import Schedule
from .super_resolution import fit, resize

STRETCHES = 25  # RePaint jumps over 10 of 250 steps


@dataclass(frozen=True, kw_only=True)
class InitImage:
    """A picture to start from, and perhaps to keep a part of.

    pixels: (b c h w) in [-1, 1], of any size. mask: (b 1 h w) in [0, 1], 1 where the picture is repainted, 0 where it is
    kept; None repaints everything. strength: in (0, 1], the time t at which sampling starts: 1 is pure noise, of which
    the repainted part remembers nothing, 0.7 keeps colours and layout, 0.3 only changes details. resample: how often
    each stretch of the way is drawn, 1 or more; RePaint takes 10, and the calls of the network grow with it.
    jump: steps in such a stretch; a 25th of the grid when None.
    """

    pixels: Tensor
    mask: Tensor | None = None
    strength: float = 1.0
    resample: int = 1
    jump: int | None = None

    def __post_init__(self) -> None:
        if not 0.0 < self.strength <= 1.0:
            raise ValueError(
                f"strength {self.strength} is outside (0, 1]: 1 starts from noise, 0.3 changes only details"
            )
        if self.resample < 1 or (self.jump is not None and self.jump < 1):
            raise ValueError(f"resample {self.resample} with jump {self.jump}: both are 1 or more, resample 1 is off")
        if self.pixels.ndim != 4 or not torch.isfinite(self.pixels).all():
            raise ValueError(f"init_image {tuple(self.pixels.shape)} must be (b c h w) without NaN or infinite pixels")
        if self.mask is not None:
            _check_mask(self.mask)

    def fitted(self, batch: int, size: tuple[int, int], device: torch.device | str = "cpu") -> InitImage:
        """The same at `size`, float32, one picture and one mask an image: cut about its centre to that shape, then resized.

        A mask of another size than its picture is stretched over it first. Raises ValueError unless there is one picture
        (and mask), or `batch` of them.
        """
        for name, given in (("init_image", self.pixels), ("mask", self.mask)):
            if given is not None and given.shape[0] not in (1, batch):
                raise ValueError(f"{given.shape[0]} pictures in {name} for a batch of {batch}: give one, or {batch}")

        def shaped(image: Tensor) -> Tensor:
            image = fit(image.to(device=device, dtype=torch.float32), size)
            return image.expand(batch, -1, -1, -1).clamp(-1.0, 1.0)

        mask = None if self.mask is None else shaped(resize(self.mask.float(), tuple(self.pixels.shape[-2:])))
        return replace(self, pixels=shaped(self.pixels), mask=mask)


def shown(init: InitImage | None, shape: tuple[int, ...], device: torch.device | str) -> dict[str, Tensor]:
    """What a network that was made to repaint sees of a picture, at `shape` (b c h w): GLIDE, arXiv 2112.10741, section 3.2.

    "known" (b c h w): the pixels that stay, zeros elsewhere. "mask" (b 1 h w): 1 where they stay, 0 elsewhere; such
    networks know no grey, so a soft mask is cut at a half. Nothing stays of what is redrawn as a whole.
    """
    batch, channels, *size = shape
    if init is None or init.mask is None:
        return {name: torch.zeros(batch, c, *size, device=device) for name, c in (("known", channels), ("mask", 1))}
    fitted = init.fitted(batch, tuple(size), device)
    stays = (fitted.mask < 0.5).to(fitted.pixels.dtype)
    return {"known": fitted.pixels * stays, "mask": stays}


def _check_mask(mask: Tensor) -> None:
    if mask.ndim != 4 or mask.shape[1] != 1 or not 0.0 <= mask.min() <= mask.max() <= 1.0:
        raise ValueError(f"mask {tuple(mask.shape)} must be (b 1 h w) with values in [0, 1], 1 where to repaint")
    if mask.max() == 0.0:
        raise ValueError(
            "the mask is black everywhere, so nothing would be repainted: paint white (in ComfyUI's mask editor, paint)"
            " where the picture shall change, or disconnect the mask to redraw all of it"
        )


def sample_from(
    init: InitImage,
    sampler: Sampler,
    denoise: Denoise,
    x_T: Tensor,
    times: Tensor,
    *,
    noise: Noise,
    callback: Callback | None = None,
) -> Tensor:
    """`sampler.sample` from a given picture: x_0 (b c h w), equal to the picture wherever the mask is 0.

    init: fitted to x_T. x_T: unit Gaussian noise. times: the grid of a whole run; what lies above init.strength is left
    out. noise: fresh unit Gaussian noise like x_T. callback counts every call, resampling included.
    """
    times = shortened(times, init.strength, denoise.schedule)
    start = levels(denoise.schedule, times)[0]
    x_t = diffuse(init.pixels, x_T, start.alpha, start.sigma)
    if init.strength == 1.0:
        x_t = x_T if init.mask is None else x_t.lerp(x_T, init.mask)
    if init.mask is not None:
        denoise = KnownRegion(denoise, init.pixels, init.mask, gamma=getattr(sampler, "gamma", 0.0))
    if init.resample == 1:
        return sampler.sample(denoise, x_t, times, noise=noise, callback=callback)
    jump = init.jump or math.ceil(len(times) / STRETCHES)
    return resample(sampler, denoise, x_t, times, rounds=init.resample, jump=jump, noise=noise, callback=callback)


def shortened(times: Tensor, strength: float, schedule: Schedule) -> Tensor:
    """The part of a grid (n,) that starts at t = `strength`: the time nearest to it gives way, later ones stay."""
    if strength >= times[0].item():
        return times
    kept = times[(times - strength).abs().argmin() :].clone()
    kept[0] = strength
    return schedule.snap(kept)


class KnownRegion:
    """`denoise` that knows a part of the picture: outside the mask, x_0 is `pixels` whatever the network says.

    gamma: that of a DDPM without learned variance. Where x_0 is known, only the posterior's own variance is right.
    """

    def __init__(self, denoise: Denoise, pixels: Tensor, mask: Tensor, *, gamma: float = 0.0) -> None:
        self.schedule = denoise.schedule
        self._denoise, self._pixels, self._mask, self._gamma = denoise, pixels, mask, gamma

    def __call__(self, x_t: Tensor, t: Tensor) -> Prediction:
        prediction = self._denoise(x_t, t)
        alpha, sigma = (value.to(x_t.dtype) for value in self.schedule.alpha_sigma(t))
        x_0 = self._pixels.lerp(prediction.x_0, self._mask)
        frac = self._gamma if prediction.variance_frac is None else prediction.variance_frac
        return Prediction(x_0=x_0, eps=x_0_to_eps(x_0, x_t, alpha, sigma), variance_frac=self._mask * frac)


def resample(
    sampler: Sampler,
    denoise: Denoise,
    x_t: Tensor,
    times: Tensor,
    *,
    rounds: int,
    jump: int,
    noise: Noise,
    callback: Callback | None = None,
) -> Tensor:
    """Draw from x_t at times[0], each stretch of `jump` steps `rounds` times over: RePaint's schedule.

    A multistep sampler starts anew with each stretch, as it must, for x_t is another one after the jump back.
    """
    grid = levels(denoise.schedule, times)
    stretches = [slice(i, i + jump + 1) for i in range(0, len(times) - 1, jump)]
    total = rounds * sum(sampler.calls(times[stretch]) - 1 for stretch in stretches) + 1
    denoise = Reported(denoise, callback, total)
    for stretch in stretches:
        for again in range(rounds, 0, -1):
            x_s = sampler.advance(denoise, x_t, grid[stretch], noise)
            t, s = times[stretch][[0, -1]]
            x_t = renoise(x_s, denoise.schedule, s, t, noise()) if again > 1 else x_s
    return denoise(x_t, grid[-1].t).x_0


def renoise(x_s: Tensor, schedule: Schedule, s: Tensor, t: Tensor, noise: Tensor) -> Tensor:
    """q(x_t | x_s) for t > s: alpha_t / alpha_s x_s and as much fresh `noise` as makes the variance sigma_t^2.

    That is sigma_t^2 - (alpha_t / alpha_s)^2 sigma_s^2, RePaint's Eq. 7 over a whole stretch.
    """
    later, earlier = levels(schedule, torch.stack([t, s]))
    kept = later.alpha / earlier.alpha
    return kept * x_s + later.sigma * math.sqrt(-math.expm1(2.0 * (later.lam - earlier.lam))) * noise
