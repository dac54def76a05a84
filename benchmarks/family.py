"""Are the networks of Imagen's relatives no slower than the peers that they are held to? Both in one run, by turns.

python benchmarks/family.py                       every row, at sizes that one core bears
python benchmarks/family.py dit --size XL --device cuda --dtype bfloat16

Another relative is one more function in ROWS. Both sides hold the same random weights, and their outputs are compared
before anything is timed.
"""

from __future__ import annotations

import argparse
import sys
import time
from collections.abc import Callable
from dataclasses import dataclass, replace
from pathlib import Path
from statistics import median

import torch
from torch import Tensor, nn

ROOT = Path(__file__).resolve().parents[1]
sys.path.insert(0, str(ROOT))

from imagen_core.checkpoints.adm_keys import apart, cell_places, trunk_map  # noqa: E402
from imagen_core.checkpoints.key_map import KeyMap  # noqa: E402
from imagen_core.checkpoints.readers.dit import DiTReader  # noqa: E402
from imagen_core.checkpoints.readers.karlo_prior import prior_map  # noqa: E402
from imagen_core.checkpoints.stored import Stored  # noqa: E402
from imagen_core.conditioning import TextEmbeds, joined  # noqa: E402
from imagen_core.priors.network import PriorConfig, PriorNetwork  # noqa: E402
from imagen_core.unets import ADMConfig, build_unet  # noqa: E402

Step = Callable[[], Tensor]
TOLERANCE = {torch.float32: 5e-5, torch.float16: 2e-2, torch.bfloat16: 1e-1}  # of outputs of deviation 1, relative


@dataclass(frozen=True)
class Pair:
    """One guided call, a picture with and without what is asked for, of the peer and of ours."""

    peer_name: str
    peer: Step
    ours: Step
    parameters: int  # of ours


@dataclass(frozen=True)
class Setting:
    """What every row is asked with."""

    size: str
    device: str
    dtype: torch.dtype


class InMemory:
    """A network's state dict as readers see the weights of a file."""

    metadata: dict[str, str] = {}
    files: list[Path] = []

    def __init__(self, network: nn.Module) -> None:
        self.tensors = network.state_dict()
        self.shapes = {key: tuple(tensor.shape) for key, tensor in self.tensors.items()}
        self.dtypes = {}

    def fill(self, network: nn.Module, key_map: KeyMap) -> nn.Module:
        ready = {key: entry.join([self.tensors[part] for part in entry.parts]) for key, entry in key_map.items()}
        network.load_state_dict(ready, assign=True)
        return network.to(memory_format=torch.channels_last).eval().requires_grad_(False)


# DiT beside diffusers'. There the time's angles stand a little apart from the original's: set, as in the tests.

DIT_SIZES = {"tiny": (2, 6), "S": (12, 6), "B": (12, 12), "L": (24, 16), "XL": (28, 16)}  # blocks, heads
LABEL, TIME = 207, 500


def dit(setting: Setting) -> Pair:
    from diffusers import DiTTransformer2DModel

    blocks, heads = DIT_SIZES[setting.size]
    width = 72 if setting.size == "XL" else 64
    with torch.device(setting.device):
        peer = DiTTransformer2DModel(
            num_layers=blocks, num_attention_heads=heads, attention_head_dim=width, out_channels=8, norm_eps=1e-6
        )
    peer = randomised(peer.to(setting.dtype))
    for block in peer.transformer_blocks:
        block.norm1.emb.load_state_dict(peer.transformer_blocks[0].norm1.emb.state_dict())
        block.norm1.emb.time_proj.downscale_freq_shift = 0
    weights = InMemory(peer)
    stored = Stored(Path("diffusers"), Path("nowhere"), weights)
    stored.__dict__["config"] = dict(peer.config)
    reading = DiTReader().read(stored)
    with torch.device("meta"):
        network = reading.build()
    ours = weights.fill(network, reading.key_map(network))

    latents = torch.randn(1, 4, 32, 32, generator=torch.Generator().manual_seed(0)).to(setting.device, setting.dtype)
    both, time_ = torch.cat([latents] * 2), torch.full((2,), TIME, device=setting.device)
    labels = torch.tensor([LABEL, 1000], device=setting.device)
    told = joined([ours.encode_class(labels[:1]), ours.encode_class()])
    return Pair(
        "diffusers DiTTransformer2DModel",
        lambda: peer(both, time_, labels, return_dict=False)[0],
        lambda: ours(both, time_.float(), told),
        sum(parameter.numel() for parameter in ours.parameters()),
    )


