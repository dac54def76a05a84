"""Which DeepFloyd IF networks are compared, with which weights, and what is one guided step of each side?

Both sides hold the same random weights: diffusers' network is made first, ours is loaded from it by our key table.

Shapes: b images, h w pixels; the batch that runs has 2 b rows, null prompts first.
"""

from __future__ import annotations

import sys
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn
from torch.utils.flop_counter import FlopCounterMode

ROOT = Path(__file__).resolve().parents[1]
sys.path.insert(0, str(ROOT))

from imagen_core.checkpoints.deepfloyd_config import config_from_diffusers  # noqa: E402
from imagen_core.checkpoints.deepfloyd_keys import key_table  # noqa: E402
from imagen_core.conditioning import Signals, TextEmbeds  # noqa: E402
from imagen_core.unets import build_unet  # noqa: E402

# stage, channels, blocks, levels that do not attend, T5's width. Those of I-M, I-L and II-M are the nearest that fit what
# was published of them; "135M" has the depth of stage I, and widths that a CPU can bear.
SIZES: dict[str, tuple[int, tuple[int, ...], int | tuple[int, ...], int, int]] = {
    "tiny": (1, (32, 64, 64, 128), 1, 1, 128),
    "tiny-II": (2, (32, 32, 64, 64, 128), 1, 3, 128),
    "135M": (1, (96, 192, 320, 384), 3, 1, 4096),
    "I-M": (1, (192, 384, 576, 768), 3, 1, 4096),
    "I-L": (1, (320, 640, 960, 1280), 3, 1, 4096),
    "I-XL": (1, (704, 1408, 2112, 2816), 3, 1, 4096),
    "II-M": (2, (96, 192, 384, 576, 768), (2, 2, 3, 5, 5), 3, 4096),
    "II-L": (2, (160, 320, 640, 960, 1280), (2, 2, 3, 5, 5), 3, 4096),
}
GUIDANCE_SCALE, TIMESTEP, NOISE_LEVEL = 7.0, 500, 250


def settings(size: str) -> dict[str, Any]:
    """diffusers' config of one of SIZES, as DeepFloyd's were published."""
    stage, channels, blocks, plain, text_width = SIZES[size]
    kinds = [
        "ResnetDownsampleBlock2D" if level < plain else "SimpleCrossAttnDownBlock2D" for level in range(len(channels))
    ]
    common = {
        "block_out_channels": channels,
        "layers_per_block": blocks,
        "down_block_types": tuple(kinds),
        "up_block_types": tuple(kind.replace("Down", "Up").replace("down", "up") for kind in reversed(kinds)),
        "mid_block_type": "UNetMidBlock2DSimpleCrossAttn",
        "cross_attention_dim": channels[-1],
        "encoder_hid_dim": text_width,
        "encoder_hid_dim_type": "text_proj",
        "addition_embed_type": "text",
        "addition_embed_type_num_heads": 64,
        "attention_head_dim": 64,
        "cross_attention_norm": "group_norm",
        "resnet_time_scale_shift": "scale_shift",
        "act_fn": "gelu",
        "in_channels": 3 * stage,
        "out_channels": 6,
        "sample_size": 64 if stage == 1 else 256,
    }
    second = {
        "class_embed_type": "timestep",
        "time_embedding_dim": channels[-1],
        "time_embedding_act_fn": "gelu",
        "resnet_skip_time_act": True,
        "resnet_out_scale_factor": 1.4142271248762552,
        "mid_block_scale_factor": 1.4142271248762552,
    }
    return common if stage == 1 else common | second


@dataclass(frozen=True)
class Side:
    """One contender: `forward()` is the network's output (2b 6 h w), `step()` the guided one (b 6 h w)."""

    name: str
    network: nn.Module
    forward: Callable[[], Tensor]
    step: Callable[[], Tensor]


@dataclass(frozen=True)
class Inputs:
    """x_t and the upscaled picture (b 3 h w), T5's states (2b 77 d)."""

    x_t: Tensor
    low_res: Tensor
    states: Tensor

    @staticmethod
    def random(size: str, batch: int, device: str, dtype: torch.dtype) -> Inputs:
        stage, _, _, _, width = SIZES[size]
        side = 64 if stage == 1 else 256
        if device == "meta":
            x_t, low_res = torch.empty(2, batch, 3, side, side, device="meta", dtype=dtype)
            return Inputs(x_t, low_res, torch.empty(2 * batch, 77, width, device="meta", dtype=dtype))
        random = torch.Generator().manual_seed(0)
        x_t, low_res = torch.randn(2, batch, 3, side, side, generator=random).to(device, dtype)
        return Inputs(x_t, low_res, torch.randn(2 * batch, 77, width, generator=random).to(device, dtype))


