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
from imagen_core.eight_bits import eight_bit_layers, in_eight_bits
from imagen_core.unets import build_unet

CARDS = (6, 8, 12, 24)  # GB as sold: 2^30 bytes each
MARGIN = 0.8  # GiB
GIB = 2**30


def main() -> None:
    print("| stage | picture | weights | M parameters | weights | activations of a guided step | together | fits |")
    print("| --- | --- | --- | --- | --- | --- | --- | --- |")
    for size in ("I-M", "I-L", "I-XL", "II-M", "II-L"):
        second = SIZES[size][0] == 2
        config = config_from_diffusers(settings(size))
        for kept in ("fp16", "int8"):
            weights = weight_gib(config, kept)
            for side in (256,) if second else (64, 128):
                activations = 2 * activation_bytes(config, side, side, dtype=torch.float16) / GIB
                cells = [size, f"{side} px", kept, f"{count_of(config) / 1e6:,.0f}", gib(weights), gib(activations)]
                print("| " + " | ".join([*cells, gib(weights + activations), verdict(weights, activations)]) + " |")


def count_of(config) -> int:
    with torch.device("meta"):
        return parameters(build_unet(config))


def weight_gib(config, kept: str) -> float:
    """What the weights take: all as fp16, or the large ones as int8 and the largest of them, brought to fp16, besides."""
    with torch.device("meta"):
        network = build_unet(config).half()
    largest = 0
    if kept == "int8":
        layers = eight_bit_layers(in_eight_bits(network, torch.float16)).values()
        largest = 2 * max(layer.weight.numel() for layer in layers)
    return (sum(tensor.nbytes for tensor in network.state_dict().values()) + largest) / GIB


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
