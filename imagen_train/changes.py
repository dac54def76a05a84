"""How is a network learned as a change of another, so that its file is small? By low-rank factors.

A large layer's weight is the base's, frozen, and a product that learns (LoRA: arXiv 2106.09685, section 4.1). Whatever else
the network has learns as it is: stems that grew, biases, norms, small layers. The saved state holds what learns, no base.
"""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

import torch
from torch import Tensor, nn

from imagen_core import LoraSettings, StageSpec, fingerprint, load_stage
from imagen_core.checkpoints.readers.change import Change, Factors, Learned, read_change
from imagen_core.fingerprint import Fingerprint, check_same
from imagen_core.lora.fitting import LowRankLayer, layers_to_change

from .options import TrainOptions

BASE_MARK = "base.json"  # in the state's folder: the fingerprint of what the run changes


class Changed:
    """A layer whose weight is what it was, and a product of low rank that learns."""

    change: LowRankLayer
    before: Tensor

    @property
    def weight(self) -> Tensor:
        """(o i) or (o i k k), made anew wherever it is asked for."""
        with torch.autocast(self.before.device.type, enabled=False):
            product = self.change.up.flatten(1) @ self.change.down.flatten(1)  # o i*k*k
        return self.before + product.view(self.before.shape)


class ChangedLinear(Changed, nn.Linear):
    """A linear layer that is changed."""


class ChangedConv2d(Changed, nn.Conv2d):
    """A convolution that is changed."""


KINDS: dict[type[nn.Module], type[nn.Module]] = {nn.Linear: ChangedLinear, nn.Conv2d: ChangedConv2d}


def as_change(network: nn.Module, base: Mapping[str, Tensor], lora_rank: int, *, seed: int = 0) -> nn.Module:
    """The same network, whose large layers learn by factors where their shape is the base's; returns it."""
    generator = torch.Generator().manual_seed(seed)
    for name, layer in layers_to_change(network, LoraSettings(rank=lora_rank)).items():
        there = base.get(f"{name}.weight")
        if type(layer) in KINDS and there is not None and there.shape == layer.weight.shape:
            change = LowRankLayer(layer, lora_rank, generator)
            weight = layer._parameters.pop("weight")
            layer.__class__ = KINDS[type(layer)]
            layer.register_buffer("before", weight.detach(), persistent=False)
            layer.change = change
    return network


def changed_layers(network: nn.Module) -> dict[str, Changed]:
    """Those that learn by factors, by name."""
    return {name: layer for name, layer in network.named_modules() if isinstance(layer, Changed)}


def go_on_from(network: nn.Module, before: Learned) -> None:
    """Begin a changed network as a change that was kept before. ValueError for one of another rank or network."""
    state = dict(before.whole)
    for name, (up, down) in before.factors.items():
        state |= {f"{name}.change.up": up.view(*up.shape, *[1] * (down.ndim - 2)), f"{name}.change.down": down}
    try:
        network.load_state_dict(state)
    except RuntimeError as error:
        first = " ".join(str(error).split())[:200]
        raise ValueError(f"the change to begin from is of another rank, or of another network: {first}") from error


def learned_of(network: nn.Module) -> Learned:
    """What a network has learned beside its base."""
    layers = changed_layers(network)
    learned = tuple(f"{name}.change." for name in layers)
    return Learned(
        factors={name: Factors(layer.change.up.flatten(1), layer.change.down) for name, layer in layers.items()},
        whole={key: tensor for key, tensor in network.state_dict().items() if not key.startswith(learned)},
    )


def change_of(network: nn.Module, base: Path, spec: StageSpec) -> Change:
    """What a network has learned beside the stage at `base`."""
    return Change(spec=spec, base=base.name, fingerprint=fingerprint(load_stage(base)), learned=learned_of(network))


def base_of(options: TrainOptions) -> tuple[Path, Change | None]:
    """What a run changes, and the change that it goes on from, where `--from-weights` is one. ValueError: it names none."""
    given = options.from_weights
    if given is None:
        raise ValueError("what is learned is a change of a stage, and none is there: name one with --from-weights")
    before = read_change(given)
    return (given, None) if before is None else (given.parent / before.base, before)


def check_beside(base: Path, folder: Path) -> None:
    """ValueError where what is written to `folder` could not be read beside its base."""
    if not (folder / base.name).is_file():
        raise ValueError(
            f"what is learned is kept as a change of {base.name} and read beside it, and {folder} has none: put it there, "
            "or name its folder with --models-dir"
        )


def check_base(base: Path, options: TrainOptions) -> None:
    """ValueError where a file in the models folder could not be read beside its base, or a run goes on with another one.

    The first run in a state's folder leaves the mark there that later ones are held to.
    """
    if options.export:
        check_beside(base, options.models_dir)
    found, mark = fingerprint(load_stage(base)), options.state_dir / BASE_MARK
    if not (options.resume and mark.is_file()):
        options.state_dir.mkdir(parents=True, exist_ok=True)
        mark.write_text(found.to_json(), encoding="utf-8")
        return
    try:
        check_same(Fingerprint.from_json(mark.read_text(encoding="utf-8"), mark), found, "this run")
    except ValueError as error:
        raise ValueError(f"{options.state_dir} holds a change of another stage than {base}: {error}") from error