# GLIDE beside diffusers' U-Net of the same blocks; what reads the prompt ran before, once, on both sides.

GLIDE_SIZES = {"tiny": ((32, 64), 1), "S": ((64, 128, 192, 256), 2), "XL": ((192, 384, 576, 768), 3)}  # widths, depth
TOKENS, TEXT_WIDTH = 128, 512


def glide(setting: Setting) -> Pair:
    if setting.size not in GLIDE_SIZES:
        raise SystemExit(
            f"glide: no size {setting.size}; expected one of {', '.join(GLIDE_SIZES)} (XL is as published)"
        )
    peer = randomised(_glide_peer(*GLIDE_SIZES[setting.size]).to(setting.device, setting.dtype))
    ours = _glide_ours(peer, *GLIDE_SIZES[setting.size]).to(setting.device, setting.dtype)
    generator = torch.Generator().manual_seed(0)
    x_t, tokens, vector = (
        torch.randn(2, *shape, generator=generator).to(setting.device, setting.dtype)
        for shape in ((3, 64, 64), (TOKENS, TEXT_WIDTH), (ours.flags.embed_dim,))
    )
    told = ours.encode_text(TextEmbeds(embeds=tokens, mask=torch.ones(2, TOKENS, dtype=torch.bool)))
    told, time_ = replace(told, vector=vector), torch.full((2,), TIME, device=setting.device)
    return Pair(
        "diffusers UNet2DConditionModel",
        lambda: peer(x_t, time_, tokens, class_labels=vector, return_dict=False)[0],
        lambda: ours(x_t, time_.float(), told),
        sum(parameter.numel() for parameter in ours.parameters()),
    )


def _glide_peer(channels: tuple[int, ...], depth: int) -> nn.Module:
    from diffusers import UNet2DConditionModel

    attending = len(channels) - 1
    return UNet2DConditionModel(
        in_channels=3,
        out_channels=6,
        layers_per_block=depth,
        block_out_channels=channels,
        down_block_types=("ResnetDownsampleBlock2D", *["SimpleCrossAttnDownBlock2D"] * attending),
        up_block_types=(*["SimpleCrossAttnUpBlock2D"] * attending, "ResnetUpsampleBlock2D"),
        mid_block_type="UNetMidBlock2DSimpleCrossAttn",
        cross_attention_dim=TEXT_WIDTH,
        attention_head_dim=32 if depth == 1 else 64,
        resnet_time_scale_shift="scale_shift",
        class_embed_type="identity",
    )


def _glide_ours(peer: nn.Module, channels: tuple[int, ...], depth: int) -> nn.Module:
    """The same weights without the transformer, whose output is given."""
    config = ADMConfig(
        channels=channels,
        num_res_blocks=(depth,) * len(channels),
        attention=(False, *[True] * (len(channels) - 1)),
        per_head_channels=32 if depth == 1 else 64,
        text_embed_dim=TEXT_WIDTH,
        text_mask=False,
        text_norm=None,
        text_pooling=None,
    )
    with torch.device("meta"):
        network = build_unet(config)
    shapes = {key: tuple(tensor.shape) for key, tensor in network.state_dict().items()}
    key_map = trunk_map(network, "diffusers")
    for place in cell_places(network, "diffusers"):
        if place.cell.attention is not None:
            parts = [f"{place.attention}.add_{part}_proj" for part in "kv"]
            key_map |= apart(shapes, f"{place.ours}.attention.text_keys_values", parts)
    return InMemory(peer).fill(network, key_map)


# Karlo's prior beside diffusers'. A step of ours reads a prompt's keys and values, made once; theirs reads the prompt anew.

PRIOR_SIZES = {"tiny": (2, 2), "S": (6, 8), "XL": (20, 32)}  # blocks, heads


