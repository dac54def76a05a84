"""How does a prior learn which embedding a text's picture has? From pictures and captions, both as one CLIP sees them.

unCLIP (arXiv 2204.06125, section 2.2): it predicts the embedding itself under noise, by the mean squared error. The CLIP
stays as it is. Reading a caption costs ten times a step, and several noises share it.

Shapes: b captions, n pictures, l tokens, e CLIP's common space.
"""

from __future__ import annotations

import json
from dataclasses import dataclass
from pathlib import Path

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from imagen_core import Draw, Prior, Prompt, load_clip, sample_prior
from imagen_core._safetensors import write_safetensors
from imagen_core.checkpoints.int8 import in_eight_bits
from imagen_core.checkpoints.readers.karlo_prior import HEAD, prior_spec, stored_prior
from imagen_core.clip.model import Clip
from imagen_core.conditioning import TextEmbeds, repeated
from imagen_core.losses import diffusion_loss, draw_times
from imagen_core.priors.network import PriorConfig, PriorNetwork
from imagen_core.schedules import schedule_from_config
from imagen_core.whole_files import whole

from .data import PictureCache
from .loop import LoopConfig, Preview, train
from .optim import OptimConfig
from .options import TrainOptions

FILE = "prior.safetensors"  # in the models folder
WIDTH, DEPTH = 128, 4  # of what is trained: .9 million weights
NOISES = 4  # a caption
DROPPED = 0.1  # of captions, so that guidance has an empty one to steer away from
MOST = 32_768  # pictures that are looked at
KEPT = 512  # of them, at the end, that are only tested on
RATES = OptimConfig(muon_lr=0.01, adamw_lr=1e-3)


@dataclass(frozen=True)
class Seen:
    """What a CLIP makes of pictures and captions: embeds (n e), as its projection gives them, ids (n l)."""

    embeds: Tensor
    ids: Tensor

    @staticmethod
    def of(cache: PictureCache, clip: Clip, most: int = MOST) -> Seen:
        count = min(len(cache), most)
        with torch.inference_mode():
            parts = [
                clip.project_pixels(cache.pictures(range(i, min(i + 256, count)))).cpu() for i in range(0, count, 256)
            ]
        return Seen(torch.cat(parts).clone(), clip.token_ids(cache.captions[:count]))

    def part(self, rows: slice) -> Seen:
        return Seen(self.embeds[rows], self.ids[rows])


@torch.no_grad()
def read_ids(clip: Clip, ids: Tensor) -> TextEmbeds:
    """`Clip.token_ids` (b l) as the CLIP's text tower reads them, with their vectors, as prompts come to a prior."""
    network = clip.network
    read = network.text_model(ids.to(clip.device))
    ends = (ids == network.config.text.end).int().argmax(1)  # b
    mask = torch.arange(ids.shape[1]) <= ends[:, None]
    pooled = network.text_projection(read.pooled).float()
    return TextEmbeds(embeds=read.hidden.float(), mask=mask.to(clip.device), pooled=pooled)


def fresh_prior(clip: Clip, embeds: Tensor) -> PriorNetwork:
    """A small prior in the space of a CLIP, whose pictures' embeddings (n e) say how they are normalised."""
    text = clip.network.config.text
    config = PriorConfig(
        embed_dim=embeds.shape[1],
        text_embed_dim=text.width,
        text_tokens=text.positions,
        width=WIDTH,
        depth=DEPTH,
        heads=WIDTH // HEAD,
    )
    network = PriorNetwork(config)
    for table in (network.position, network.question):
        nn.init.normal_(table, std=0.02)
    network.clip_mean.copy_(embeds.mean(0))
    network.clip_std.copy_(embeds.std(0).clamp_min(1e-3))
    return network


def prior_of(network: PriorNetwork) -> Prior:
    """Ready to draw from, as its file would be."""
    spec = prior_spec(network.config)
    return Prior(network=network, schedule=schedule_from_config(spec.schedule_config), spec=spec)


