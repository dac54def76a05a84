"""Which trainers are compared, on which networks, and what is a step of each? A process a side, driven by train_peers.py.

A side says in a line of JSON what it is, then does as many steps as each line of its input asks for, and says what they
took. All read the same pictures and embeddings, which were made beforehand; pictures are float32, one thread does all.

Shapes: n pictures, l text tokens, d text width.
"""

from __future__ import annotations

import json
import math
import os
import sys
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, TextIO

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

import numpy as np
import torch
from resident import peak_mib, resident_mib
from torch import Tensor, nn
from torch.utils.data import DataLoader, Dataset
from torch.utils.flop_counter import FlopCounterMode

SIDE, TEXT_WIDTH, RATE, DROPPED, LONGEST_GRADIENT = 32, 384, 1e-4, 0.1, 1.0
FOREVER = 10**9


@dataclass
class Gate:
    """Stands before each step: waits until the parent asks for steps, and tells it what those before took."""

    answers: TextIO
    left: int = 0
    clocks: tuple[float, float] | None = field(default=None)

    def introduce(self, network: nn.Module, forward: Callable[[], object], imports_mib: float) -> None:
        """Say how large the network is, and how many operations a picture's way forward takes."""
        with torch.no_grad(), FlopCounterMode(display=False) as counter:
            forward()
        weights = sum(p.numel() for p in network.parameters() if p.requires_grad)
        self._say(parameters=weights, gflop=counter.get_total_flops() / 1e9, imports_mib=imports_mib)

    def __call__(self) -> None:
        if self.left == 0:
            if self.clocks is not None:
                seconds, processor = (now - then for now, then in zip(_clocks(), self.clocks, strict=True))
                self._say(seconds=seconds, processor_seconds=processor, peak_mib=peak_mib())
            asked = sys.stdin.readline().strip()
            if not asked:
                raise SystemExit(0)
            self.left, self.clocks = int(asked), _clocks()
        self.left -= 1

    def _say(self, **figures: float) -> None:
        print(json.dumps(figures), file=self.answers, flush=True)


def _clocks() -> tuple[float, float]:
    return time.perf_counter(), time.process_time()


class Pictures(Dataset):
    """Pictures as the peers' loaders take them: (3 h w) in [0, 1], embeddings (l d), mask (l)."""

    def __init__(self, folder: Path):
        self.pixels = np.load(folder / "pixels.npy", mmap_mode="r")  # n h w 3
        self.embeds, self.mask = np.load(folder / "embeds.npy", mmap_mode="r"), np.load(folder / "mask.npy")

    def __len__(self) -> int:
        return len(self.pixels)

    def __getitem__(self, i: int) -> tuple[Tensor, Tensor, Tensor]:
        picture = torch.from_numpy(np.array(self.pixels[i])).permute(2, 0, 1).float() / 255
        return picture, torch.from_numpy(self.embeds[i].astype(np.float32)), torch.from_numpy(self.mask[i])


def imagen_pytorch(folder: Path, batch: int, gate: Gate) -> None:
    """Its ImagenTrainer, fed by its own loader: Adam, EMA, gradients clipped; eps with its min-SNR weights."""
    from peer_shim import import_peer

    package = import_peer()
    imports_mib = resident_mib()
    unet = package.Unet(
        dim=32,
        dim_mults=(1, 2, 3),
        num_resnet_blocks=2,
        layer_attns=(False, True, True),
        layer_cross_attns=(False, True, True),
        attn_heads=4,
        attn_dim_head=32,
        cond_dim=128,
        text_embed_dim=TEXT_WIDTH,
    )
    imagen = package.Imagen(unets=(unet,), image_sizes=(SIDE,), text_embed_dim=TEXT_WIDTH, cond_drop_prob=DROPPED)
    names = ("images", "text_embeds", "text_masks")
    trainer = package.ImagenTrainer(
        imagen,
        lr=RATE,
        max_grad_norm=LONGEST_GRADIENT,
        dl_tuple_output_keywords_names=names,
        verbose=False,
        accelerate_cpu=True,
    )
    trainer.add_train_dataset(Pictures(folder), batch_size=batch, shuffle=True)
    picture, embeds, mask = (each[None] for each in Pictures(folder)[0])
    network = imagen.unets[0]
    told = {"text_embeds": embeds, "text_mask": mask}
    gate.introduce(network, lambda: network(picture, torch.zeros(1), **told), imports_mib)
    while True:
        gate()
        trainer.train_step(unet_number=1)


