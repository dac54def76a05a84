"""How do our networks live under ComfyUI's memory manager? Imported only under ComfyUI, when a model is loaded.

A layer that ComfyUI can cast keeps its weight on another device until it runs, so that a network larger than the
device's memory runs all the same (--lowvram, --novram); the few other weights are always moved.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Sequence

import torch
from comfy import model_management, ops
from comfy.model_patcher import ModelPatcher
from torch import Tensor, nn

from ...imagen_core import Classifier, Clip, LoadedAdapter, Prior, Stage, T5TextEncoder, movable_weights, thawed
from .castable import castable, fetched_one_by_one, unnoted

CASTABLE = {
    plain: getattr(ops.disable_weight_init, plain.__name__)
    for plain in (nn.Linear, nn.Conv2d, nn.GroupNorm, nn.LayerNorm, nn.Embedding)
}
RUN_BYTES = 16 * 3 * 4  # a pixel of the pictures that a sampling run keeps: x_t, noises, predictions of the last steps
SPARE = 0.7  # of the free memory, what a batch may fill: kernels need work space, and memory lies in pieces


class NetworkPatcher(ModelPatcher):
    """A ModelPatcher for networks that ComfyUI did not build: what it cannot cast is moved, whatever else fits."""

    def load(self, device_to=None, *args, **kwargs):
        super().load(device_to, *args, **kwargs)
        for module in self.model.modules():
            if not hasattr(module, "comfy_cast_weights"):
                module._apply(lambda tensor: tensor.to(device_to), recurse=False)


class WholePatcher(NetworkPatcher):
    """For a network that is differentiated through: it is on the device with every weight, or not at all.

    A weight that ComfyUI casts for a layer lies in memory that the next layer uses again, before the way back reads it.
    """

    def load(self, device_to=None, lowvram_model_memory=0, force_patch_weights=False, full_load=False):
        super().load(device_to, force_patch_weights=force_patch_weights, full_load=True)
        thawed(self.model)  # what was moved while a node ran, in inference mode, autograd would refuse


@dataclasses.dataclass(frozen=True, kw_only=True)
class ManagedStage(Stage):
    """A stage whose weights ComfyUI moves. `patcher` is what the manager's weak reference points at."""

    patcher: ModelPatcher

    @property
    def device(self) -> torch.device:
        """Where it computes: some of its weights may rest elsewhere."""
        return self.patcher.load_device


def managed_stage(stage: Stage) -> ManagedStage:
    """The stage under ComfyUI's memory manager."""
    if isinstance(stage, ManagedStage):
        return stage
    facts = {field.name: getattr(stage, field.name) for field in dataclasses.fields(stage)}
    return ManagedStage(**facts, patcher=_patcher(stage.unet))


def _patcher(network: nn.Module) -> NetworkPatcher:
    offload = model_management.unet_offload_device()
    return NetworkPatcher(castable(unnoted(network), CASTABLE), model_management.get_torch_device(), offload)


@dataclasses.dataclass(frozen=True, kw_only=True)
class ManagedAdapter(LoadedAdapter):
    """A control whose weights ComfyUI moves."""

    patcher: ModelPatcher

    @property
    def device(self) -> torch.device:
        """Where it computes: some of its weights may rest elsewhere."""
        return self.patcher.load_device


def managed_adapter(adapter: LoadedAdapter) -> ManagedAdapter:
    """The control under ComfyUI's memory manager."""
    return ManagedAdapter(network=adapter.network, spec=adapter.spec, patcher=_patcher(adapter.network))


class Managed:
    """A CLIP, classifier or prior whose weights ComfyUI moves. `patcher` is what the manager's weak reference points at."""

    patcher: ModelPatcher

    @property
    def device(self) -> torch.device:
        return self.patcher.load_device

    def to(self, device: torch.device | str):
        """Itself: where it computes is the manager's to say."""
        return self


@dataclasses.dataclass(frozen=True)
class ManagedClip(Managed, Clip):
    patcher: ModelPatcher


@dataclasses.dataclass(frozen=True, kw_only=True)
class ManagedClassifier(Managed, Classifier):
    patcher: ModelPatcher


