"""Is what a CPU computes with by itself told from what it imitates, and is who asks for the latter told so?"""

from __future__ import annotations

import warnings
from pathlib import Path

import pytest
import torch

from imagen_core.half_precision import has_bfloat16_units, has_float16_units, warn_where_imitated

CPU = Path("/proc/cpuinfo")


@pytest.mark.skipif(not CPU.exists(), reason="asks Linux what the CPU has")
def test_torch_knows_the_units_that_the_cpu_has():
    """We lean on names of torch's that it does not publish."""
    has = CPU.read_text()
    assert has_bfloat16_units() == ("avx512_bf16" in has)
    if hasattr(torch.cpu, "get_capabilities"):
        assert has_float16_units() == any(unit in has for unit in ("avx512_fp16", "amx_fp16"))


@pytest.mark.parametrize("dtype", [torch.bfloat16, torch.float16])
@pytest.mark.parametrize("machine, units", [("x86_64", True), ("x86_64", False), ("aarch64", False)])
def test_a_cpu_that_imitates_half_precision_is_warned_of_and_nothing_else(dtype, machine, units, monkeypatch):
    monkeypatch.setattr(torch.cpu, "_is_avx512_bf16_supported", lambda: units, raising=False)
    monkeypatch.setattr(torch.cpu, "get_capabilities", lambda: {"avx512_fp16": units}, raising=False)
    monkeypatch.setattr("platform.machine", lambda: machine)
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        warn_where_imitated(torch.float32, "cpu")
        warn_where_imitated(dtype, "cuda")
        assert not caught
        warn_where_imitated(dtype, "cpu")
    told, imitated = [str(warning.message) for warning in caught], machine == "x86_64" and not units
    assert [f"only imitates {str(dtype)[6:]}, several times slower" in text for text in told] == [True] * imitated