def diffusers(folder: Path, batch: int, gate: Gate) -> None:
    """The loop that its text-to-image example is made of, without the autoencoder: AdamW, EMA, accelerate, eps.

    The example encodes captions at every step; here they are ready made, in its favour. Dropped captions are zeros.
    """
    from accelerate import Accelerator
    from diffusers import DDPMScheduler, UNet2DConditionModel
    from diffusers.optimization import get_scheduler
    from diffusers.training_utils import EMAModel

    imports_mib = resident_mib()
    network = UNet2DConditionModel(
        sample_size=SIDE,
        in_channels=3,
        out_channels=3,
        block_out_channels=(32, 56, 88),
        layers_per_block=2,
        norm_num_groups=8,
        down_block_types=("DownBlock2D", "CrossAttnDownBlock2D", "CrossAttnDownBlock2D"),
        up_block_types=("CrossAttnUpBlock2D", "CrossAttnUpBlock2D", "UpBlock2D"),
        attention_head_dim=4,
        cross_attention_dim=TEXT_WIDTH,
    )
    average = EMAModel(network.parameters(), model_cls=UNet2DConditionModel, model_config=network.config)
    accelerator, noising = Accelerator(cpu=True), DDPMScheduler(num_train_timesteps=1000)
    optimizer = torch.optim.AdamW(network.parameters(), lr=RATE)
    course = get_scheduler("constant_with_warmup", optimizer, num_warmup_steps=100)
    loader = DataLoader(Pictures(folder), batch_size=batch, shuffle=True, drop_last=True)
    network, optimizer, loader, course = accelerator.prepare(network, optimizer, loader, course)

    def learn(pictures: Tensor, embeds: Tensor, mask: Tensor) -> None:
        x_0 = pictures * 2 - 1
        noise, times = torch.randn_like(x_0), torch.randint(0, 1000, (len(x_0),))
        kept = (torch.rand(len(x_0), 1, 1) >= DROPPED).float()
        with accelerator.accumulate(network):
            x_t = noising.add_noise(x_0, noise, times)
            found = network(x_t, times, embeds * kept, encoder_attention_mask=mask, return_dict=False)[0]
            loss = nn.functional.mse_loss(found.float(), noise)
            accelerator.gather(loss.repeat(batch)).mean().item()
            accelerator.backward(loss)
            accelerator.clip_grad_norm_(network.parameters(), LONGEST_GRADIENT)
            optimizer.step()
            course.step()
            optimizer.zero_grad()
        average.step(network.parameters())

    picture, embeds, _ = (each[None] for each in Pictures(folder)[0])
    gate.introduce(network, lambda: network(picture, 500, embeds), imports_mib)
    batches = iter(loader)
    while True:
        gate()
        if (found := next(batches, None)) is None:
            batches = iter(loader)
            found = next(batches)
        learn(*found)


def ours_base(folder: Path, batch: int, gate: Gate) -> None:
    """`imagen train run` with the paper's base design at the peers' widths, and AdamW as theirs."""
    network = {
        "kind": "base",
        "image_size": SIDE,
        "channels": 32,
        "channel_mult": [1, 2, 3],
        "num_res_blocks": 2,
        "attention_resolutions": [16, 8],
        "per_head_channels": 32,
    }
    _ours(folder, batch, gate, network, {"name": "adamw", "rate": RATE})


def ours_recipe(folder: Path, batch: int, gate: Gate) -> None:
    """`imagen train run` with the network and optimiser of recipes/train_on_a_folder."""
    network = {"patch_size": 2, "channels": 32, "width": 128, "depth": 4, "fine_channels": 0}
    _ours(folder, batch, gate, network, {"muon_rate": 0.02, "rate": 1.5e-3})


def _ours(folder: Path, batch: int, gate: Gate, network: dict[str, Any], optimiser: dict[str, Any]) -> None:
    """What train_own and train_stage do, with the gate before each batch, and no end."""
    from imagen_train.loop import train
    from imagen_train.own_pictures import collection_of
    from imagen_train.own_run import options_of, plan_of
    from imagen_train.prepared import prepare
    from imagen_train.run_config import DataTable, OptimiserTable, RunConfig, RunTable
    from imagen_train.stages import start_network, task_of

    imports_mib = resident_mib()
    config = RunConfig(
        out=folder / f"ours-{os.getpid()}",
        data=DataTable(path=folder / "pictures", side=SIDE, held_out=0.0),
        run=RunTable(steps=FOREVER, batch_size=batch, save_minutes=math.inf, preview_minutes=math.inf),
        network=network,
        optimiser=OptimiserTable(**optimiser),
    )
    prepared = prepare(collection_of(config.data.path, None), folder / "cache", side=SIDE)
    plan = plan_of(config, prepared)
    options = options_of(config, prepared.shown.folder.parent, resume=False)
    task = task_of(plan, options)
    model, _ = start_network(plan, options)
    text = task.texts.of([0], torch.tensor([False]))
    gate.introduce(
        model, lambda: model(torch.zeros(1, 3, SIDE, SIDE), torch.zeros(1), model.encode_text(text)), imports_mib
    )
    train(model, Gated(task, gate), options, optim=plan.optim, config=plan.loop)


class Gated:
    """A task whose every batch waits at the gate."""

    def __init__(self, task: Any, gate: Gate):
        self.task, self.gate, self.batch_size, self.helper = task, gate, task.batch_size, task.helper
        self.last_batch, self.preview = task.last_batch, task.preview

    def loss(self, model: nn.Module, generator: torch.Generator, progress: float) -> Tensor:
        self.gate()
        return self.task.loss(model, generator, progress)


SIDES: dict[str, Callable[[Path, int, Gate], None]] = {
    "imagen-pytorch": imagen_pytorch,
    "diffusers": diffusers,
    "ours": ours_base,
    "ours, the recipe's": ours_recipe,
}


def main() -> None:
    name, folder, batch, threads = sys.argv[1:]
    answers = os.fdopen(os.dup(1), "w")
    os.dup2(2, 1)  # what packages print is no answer
    torch.set_num_threads(int(threads))
    torch.manual_seed(0)
    SIDES[name](Path(folder), int(batch), Gate(answers))


if __name__ == "__main__":
    main()
