"""Which half-precision numbers does a CPU compute with by itself? Others it imitates, slower than it computes in float32."""

from __future__ import annotations

import platform
import warnings

import torch

X86 = ("x86_64", "amd64")  # what CPUs are called of which torch knows what they compute in half precision


def has_bfloat16_units() -> bool:
    """Whether this CPU multiplies bfloat16 itself (avx512_bf16, which CPUs with AMX have too); others only imitate it."""
    known = getattr(torch.cpu, "_is_avx512_bf16_supported", None)  # since torch 2.6
    return known is not None and known()


def has_float16_units() -> bool:
    """Whether this CPU multiplies float16 itself."""
    known = getattr(torch.cpu, "get_capabilities", None)  # in torch 2.13, and not in 2.6
    return known is not None and any(known().get(unit) for unit in ("avx512_fp16", "amx_fp16"))


def warn_where_imitated(dtype: torch.dtype, device: torch.device | str) -> None:
    """A UserWarning where a CPU is asked for half precision that it only imitates; of ARM's it is not known.

    imagen-mini's networks took 4 to 5 times as long so as in float32, and training 17 times (an EPYC without AVX-512).
    """
    own = {torch.bfloat16: has_bfloat16_units, torch.float16: has_float16_units}.get(dtype)
    on_cpu = torch.device(device).type == "cpu" and platform.machine().lower() in X86
    if own is not None and on_cpu and not own():
        name = str(dtype).removeprefix("torch.")
        warnings.warn(
            f"this CPU only imitates {name}, several times slower than it computes in float32: choose float32, unless it "
            "is for the memory",
            stacklevel=3,
        )