@dataclass(frozen=True, kw_only=True)
class PriorTask:
    """Which embedding was it, before the noise?"""

    shown: Seen
    held_out: Seen
    clip: Clip
    batch_size: int
    helper: None = None

    def loss(self, model: PriorNetwork, generator: torch.Generator, progress: float) -> Tensor:
        rows = torch.randint(len(self.shown.ids), (self.batch_size,), generator=generator)
        dropped = torch.rand(len(rows), generator=generator) < DROPPED
        ids = self.shown.ids[rows].where(~dropped[:, None], self.clip.token_ids([""]))
        told = repeated(model.encode_text(read_ids(self.clip, ids)), NOISES)
        embeds = self.shown.embeds[rows].to(model.clip_mean.device)
        z_0 = ((embeds - model.clip_mean) / model.clip_std).repeat_interleave(NOISES, 0)
        schedule = prior_of(model).schedule
        return diffusion_loss(
            lambda z_t, time: model(z_t, time, told),
            z_0,
            schedule=schedule,
            prediction_type="x_0",
            times=schedule.trained(draw_times(len(z_0), generator, power=1.0)).to(z_0.device),
            noise=torch.randn(z_0.shape, generator=generator).to(z_0.device),
            weighting="x_0",
        )

    def preview(self, model: PriorNetwork) -> Preview:
        return Preview(figures=prior_figures(prior_of(model), self.clip, self.held_out.part(slice(64))))


def prompt_of(clip: Clip, ids: Tensor) -> Prompt:
    """Captions (b l) as a prior reads them, steering away from an empty one."""
    return Prompt(text=read_ids(clip, ids), negative=read_ids(clip, clip.token_ids([""])))


@torch.inference_mode()
def prior_figures(prior: Prior, clip: Clip, data: Seen, *, steps: int = 25) -> dict[str, float]:
    """How near to the picture's own embedding are a prior's, and the text's own? Mean cosines.

    found_by_prior, found_by_text: how often the picture's is the nearest of all to them.
    """
    prompt = prompt_of(clip, data.ids)
    drawn = sample_prior(prior, prompt, Draw(seeds=range(len(data.ids)), steps=steps), candidates=2)
    true, figures = F.normalize(data.embeds, dim=1), {}
    for name, embeds in (("prior", drawn), ("text", prompt.text.pooled.cpu())):
        cosines = F.normalize(embeds, dim=1) @ true.mT  # b b
        figures[f"cosine_of_{name}"] = cosines.diagonal().mean().item()
        figures[f"found_by_{name}"] = (cosines.argmax(1) == torch.arange(len(true))).float().mean().item()
    return figures | {"among": float(len(true))}


def train_prior(options: TrainOptions, clip: Path, pictures: str) -> dict[str, object]:
    """Train in the space of the CLIP at `clip` on cached pictures, test on those at the end, write models_dir/FILE.

    Nothing is written when options.export is False or a signal stopped it ("interrupted" in the figures).
    """
    torch.manual_seed(options.seed)
    seeing = load_clip(clip).to(options.device)
    seen = Seen.of(PictureCache(options.cache_dir, pictures), seeing)
    kept = min(KEPT, max(1, len(seen.ids) // 8))
    shown, held_out = seen.part(slice(-kept)), seen.part(slice(-kept, None))
    task = PriorTask(shown=shown, held_out=held_out, clip=seeing, batch_size=options.batch_size or 128)
    network = fresh_prior(seeing, shown.embeds)
    result = train(network, task, options, optim=RATES, config=LoopConfig(decay_start=0.5, ema_half_life=100.0))
    figures: dict[str, object] = {
        "steps": result.state.step,
        "captions": result.state.images,
        "minutes": result.state.seconds / 60,
        "interrupted": result.interrupted,
        "pictures": len(shown.ids),
        "clip": clip.name,
        **prior_figures(prior_of(result.model), seeing, held_out),
    }
    if options.export and not result.interrupted:
        figures["file"] = str(save_prior(result.model, options.models_dir / FILE, figures))
    return figures


def save_prior(network: PriorNetwork, path: Path, figures: dict[str, object]) -> Path:
    """One file by diffusers' names (PriorTransformer), large weights in int8; their figures in the metadata."""
    path.parent.mkdir(parents=True, exist_ok=True)
    weights = {name: weight.detach().cpu().contiguous() for name, weight in stored_prior(network).items()}
    with whole(path) as draft:
        write_safetensors(draft, in_eight_bits(weights), {"format": "pt", "training": json.dumps(figures)})
    return path
