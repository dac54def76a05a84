"""How do GGUF's quantised blocks become numbers, on the device they lie on? (ggml's formats, for torch.)

The gguf package does it for every format, in numpy, on one core of the CPU; these are the formats T5 files come in, for
a GPU too. Each function takes blocks (n, bytes a block) uint8 and gives (n, weights a block) float32.

Shapes: n blocks; s sub-blocks of a K block (256 weights).
"""

from __future__ import annotations

from collections.abc import Callable

import torch
from torch import Tensor

AT_ONCE = 2**20  # weights: on a CPU the work space then stays in its cache


def _half(raw: Tensor) -> Tensor:
    return raw.contiguous().view(torch.float16).float()


def _nibbles(raw: Tensor) -> Tensor:
    """(..., k) bytes as (..., 2, k): all low nibbles, then all high ones."""
    return torch.stack([raw & 15, raw >> 4], -2)


def _q8_0(blocks: Tensor) -> Tensor:
    return _half(blocks[:, :2]) * blocks[:, 2:].view(torch.int8).float()


def _q4_0(blocks: Tensor) -> Tensor:
    return _half(blocks[:, :2]) * (_nibbles(blocks[:, 2:]).flatten(1).float() - 8)


def _q5_0(blocks: Tensor) -> Tensor:
    levels = _nibbles(blocks[:, 6:]).flatten(1) | _bits(blocks[:, 2:6]).flatten(1) << 4
    return _half(blocks[:, :2]) * (levels.float() - 16)


def _bits(raw: Tensor) -> Tensor:
    """(n, k) bytes as (n, k, 8) bits, the lowest first."""
    return raw[..., None] >> torch.arange(8, dtype=torch.uint8, device=raw.device) & 1


def _k_scales(blocks: Tensor) -> tuple[Tensor, Tensor]:
    """Scale and offset of each sub-block (n, 8, 1), unpacked from 12 bytes of 6-bit numbers: weight = scale q - offset."""
    packed = blocks[:, 4:16].unflatten(1, (3, 4))
    first, second, rest = packed.unbind(1)
    scale = torch.cat([first & 63, rest & 15 | first >> 6 << 4], 1).float()
    offset = torch.cat([second & 63, rest >> 4 | second >> 6 << 4], 1).float()
    return (_half(blocks[:, :2]) * scale)[..., None], (_half(blocks[:, 2:4]) * offset)[..., None]


def _q4_k(blocks: Tensor) -> Tensor:
    scale, offset = _k_scales(blocks)
    levels = _nibbles(blocks[:, 16:].unflatten(1, (4, 32))).flatten(1, 2)  # n s 32
    return (scale * levels.float() - offset).flatten(1)


def _q5_k(blocks: Tensor) -> Tensor:
    scale, offset = _k_scales(blocks)
    fifth = _bits(blocks[:, 16:48]).movedim(2, 1)  # n s 32: bit s of each byte is sub-block s's
    levels = _nibbles(blocks[:, 48:].unflatten(1, (4, 32))).flatten(1, 2) | fifth << 4
    return (scale * levels.float() - offset).flatten(1)


def _q6_k(blocks: Tensor) -> Tensor:
    low = _nibbles(blocks[:, :128].unflatten(1, (2, 64))).flatten(2).unflatten(2, (4, 32))  # n 2 4 32
    shifts = torch.arange(0, 8, 2, dtype=torch.uint8, device=blocks.device)[:, None]
    high = blocks[:, 128:192].unflatten(1, (2, 1, 32)) >> shifts & 3  # n 2 4 32
    levels = ((low | high << 4).float() - 32).flatten(1).unflatten(1, (16, 16))
    scale = _half(blocks[:, 208:]) * blocks[:, 192:208].contiguous().view(torch.int8).float()  # n 16
    return (scale[..., None] * levels).flatten(1)


_FORMATS: dict[int, tuple[Callable[[Tensor], Tensor], int, int]] = {  # by ggml type: bytes and weights of a block
    2: (_q4_0, 18, 32),
    6: (_q5_0, 22, 32),
    8: (_q8_0, 34, 32),
    12: (_q4_k, 144, 256),
    13: (_q5_k, 176, 256),
    14: (_q6_k, 210, 256),
}


def dequantise(stored: Tensor, kind: int, dtype: torch.dtype) -> Tensor:
    """(rows, bytes a row) uint8 as (rows, columns) of `dtype`, on the same device.

    kind: a ggml type. One that is not here goes through the gguf package, on the CPU.
    """
    if kind not in _FORMATS:
        from gguf import GGMLQuantizationType
        from gguf import dequantize as by_package

        values = by_package(stored.cpu().numpy(), GGMLQuantizationType(kind))
        return torch.from_numpy(values).to(stored.device, dtype)
    convert, size, weights = _FORMATS[kind]
    blocks = stored.view(-1, size)
    values = torch.empty(len(blocks), weights, dtype=dtype, device=stored.device)
    step = len(blocks) if stored.is_cuda else max(AT_ONCE // weights, 1)
    for start in range(0, len(blocks), step):
        values[start : start + step] = convert(blocks[start : start + step])
    return values.view(len(stored), -1)
