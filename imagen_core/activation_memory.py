"""How many bytes does a network need for one picture, besides its weights?

The network's forward pass runs on the meta device, where tensors have shapes and no contents, and the bytes alive at
any moment are counted. That holds for every network, takes a fraction of a second and touches no memory.
"""

from __future__ import annotations

import weakref
from collections.abc import Callable, Iterable
from functools import lru_cache

import torch
from torch import Tensor, nn
from torch.nn import functional as F
from torch.overrides import TorchFunctionMode
from torch.utils._python_dispatch import TorchDispatchMode

from .conditioning import Signals, TextEmbeds
from .unets import UNetConfig, build_unet

TEXT_TOKENS = 77  # of the prompt that is counted with: longer ones weigh little beside the pictures


@lru_cache(maxsize=64)
def activation_bytes(config: UNetConfig, height: int, width: int, *, dtype: torch.dtype) -> int:
    """The most bytes that one picture's forward pass holds at once, its input and output included, its weights not.

    config: the network's, frozen.
    """
    # With gradients on, encode_text reads no mask, which on the meta device nobody could.
    with torch.inference_mode(False), torch.enable_grad(), torch.device("meta"):
        network = build_unet(config).to(dtype).eval().requires_grad_(False)
        x_t = torch.empty(1, config.in_channels, height, width, dtype=dtype)
        shown = {"pixels": torch.empty(1, config.pixel_channels, height, width, dtype=dtype)}
        told = Signals(**shown, aug_level=torch.empty(1)) if config.pixel_channels else Signals()
        if config.text_embed_dim is not None:
            told = told + network.encode_text(_text(config, dtype))
        if "image_embed" in config.inputs:
            told = told + network.encode_image(torch.empty(1, config.image_embed_dim))
        if config.draws_classes:
            told = told + (network.encode_class() if config.null_class else network.encode_class(torch.zeros(1).long()))
        weights = [*network.parameters(), *network.buffers()]
        with torch.no_grad(), _LinearAttention(), _LiveBytes(besides=weights) as live:
            network(x_t, torch.empty(1), told)
    return live.most + 2 * x_t.nbytes


def gradient_bytes(build: Callable[[], nn.Module], *shapes: tuple[int, ...]) -> int:
    """The most bytes held while a network is differentiated through in its input, its weights not counted.

    build: makes the network, on the meta device. shapes: of what it is called with, the picture (1 c h w) first. Every
    layer's output is alive at the end of the way there, and tables of all pairs count, which some devices make.
    """
    with torch.inference_mode(False), torch.enable_grad(), torch.device("meta"):
        network = build().eval().requires_grad_(False)
        picture, *others = (torch.empty(shape) for shape in shapes)
        weights = [*network.parameters(), *network.buffers()]
        with _LiveBytes(besides=weights) as live:
            network(picture.requires_grad_(), *others)
    return live.most + 2 * picture.nbytes


def _text(config: UNetConfig, dtype: torch.dtype) -> TextEmbeds:
    dim, length = config.text_embed_dim, config.text_length or TEXT_TOKENS
    return TextEmbeds(
        embeds=torch.empty(1, length, dim, dtype=dtype),
        mask=torch.ones(1, length, dtype=torch.bool),
        pooled=torch.empty(1, getattr(config, "image_embed_dim", dim), dtype=dtype),
    )


class _LiveBytes(TorchDispatchMode):
    """Counts the bytes of storages met while it is active, `now` alive and `most` alive at once, `besides` given ones."""

    def __init__(self, besides: Iterable[Tensor]) -> None:
        super().__init__()
        self.now = self.most = 0
        self._known = weakref.WeakSet(tensor.untyped_storage() for tensor in besides)

    def __torch_dispatch__(self, func, types, args=(), kwargs=None):
        result = func(*args, **(kwargs or {}))
        for tensor in result if isinstance(result, (tuple, list)) else (result,):
            if isinstance(tensor, Tensor):
                self._count(tensor.untyped_storage())
        return result

    def _count(self, storage: torch.UntypedStorage) -> None:
        if storage in self._known:
            return
        self._known.add(storage)
        size = storage.nbytes()
        self.now += size
        self.most = max(self.most, self.now)
        weakref.finalize(storage, self._drop, size)

    def _drop(self, size: int) -> None:
        self.now -= size


class _LinearAttention(TorchFunctionMode):
    """Attention as devices compute it: no table of all pairs, which the meta device's stand-in would make."""

    def __torch_function__(self, func, types, args=(), kwargs=None):
        if func is F.scaled_dot_product_attention:
            query, value = args[0], args[2]
            return query.new_empty(*query.shape[:-1], value.shape[-1])
        return func(*args, **(kwargs or {}))