def managed_measure(model: Clip | Classifier) -> Managed:
    """The CLIP or classifier, whose gradients guide, under ComfyUI's memory manager."""
    kind = ManagedClip if isinstance(model, Clip) else ManagedClassifier
    facts = {field.name: getattr(model, field.name) for field in dataclasses.fields(model)}
    offload = model_management.unet_offload_device()
    patcher = WholePatcher(unnoted(model.network), model_management.get_torch_device(), offload)
    return kind(**facts | {"patcher": patcher})


@dataclasses.dataclass(frozen=True, kw_only=True)
class ManagedPrior(Managed, Prior):
    patcher: ModelPatcher


def managed_prior(prior: Prior) -> ManagedPrior:
    """The prior under ComfyUI's memory manager."""
    facts = {field.name: getattr(prior, field.name) for field in dataclasses.fields(prior)}
    return ManagedPrior(**facts | {"patcher": _patcher(prior.network)})


def loaded_alone(model: Managed, rows: int) -> None:
    """Bring a CLIP or a prior to the device. What one gradient takes of a CLIP is enough to look at as many pictures as
    it has layers.
    """
    needed = rows * model.run_bytes() if isinstance(model, Prior) else model.gradient_bytes()
    model_management.load_models_gpu([model.patcher], memory_required=needed)


def loaded_stage(
    stage: Stage,
    *,
    pictures: int,
    height: int,
    width: int,
    beside: Sequence[Stage | LoadedAdapter | Clip | Classifier] = (),
    tile: int | None = None,
) -> Stage:
    """The stage, its weights on the device as far as they fit beside one picture's work, other models moved away.

    max_rows is set where not all pictures fit at once. What is `beside` it is loaded with it. tile: the most
    pixels of a side that a network sees.
    """
    if not isinstance(stage, ManagedStage):  # made outside of our loaders, and where its maker put it
        return stage
    rows = pictures * (
        2 if stage.reads_text or stage.spec.unet_config.draws_classes else 1
    )  # guidance runs with and without the prompt
    seen = [side if tile is None else min(side, tile) for side in (height, width)]
    one, run = stage.activation_bytes(*seen), pictures * height * width * RUN_BYTES
    run += pictures * sum(other.gradient_bytes() for other in beside if isinstance(other, Managed))
    model_management.load_models_gpu(
        [stage.patcher, *(other.patcher for other in beside if hasattr(other, "patcher"))],
        memory_required=rows * one + run,
        minimum_memory_required=one + run,
    )
    fit = max(1, int(SPARE * (model_management.get_free_memory(stage.device) - run) / one))
    return stage if fit >= rows else dataclasses.replace(stage, max_rows=fit)


class ManagedT5:
    """A T5 that comes to the device when it is called: a prompt that is remembered moves nothing.

    Weights that rest on the disk come from there one by one; for these only room is made.
    """

    def __init__(self, network) -> None:
        self.network, self.patcher = network, None
        network.device = model_management.text_encoder_device()

    @property
    def config(self):
        return self.network.config

    @property
    def device(self) -> torch.device:
        return self.network.device

    @property
    def dtype(self) -> torch.dtype:
        return self.network.dtype

    def __call__(self, batches: Sequence) -> list[Tensor]:
        if self.patcher is None and (weights := movable_weights(self.network)) is not None:
            one_by_one = getattr(weights, "fetched_one_by_one", False)
            module = fetched_one_by_one(weights) if one_by_one else castable(unnoted(weights), CASTABLE)
            self.patcher = NetworkPatcher(module, self.device, model_management.text_encoder_offload_device())
        if self.patcher is None:
            model_management.free_memory(model_management.minimum_inference_memory(), self.device)
        else:
            model_management.load_models_gpu([self.patcher])
        return self.network(batches)


def managed_encoder(encoder: T5TextEncoder) -> T5TextEncoder:
    """The encoder, computing where ComfyUI wants text encoders to, under its memory manager."""
    encoder.network = ManagedT5(encoder.network)
    return encoder