def prior(setting: Setting) -> Pair:
    from diffusers import PriorTransformer

    if setting.size not in PRIOR_SIZES:
        raise SystemExit(
            f"prior: no size {setting.size}; expected one of {', '.join(PRIOR_SIZES)} (XL is as published)"
        )
    blocks, heads = PRIOR_SIZES[setting.size]
    peer = PriorTransformer(num_layers=blocks, num_attention_heads=heads).to(setting.device, setting.dtype)
    peer = randomised(peer)
    with torch.device("meta"):
        network = PriorNetwork(PriorConfig(width=64 * heads, depth=blocks, heads=heads))
    ours = InMemory(peer).fill(network, prior_map(network, "diffusers"))
    generator = torch.Generator().manual_seed(0)
    z_t, tokens, pooled = (
        torch.randn(2, *shape, generator=generator).to(setting.device, setting.dtype)
        for shape in ((768,), (77, 768), (768,))
    )
    mask = torch.arange(77, device=setting.device) < torch.tensor([[12], [2]], device=setting.device)
    told = ours.encode_text(TextEmbeds(embeds=tokens, mask=mask, pooled=pooled))
    time_ = torch.full((2,), TIME, device=setting.device)
    return Pair(
        "diffusers PriorTransformer",
        lambda: peer(z_t, time_, pooled, tokens, mask, return_dict=False)[0],
        lambda: ours(z_t, time_.float(), told),
        sum(parameter.numel() for parameter in ours.parameters()),
    )


ROWS: dict[str, Callable[[Setting], Pair]] = {"dit": dit, "glide": glide, "prior": prior}


def randomised(network: nn.Module) -> nn.Module:
    """Weights that keep the deviation of what runs through near 1, and no layer that is zero."""
    torch.manual_seed(0)
    for name, parameter in network.named_parameters():
        fan_in = parameter[0].numel() if parameter.ndim > 1 else 1
        deviation = 0.02 if parameter.ndim == 1 or "embed" in name else 0.5 * fan_in**-0.5
        nn.init.normal_(parameter, 0.0, deviation)
    return network.eval().requires_grad_(False)


@torch.inference_mode()
def measured(name: str, setting: Setting, repetitions: int) -> str:
    """One line of the table. SystemExit where the two sides put out different things."""
    pair = ROWS[name](setting)
    theirs, ours = pair.peer(), pair.ours()
    difference = ((theirs - ours).abs().max() / theirs.float().std()).item()
    if difference > TOLERANCE[setting.dtype]:
        raise SystemExit(f"{name}: the outputs differ by {difference:.2g} of their deviation; nothing was timed")
    turns = [[seconds(step, setting.device) for step in (pair.peer, pair.ours)] for _ in range(repetitions + 1)][1:]
    ratios = [peer / own for peer, own in turns]
    return (
        f"| {name} {setting.size} | {pair.peer_name} | {pair.parameters / 1e6:.1f} M | {difference:.1e} |"
        f" {median(turn[0] for turn in turns):.3f} | {median(turn[1] for turn in turns):.3f} |"
        f" {median(ratios):.2f}x ({min(ratios):.2f} to {max(ratios):.2f}) |"
    )


def seconds(step: Step, device: str) -> float:
    """Of the processor on a CPU, which a busy machine hardly changes; of the clock on a GPU."""
    clock = time.process_time if device == "cpu" else time.perf_counter
    start = clock()
    step()
    if device == "cuda":
        torch.cuda.synchronize()
    return clock() - start


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("rows", nargs="*", help=f"some of {', '.join(ROWS)}; all when none is named")
    parser.add_argument("--size", default="S", help="of DiT: tiny, S, B, L, XL; of GLIDE and the prior: tiny, S, XL")
    parser.add_argument("--device", default="cpu")
    parser.add_argument("--dtype", default="float32", choices=("float32", "float16", "bfloat16"))
    parser.add_argument("--repetitions", type=int, default=7)
    options = parser.parse_args()
    if unknown := set(options.rows) - set(ROWS):
        parser.error(f"unknown rows {sorted(unknown)}: expected some of {', '.join(ROWS)}")
    setting = Setting(options.size, options.device, getattr(torch, options.dtype))
    print(f"torch {torch.__version__}, {options.dtype} on {options.device}, {torch.get_num_threads()} thread(s)\n")
    columns = ("row", "peer", "parameters", "difference", "peer s", "ours s", "ours is faster")
    print(f"| {' | '.join(columns)} |\n|{' --- |' * len(columns)}")
    for name in options.rows or ROWS:
        print(measured(name, setting, options.repetitions), flush=True)


if __name__ == "__main__":
    main()
