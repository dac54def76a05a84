"""How much memory does each stage of DeepFloyd IF take, and what fits on which card? Computed, not measured.

    python benchmarks/if_memory.py

Weights are counted, and activations are the most bytes alive at once in a forward pass of both rows of a guided step
(`imagen_core.activation_memory`); what a device's libraries, its context and fragmentation take comes on top, for which
MARGIN is set aside. Stages are offloaded: one is on the card at a time.
"""

from __future__ import annotations

import sys
from pathlib import Path

import torch
from if_networks import SIZES, parameters, settings

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

from imagen_core.activation_memory import activation_bytes
from imagen_core.checkpoints.deepfloyd_config import config_from_diffusers
from imagen_core.unets import build_unet

CARDS = (6, 8, 12, 24)  # GB as sold: 2^30 bytes each
MARGIN = 0.8  # GiB
GIB = 2**30


def main() -> None:
    print("| stage | picture | M parameters | weights, fp16 | activations of a guided step | together | fits |")
    print("| --- | --- | --- | --- | --- | --- | --- |")
    for size in ("I-M", "I-L", "I-XL", "II-M", "II-L"):
        second = SIZES[size][0] == 2
        config = config_from_diffusers(settings(size))
        with torch.device("meta"):
            count = parameters(build_unet(config))
        for side in (256,) if second else (64, 128):
            row = activation_bytes(config, side, side, dtype=torch.float16)
            weights, activations = 2 * count / GIB, 2 * row / GIB
            cells = [
                size,
                f"{side} px",
                f"{count / 1e6:,.0f}",
                gib(weights),
                gib(activations),
                gib(weights + activations),
            ]
            print("| " + " | ".join([*cells, verdict(weights, activations)]) + " |")


def gib(value: float) -> str:
    return f"{value:.2f} GiB"


def verdict(weights: float, activations: float) -> str:
    """The smallest card that holds a stage whole, and what a smaller one must leave in main memory."""
    whole = next((card for card in CARDS if weights + activations + MARGIN <= card), None)
    short = [
        f"{card} GB with {weights - left:.1f} GiB of weights streamed"
        for card in CARDS
        if (whole is None or card < whole) and (left := card - MARGIN - activations) > 0
    ]
    return "; ".join([f"{whole} GB whole" if whole else "none whole", *short])


if __name__ == "__main__":
    main()
