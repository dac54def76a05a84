"""How does one of our controls steer a native MODEL? As a CONTROL_NET of ComfyUI's own, which its nodes apply and chain.

ComfyUI asks such an object at every call what it adds; ours hands on what our own sampler would add there, with its mask,
curve and null branch. Imported only under ComfyUI, when a control is joined to such a model.
Shapes: b images, n conditions in one pass, c h w a picture.
"""

from __future__ import annotations

import dataclasses
import weakref
from collections.abc import Sequence
from typing import Any

import torch
from comfy.controlnet import ControlBase
from torch import Tensor

from ...imagen_core import Control, LoadedAdapter, Steering, joined, mapped, part_of, sigma_ve_to_t

BRANCHES = {1: "null"}  # of ComfyUI's numbers of conditions; all others are asked for
FOREIGN_CONTROL = (
    "ControlNets of ComfyUI's own (Load ControlNet Model) were made for other networks than Imagen's: connect Imagen To "
    "ControlNet instead, with a control that was trained for this stage"
)
FOREIGN_MODEL = (
    "this control was trained for an Imagen stage, and the MODEL is none: connect the model of Imagen To Model, or a "
    "ControlNet that was made for this model"
)


class ImagenControlNet(ControlBase):
    """One of our controls or image prompts; ComfyUI's nodes copy it and set hint, strength and percents."""

    def __init__(self, control: Control) -> None:
        super().__init__()
        self.control = control  # with the hint that it has until a node of ComfyUI's sets one
        self.strength = control.strength
        self.timestep_percent_range = (control.start, control.end)
        self._model = None  # in a run, a weak reference to the native model
        self._said: dict[tuple, Steering] = {}  # in a run, by conditions and shape

    def copy(self) -> ImagenControlNet:
        copied = ImagenControlNet(self.control)
        self.copy_to(copied)
        return copied

    def asked(self) -> Control:
        """The control with what ComfyUI's nodes have set."""
        start, end = self.timestep_percent_range
        hint = self.control.picture if self.cond_hint_original is None else self.cond_hint_original * 2.0 - 1.0
        return dataclasses.replace(self.control, picture=hint, strength=self.strength, start=start, end=end)

    def get_models(self) -> list:
        """What ComfyUI's memory manager loads beside the model."""
        adapter = self.control.adapter
        return [*super().get_models(), *([adapter.patcher] if hasattr(adapter, "patcher") else [])]

    def pre_run(self, model, percent_to_timestep_function) -> None:
        if not hasattr(model, "conditions"):
            raise ValueError(FOREIGN_MODEL)
        super().pre_run(model, percent_to_timestep_function)
        self._model = weakref.ref(model)
        self._said.clear()

    def cleanup(self) -> None:
        super().cleanup()
        self._model = None
        self._said.clear()

    def get_control(
        self, x_noisy: Tensor, t: Tensor, cond: dict, batched_number: int, transformer_options: dict
    ) -> tuple[Steering, ...] | None:
        """What steers at sigma_ve = t, for x_noisy (n*b c h w): of the controls before this one, and of this one."""
        previous = self.previous_controlnet
        before = previous and previous.get_control(x_noisy, t, cond, batched_number, transformer_options)
        if not dataclasses.replace(self.control, strength=self.strength).works:
            return before
        model = self._model()
        said = self._steering(model, x_noisy, cond, transformer_options)
        now = said.at_times([float(sigma_ve_to_t(model.stage.schedule, t[:1].double().cpu()))])
        return before if now is None else (*(before or ()), now)

    def _steering(self, model, x: Tensor, cond: dict, options: dict) -> Steering:
        """The same at every call with the same conditions, which ComfyUI numbers."""
        key = (*options["uuids"], *options["cond_or_uncond"], *x.shape)
        if key not in self._said:
            branches = [BRANCHES.get(number, "cond") for number in options["cond_or_uncond"]]
            self._said[key] = mapped(lambda tensor: tensor.to(x.device), self._of_rows(model, x, cond, branches))
        return self._said[key]

    def _of_rows(self, model, x: Tensor, cond: dict, branches: Sequence[str]) -> Steering:
        """Of each condition's rows what our own sampler has for its branch."""
        control, batch, size = self.asked(), len(x) // len(branches), tuple(x.shape[-2:])
        text, told = model.conditions(x, cond)
        each = []
        for i, branch in enumerate(branches):
            rows = slice(i * batch, (i + 1) * batch)
            texts = {} if text is None else {branch: part_of(text, rows)}
            each.append(control.steering(model.stage, texts, {branch: part_of(told, rows)}, batch, size)[branch])
        return joined(each)


def check_ours(control: ControlBase | None) -> None:
    """ValueError where a control, or one chained before it, is none of ours."""
    while control is not None:
        if not isinstance(control, ImagenControlNet):
            raise ValueError(FOREIGN_CONTROL)
        control = control.previous_controlnet


def chained(controls: Sequence[Control]) -> ImagenControlNet | None:
    """The controls as one of ComfyUI's chains; None without any."""
    chain = None
    for control in controls:
        chain = ImagenControlNet(control).set_previous_controlnet(chain)
    return chain


def without_hint(adapter: LoadedAdapter, **settings: Any) -> ImagenControlNet:
    """An adapter with settings of `Control`, to which one of ComfyUI's nodes gives its hint."""
    return ImagenControlNet(Control(adapter=adapter, picture=torch.zeros(1, 3, 1, 1), **settings))
