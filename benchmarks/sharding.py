"""How much memory does a process need that keeps a share of the network (FSDP), beside one that keeps all of it?

    python benchmarks/sharding.py          (a U-ViT of 115 M weights, two processes, AdamW and Muon, three steps each)

Prints Markdown: what the first process holds in memory after two steps, its peak until then (at the start the network is
built whole, and copied for its average), and seconds a step. Saving, for which it gathers all of the state, comes after.
"""

from __future__ import annotations

import argparse
import os
import resource
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import psutil
import torch

from imagen_core.unets import UViTConfig, build_unet
from imagen_train.loop import Preview, train
from imagen_train.optim import OptimConfig
from imagen_train.options import TrainOptions
from imagen_train.parallel import join_workers, rank

ROOT = Path(__file__).resolve().parent.parent
STEPS, BATCH, SIDE = 3, 2, 32
MEBIBYTE = 2**20


class Noise:
    """A task that learns noise: what is in the pictures costs nothing and says nothing of memory."""

    batch_size, helper = BATCH, None

    def loss(self, model, generator, progress):
        from imagen_core import TextEmbeds

        x_t = torch.randn(BATCH, 3, SIDE, SIDE, generator=generator)
        told = model.encode_text(TextEmbeds.null(BATCH, model.config.text_embed_dim))
        return model(x_t, torch.rand(BATCH, generator=generator), told).square().mean()

    def preview(self, model):
        return Preview()


def measured(width: int, shard: bool, optimiser: str, folder: Path) -> str:
    join_workers("cpu", shard=shard)
    network = build_unet(UViTConfig(width=width, depth=8, text_embed_dim=384))
    count = sum(p.numel() for p in network.parameters())
    options = TrainOptions(
        state_dir=folder,
        cache_dir=folder,
        models_dir=folder,
        max_steps=STEPS,
        shard=shard,
        preview_minutes=float("inf"),
    )
    seen = {}

    class Watched(Noise):
        def loss(self, model, generator, progress):
            seen["held"] = psutil.Process().memory_info().rss / MEBIBYTE
            seen["peak"] = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024
            seen.setdefault("times", []).append(time.perf_counter())
            return super().loss(model, generator, progress)

    train(network, Watched(), options, optim=OptimConfig(name=optimiser))
    step, keeps = seen["times"][-1] - seen["times"][-2], "a share" if shard else "all"
    return f"| {count / 1e6:.0f} M | {optimiser} | {keeps} | {seen['held']:.0f} | {seen['peak']:.0f} | {step:.1f} |"


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--width", type=int, default=1024, help="of the transformer (default: %(default)s)")
    parser.add_argument("--processes", type=int, default=2, help="default: %(default)s")
    parser.add_argument("--one", nargs=2, metavar=("OPTIMISER", "SHARD"), help=argparse.SUPPRESS)
    args = parser.parse_args()
    if args.one:
        with tempfile.TemporaryDirectory() as folder:
            row = measured(args.width, args.one[1] == "shard", args.one[0], Path(folder))
        if rank() == 0:
            print(row, flush=True)
        return
    print(
        "| weights | optimiser | a process keeps | MiB held | MiB at its peak | seconds a step |\n"
        + "| --- " * 6
        + "|",
        flush=True,
    )
    launch = [sys.executable, "-m", "torch.distributed.run", "--standalone", "--nproc-per-node", str(args.processes)]
    around = {
        **os.environ,
        "PYTHONPATH": str(ROOT),
        "OMP_NUM_THREADS": "1",
        "MALLOC_MMAP_THRESHOLD_": "65536",
    }  # freed is given back
    for optimiser in ("adamw", "muon"):
        for how in ("whole", "shard"):
            own = [__file__, "--width", str(args.width), "--one", optimiser, how]
            subprocess.run([*launch, *own], env=around, check=True, stderr=subprocess.DEVNULL)


if __name__ == "__main__":
    main()
