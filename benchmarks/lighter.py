"""What do bfloat16 and eight bits change? Seconds of the CPU and the difference, of a real layer group and of pictures.

    python benchmarks/lighter.py            # one level of DeepFloyd IF's I-XL (random weights) and imagen-mini's things64

Each row says how it compares with the first of its table. CPU units: whether this CPU multiplies in bfloat16 natively.
"""

from __future__ import annotations

import argparse
import sys
import time
from collections.abc import Callable
from pathlib import Path

import torch
from torch import Tensor, nn

ROOT = Path(__file__).resolve().parents[1]
sys.path.insert(0, str(ROOT))

from imagen_core import Draw, load_stage, load_text_encoder, sample_base  # noqa: E402
from imagen_core.eight_bits import in_eight_bits  # noqa: E402
from imagen_core.prompts import Prompt  # noqa: E402

MINI = ROOT / "models" / "imagen-mini"
PROMPTS = ["a 3D emoji of a parrot", "a 3D emoji of a red apple on a blue background"]
KINDS = (("float32", False), ("bfloat16", False), ("float32", True), ("bfloat16", True))
WIDTH = 2816  # of I-XL's coarsest level, 8x8 positions of a 64 px picture


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--width", type=int, default=WIDTH, help="channels of the layer group (default: %(default)s)")
    parser.add_argument("--side", type=int, default=8, help="positions a side (default: %(default)s)")
    parser.add_argument("--steps", type=int, default=20, help="of things64 (default: %(default)s)")
    args = parser.parse_args()
    torch.set_num_threads(1)
    units = {name: bool(getattr(torch.cpu, f"_is_{name}_supported", bool)()) for name in ("avx512_bf16", "amx_tile")}
    print(f"torch {torch.__version__}, {units}")
    table("a convolution and a linear layer as wide as I-XL's coarsest level", group_runs(args.width, args.side))
    table(f"things64, {args.steps} guided steps", things_runs(args.steps))


def table(title: str, runs: list[tuple[str, float, Callable[[], Tensor]]]) -> None:
    print(f"\n{title}\n\n| kind | MiB of weights | CPU s | times the first | rms difference of the output's |")
    print("| --- | ---: | ---: | ---: | ---: |")
    first = None
    for name, mib, run in runs:
        run()
        began = time.process_time()
        found = run().float()
        spent = time.process_time() - began
        first = first or (spent, found)
        error = (found - first[1]).norm() / first[1].norm()
        print(f"| {name} | {mib:.1f} | {spent:.3f} | {spent / first[0]:.2f} | {error:.4f} |", flush=True)


@torch.inference_mode()
def group_runs(width: int, side: int) -> list[tuple[str, float, Callable[[], Tensor]]]:
    torch.manual_seed(0)
    x = torch.randn(2, width, side, side).to(memory_format=torch.channels_last)
    weights = [torch.randn(width, width, 3, 3) * (9 * width) ** -0.5, torch.randn(width, width) * width**-0.5]

    def made(dtype: torch.dtype, eight_bits: bool) -> nn.ModuleList:
        with torch.device("meta"):
            layers = nn.ModuleList([nn.Conv2d(width, width, 3, padding=1), nn.Linear(width, width)])
        for layer, weight in zip(layers, weights, strict=True):
            layer.weight, layer.bias = (nn.Parameter(each.to(dtype)) for each in (weight, torch.zeros(width)))
        layers.requires_grad_(False).to(memory_format=torch.channels_last)
        return in_eight_bits(layers, dtype) if eight_bits else layers

    def run(layers: nn.ModuleList, dtype: torch.dtype) -> Tensor:
        with torch.inference_mode():
            return layers[1](layers[0](x.to(dtype)).flatten(2).mT)

    runs = []
    for name, eight_bits in KINDS:
        dtype = getattr(torch, name)
        layers = made(dtype, eight_bits)
        runs.append((_label(name, eight_bits), _mib(layers), lambda layers=layers, dtype=dtype: run(layers, dtype)))
    return runs


def things_runs(steps: int) -> list[tuple[str, float, Callable[[], Tensor]]]:
    text = Prompt(text=load_text_encoder(MINI / "things_text_encoder").encode(PROMPTS))
    draw = Draw(seeds=range(len(PROMPTS)), steps=steps)
    runs = []
    for name, eight_bits in KINDS:
        stage = load_stage(MINI / "things64.safetensors", dtype=getattr(torch, name), eight_bits=eight_bits)
        runs.append((_label(name, eight_bits), _mib(stage.unet), lambda stage=stage: sample_base(stage, text, draw)))
    return runs


def _label(name: str, eight_bits: bool) -> str:
    return f"int8, computed in {name}" if eight_bits else name


def _mib(network: nn.Module) -> float:
    return sum(tensor.nbytes for tensor in network.state_dict().values()) / 2**20


if __name__ == "__main__":
    main()
