"""How does an adapter steer a network while it samples? It is told once, asked at every call, weighed, and added.

Shapes: b images, c h w a feature map, m transformer positions.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import Tensor, nn

from .conditioning import Signals, Tokens, Window
from .progress import check_interval, strength_at
from .super_resolution import on_grid, resize


@dataclass(frozen=True, kw_only=True)
class Steering:
    """One adapter in one run; joins, repeats and slices along the batch with the signals that it lies in."""

    adapter: nn.Module  # at(x_t, time, told) -> Signals
    told: Signals  # what the adapter said of its hint and prompt, once for all calls
    strength: Tensor  # (b,), by which what it says is multiplied
    feature_strength: Tensor | None = None  # (b,), by which features are in its place; None: by the same
    mask: Tensor | None = None  # (b 1 h w) in [0, 1]: where it steers
    start: float = 0.0  # the part of the way from noise (0) to picture (1) on which it steers
    end: float = 1.0
    curve: str = "constant"  # see `strength_at`

    def __post_init__(self) -> None:
        check_interval(self.start, self.end)

    def at_times(self, times: Sequence[float]) -> Steering | None:
        """The same as strong as it is at `times`, one for all images or one an image; None where it is off for all."""
        factors = [strength_at(1.0 - t, self.start, self.end, self.curve) for t in times]
        if not any(factors):
            return None
        if set(factors) == {1.0}:
            return self
        each = torch.tensor(factors, device=self.strength.device, dtype=self.strength.dtype)
        each = each.repeat(len(self.strength) // len(each))
        features = None if self.feature_strength is None else self.feature_strength * each
        return dataclasses.replace(self, strength=self.strength * each, feature_strength=features)

    def cropped(self, window: Window) -> Steering:
        """The same where only a part of the picture is drawn."""
        mask = None if self.mask is None else window.of(self.mask)
        return dataclasses.replace(self, told=self.told.cropped(window), mask=mask)

    def signals(self, x_t: Tensor, time: Tensor) -> Signals:
        """What is added at this call, for x_t (b c h w) and time (b,)."""
        said = self.adapter.at(x_t, time, self.told)
        return Signals(
            features={name: self._weighed(feature) for name, feature in said.features.items()},
            beside=tuple(self._lighter(tokens) for tokens in said.beside),
            vector=self._beside_time(said),
        )

    def _beside_time(self, said: Signals) -> Tensor | None:
        """What goes beside the time (b e) reaches every place alike, and so nothing does where a mask says where."""
        if said.vector is None or self.mask is not None:
            return None
        strength = self.strength.clamp(max=1.0) if _stands_in(said) else self.strength
        return strength.view(-1, 1) * said.vector

    def _weighed(self, feature: Tensor) -> Tensor:
        """In float32, in which several strong controls of a network in float16 add up without overflowing."""
        strength = self.strength if self.feature_strength is None else self.feature_strength
        weight = strength.float().view(-1, *[1] * (feature.ndim - 1))
        if self.mask is not None:
            weight = weight * self._mask_for(feature)
        return feature.float() * weight

    def _mask_for(self, feature: Tensor) -> Tensor:
        """The mask over a feature's positions: (b 1 h w) of a map, (b m 1) of positions in a row."""
        if feature.ndim == 4:
            return resize(self.mask, tuple(feature.shape[-2:]))
        return on_grid(self.mask, feature.shape[1])

    def _lighter(self, tokens: Tokens) -> Tokens:
        weight = self.strength.view(-1, 1, 1, 1) * tokens.weight
        return dataclasses.replace(tokens, weight=weight.to(tokens.keys_values[0][0].dtype), where=self.mask)


def in_force(told: Signals, times: Sequence[float]) -> Signals:
    """The same with only the steering that is on at `times`; itself where nothing steers."""
    if not told.steering:
        return told
    steering = (each.at_times(times) for each in told.steering)
    return dataclasses.replace(told, steering=tuple(each for each in steering if each is not None))


class Steered(nn.Module):
    """network(x_t, time, told), with what `told.steering` adds at this call; without any, the network as it is."""

    def __init__(self, network: nn.Module) -> None:
        super().__init__()
        self.network = network

    def forward(self, x_t: Tensor, time: Tensor, told: Signals) -> Tensor:
        steering, told = told.steering, dataclasses.replace(told, steering=()) if told.steering else told
        for said in _sharing([each.signals(x_t, time) for each in steering]):
            told = told + said
        return self.network(x_t, time, told)


def _stands_in(said: Signals) -> bool:
    """Whether this is read in the prompt's place."""
    return any(tokens.instead for tokens in said.beside)


def _sharing(said: list[Signals]) -> list[Signals]:
    """The same; of several that are read in the prompt's place, the vectors share it as their tokens do."""
    each = [signals.vector is not None and _stands_in(signals) for signals in said]
    if sum(each) < 2:
        return said
    shares = [_share(signals) for signals, stands_in in zip(said, each, strict=True) if stands_in]
    whole = sum(shares).clamp(min=1.0)  # b 1
    return [
        dataclasses.replace(signals, vector=signals.vector / whole) if stands_in else signals
        for signals, stands_in in zip(said, each, strict=True)
    ]


def _share(said: Signals) -> Tensor:
    """How much of the prompt's place it takes, in [0, 1]: (b 1)."""
    return sum(tokens.weight for tokens in said.beside if tokens.instead).clamp(0.0, 1.0).view(-1, 1)