def guided(output: Tensor) -> Tensor:
    """Classifier-free guidance on the eps channels, the conditional half's variance: (2b 6 h w) -> (b 6 h w)."""
    null, cond = output.chunk(2)
    eps = null[:, :3] + GUIDANCE_SCALE * (cond[:, :3] - null[:, :3])
    return torch.cat([eps, cond[:, 3:]], dim=1)


def diffusers_side(size: str, inputs: Inputs, name: str = "diffusers") -> Side:
    """As diffusers' pipelines call their U-Net: one batch of null prompt and prompt, all text work in each step."""
    from diffusers import UNet2DConditionModel
    from diffusers.utils import logging

    logging.set_verbosity_error()  # a remark about .to(dtype) that concerns other models
    with torch.device(inputs.x_t.device):
        network = UNet2DConditionModel(**settings(size)).to(inputs.x_t.dtype)
    network.eval().requires_grad_(False)

    def forward() -> Tensor:
        return _diffusers_forward(network, inputs)

    return Side(name, network, forward, lambda: guided(forward()))


def _diffusers_forward(network: nn.Module, inputs: Inputs) -> Tensor:
    x = torch.cat([inputs.x_t] * 2)
    labels = None
    if network.config.class_embed_type is not None:
        x = torch.cat([x, torch.cat([inputs.low_res] * 2)], dim=1)
        labels = torch.full((x.shape[0],), NOISE_LEVEL, device=x.device)
    return network(x, TIMESTEP, inputs.states, class_labels=labels, return_dict=False)[0]


def our_network(size: str, peer: nn.Module) -> nn.Module:
    """Our network with the weights of `peer`."""
    parameter = next(peer.parameters())
    with torch.device("meta"):
        network = build_unet(config_from_diffusers(settings(size)))
    if parameter.device.type == "meta":
        return network.to(parameter.dtype).eval().requires_grad_(False)
    stored = peer.state_dict()
    weights = {
        key: entry.join([stored[part] for part in entry.parts])
        for key, entry in key_table(network, "diffusers").items()
    }
    network.load_state_dict(weights, assign=True)
    return network.to(memory_format=torch.channels_last).eval().requires_grad_(False)


def our_side(network: nn.Module, inputs: Inputs, *, name: str = "imagen-nodes", compiled: str = "no") -> Side:
    """Prompts are encoded here, once; the step is one batch of null prompt and prompt, as in a `Denoiser`.

    compiled: "no"; "graph", one CUDA graph of the whole step; or a mode of torch.compile.
    """
    two_b = len(inputs.states)
    mask = torch.ones(inputs.states.shape[:2], dtype=torch.bool, device=inputs.states.device)
    text = network.encode_text(TextEmbeds(embeds=inputs.states, mask=mask))
    level = torch.full((two_b,), NOISE_LEVEL / 1000, device=inputs.x_t.device)
    picture = text + Signals(pixels=torch.cat([inputs.low_res] * 2), aug_level=level)
    time = torch.full((two_b,), float(TIMESTEP), device=inputs.x_t.device)
    called = network if compiled in ("no", "graph") else torch.compile(network, mode=compiled)

    def forward() -> Tensor:
        return called(torch.cat([inputs.x_t] * 2), time, picture)

    def step() -> Tensor:
        return guided(forward())

    return Side(name, network, forward, as_cuda_graph(step) if compiled == "graph" else step)


def as_cuda_graph(step: Callable[[], Tensor]) -> Callable[[], Tensor]:
    """`step`, recorded once and then replayed without Python."""
    stream = torch.cuda.Stream()
    stream.wait_stream(torch.cuda.current_stream())
    with torch.cuda.stream(stream):
        for _ in range(3):
            step()
    torch.cuda.current_stream().wait_stream(stream)
    graph = torch.cuda.CUDAGraph()
    with torch.cuda.graph(graph):
        result = step()

    def replay() -> Tensor:
        graph.replay()
        return result

    return replay


def gflop(side: Side) -> float:
    """Floating-point operations of one step, in 10^9."""
    with FlopCounterMode(display=False) as counter, torch.no_grad():
        side.step()
    return counter.get_total_flops() / 1e9


def parameters(network: nn.Module) -> int:
    return sum(parameter.numel() for parameter in network.parameters())
