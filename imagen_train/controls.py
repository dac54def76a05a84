"""How does a control learn? Beside a frozen stage, from hints that are made of the very pictures it is to draw.

Gradients go through the base to the control, and not into its weights.

Shapes: b images, h w pixels.
"""

from __future__ import annotations

import dataclasses
from pathlib import Path

import torch
from torch import Tensor, nn

from imagen_core import (
    HINTS,
    AdapterSpec,
    Control,
    Draw,
    LoadedAdapter,
    Prompt,
    Stage,
    TextEmbeds,
    build_adapter,
    load_adapter,
    load_clip,
    load_text_encoder,
    sample_base,
    super_resolve,
)
from imagen_core.adapters import Adapter, Given
from imagen_core.checkpoints.readers.control import read_adapter_change
from imagen_core.conditioning import Signals
from imagen_core.hints import Hint
from imagen_core.losses import diffusion_loss, draw_times
from imagen_core.super_resolution import augment

from .caption_files import CaptionEmbeds, encoder_for, encoder_name
from .changes import as_change, go_on_from
from .control_plans import ControlPlan
from .data import PictureCache
from .following import followed
from .identity_code import load_identity_code
from .loop import Preview
from .options import TrainOptions
from .own_pictures import collection_of
from .plans import held_out_set
from .prepared import prepare
from .segment_maps import DepthMaps, SegmentMaps
from .sheets import grid
from .tasks import REFRESH_STEPS, shrink, shrunk_and_grown

SHOWN = 6  # pictures of a preview
HELD_OUT = 0.02  # of a folder's pictures, for previews alone


def hints_of(
    pictures: Tensor,
    kinds: tuple[str, ...],
    generator: torch.Generator,
    regions: Tensor | None = None,
    depths: Tensor | None = None,
) -> tuple[Tensor, Tensor]:
    """A hint of each picture (b 3 h w), and which of `kinds` it is (b,): all kinds in turn, their settings drawn anew.

    regions: (b h w) what lies where, where it is known; every other hint that tells more of it does. depths: (b h w) how
    near it is; every hint that says it is of these.
    """
    kind = (torch.arange(len(pictures)) + int(torch.randint(len(kinds), (), generator=generator))) % len(kinds)
    hints = torch.empty_like(pictures)
    for index, name in enumerate(kinds):
        chosen = (kind == index).to(pictures.device)
        if chosen.any():
            with torch.autocast(pictures.device.type, enabled=False):  # thresholds want all digits
                hint = HINTS[name]().varied(generator)
                hints[chosen] = _hint(hint, pictures, depths, chosen)
                if hint.reads_regions and regions is not None:
                    told = chosen & (torch.arange(len(pictures), device=chosen.device) // len(kinds) % 2 == 0)
                    hints[told] = hint.known(pictures[told], regions.to(chosen.device)[told])
    return hints, kind.to(pictures.device)


def _hint(hint: Hint, pictures: Tensor, depths: Tensor | None, chosen: Tensor) -> Tensor:
    """Of the chosen (b,) of pictures (b 3 h w), with nothing known but how near each place is."""
    return hint.of_depths(depths.to(chosen.device)[chosen]) if hint.reads_depths else hint(pictures[chosen])


def plain_hints(kind: str, pictures: Tensor, depths: DepthMaps | None) -> Tensor:
    """Of a cache's first pictures (b 3 h w), as this kind of hint is made without settings."""
    hint = HINTS[kind]()
    if not hint.reads_depths:
        return hint(pictures)
    return hint.of_depths(depths.of(range(len(pictures))).to(pictures.device))


def caches_of(plan: ControlPlan, side: int, cache_dir: Path) -> tuple[PictureCache, PictureCache | None]:
    """The pictures that are trained on, and those held out: of a folder, prepared at this side, or of the cache."""
    if plan.folder is not None:
        prepared = prepare(collection_of(plan.folder), cache_dir, side=side, held_out=HELD_OUT)
        return prepared.shown, prepared.held_out
    held_out = plan.held_out or held_out_set(plan.pictures)
    known = plan.held_out or (held_out and (cache_dir / held_out).is_dir())
    return PictureCache(cache_dir, plan.pictures), PictureCache(cache_dir, held_out) if known else None


def _encoder(plan: ControlPlan, stage: Stage, options: TrainOptions) -> Path:
    """The text encoder that the base reads by: the one named, else one of its width in the models folder or beside it."""
    width = stage.spec.unet_config.text_embed_dim
    return plan.text_encoder or encoder_for(width, (options.models_dir, plan.base.parent))


class ControlTask:
    """The loss of a control beside `stage`, whose own weights stay as they are."""

    helper: nn.Module | None = None

    def __init__(self, plan: ControlPlan, stage: Stage, options: TrainOptions):
        self.plan, self.stage, self.device = plan, stage, torch.device(options.device)
        self.batch_size = options.batch_size or plan.batch_size
        self.cache, held_out = caches_of(plan, stage.spec.native_side, options.cache_dir)
        self.shown = held_out or self.cache
        self.texts = self._texts(_encoder(plan, stage, options)) if stage.reads_text else None
        self.maps = self._maps()
        self.depths = self._depths(self.cache)
        self.network = torch.compile(stage.unet) if options.compile else stage.unet
        self.indices: list[int] = []  # of the batch's pictures, whole ones
        self.calls = 0

    def _texts(self, folder: Path) -> CaptionEmbeds:
        encoder = load_text_encoder(folder, device=self.device)
        with torch.autocast(self.device.type, enabled=False):
            return CaptionEmbeds(self.cache, encoder, encoder_name(folder))

    def _maps(self) -> SegmentMaps | None:
        """What lies where in the pictures, where that makes hints and is known."""
        kinds = [HINTS[name] for name in self.plan.config.kinds if name in HINTS]
        wanted = any(kind.reads_regions for kind in kinds) and not self.stage.spec.enlarges
        return SegmentMaps(self.cache) if wanted and SegmentMaps.known_of(self.cache) else None

    def _depths(self, cache: PictureCache) -> DepthMaps | None:
        """How near what a cache's pictures show is, where hints say it. ValueError where they do and it is not known."""
        if not any(HINTS[name].reads_depths for name in self.plan.config.kinds if name in HINTS):
            return None
        if self.stage.spec.enlarges:
            raise ValueError("depth is learned by stages that draw: of the parts that one enlarges it is not known")
        return DepthMaps(cache)

    def begun(self, network: Adapter) -> Adapter:
        """The network with what it is to know before it learns: nothing here."""
        return network

    def loss(self, model: Adapter, generator: torch.Generator, progress: float) -> Tensor:
        """Loss of one batch of pictures under hints made of them."""
        self._look_for_more()
        x_0, text, base = self._batch(generator)
        told = model.told(self._given(x_0, text, base, generator))
        channels = x_0.shape[1]  # a learned variance lies behind them, and learns nothing here
        times = draw_times(len(x_0), generator, power=self.plan.time_power)

        def network(x_t: Tensor, time: Tensor) -> Tensor:
            return self.network(x_t, time, base + model.at(x_t, time, told))[:, :channels]

        loss = diffusion_loss(
            network,
            x_0,
            schedule=self.stage.schedule,
            prediction_type=self.stage.spec.prediction_type,
            times=self.stage.schedule.trained(times).to(self.device),
            noise=torch.randn(x_0.shape, generator=generator).to(self.device),
            max_weight=self.plan.max_weight,
        )
        return loss + self._besides(base, told, progress)

    def _besides(self, base: Signals, told: Signals, progress: float) -> Tensor | float:
        """What is learned beside drawing: nothing."""
        return 0.0

    def _given(self, x_0: Tensor, text: TextEmbeds | None, base: Signals, generator: torch.Generator) -> Given:
        regions = None if self.maps is None else self.maps.of(self.indices)
        depths = None if self.depths is None else self.depths.of(self.indices)
        hints, kind = hints_of(x_0, self.plan.config.kinds, generator, regions, depths)
        return Given(picture=hints, kind=kind, text=text, base=base)

    def _look_for_more(self) -> None:
        self.calls += 1
        if self.calls % REFRESH_STEPS == 0:
            self.cache.refresh()
            for maps in filter(None, (self.maps, self.depths)):
                maps.refresh()
            if self.texts is not None:
                with torch.autocast(self.device.type, enabled=False):
                    self.texts.refresh()

    def _batch(self, generator: torch.Generator) -> tuple[Tensor, TextEmbeds | None, Signals]:
        """Pictures, their captions, and what the base is told of them."""
        return self._enlarging(generator) if self.stage.spec.enlarges else self._drawing(generator)

    def _drawing(self, generator: torch.Generator) -> tuple[Tensor, TextEmbeds | None, Signals]:
        self.indices = indices = torch.randint(len(self.cache), (self.batch_size,), generator=generator).tolist()
        x_0 = self.cache.pictures(indices).to(self.device)
        if self.texts is None:
            return x_0, None, Signals()
        text = self.texts.of(indices, torch.rand(len(indices), generator=generator) < self.plan.null_fraction)
        text = TextEmbeds(embeds=text.embeds.to(self.device), mask=text.mask.to(self.device))
        return x_0, text, self.stage.unet.encode_text(text)

    def _enlarging(self, generator: torch.Generator) -> tuple[Tensor, None, Signals]:
        """Crops, and the same small, grown back and noised. The prompt of a stage that reads one is left empty."""
        x_0 = self.cache.crops(self.batch_size, self.plan.crop, generator).large.to(self.device)
        level = torch.rand(len(x_0), generator=generator).to(self.device) ** 1.5 * self.plan.max_aug_level
        noise = torch.randn(x_0.shape, generator=generator).to(self.device)
        low_res = augment(shrunk_and_grown(x_0), level, self.stage.schedule, noise)
        return x_0, None, Signals(pixels=low_res, aug_level=level)

    def preview(self, model: Adapter) -> Preview:
        """Rows, for each kind: hints of held-out pictures, and what is drawn under them. Figures: how well it follows."""
        pictures = self.shown.pictures(range(min(SHOWN, len(self.shown)))).to(self.device)
        spec = AdapterSpec.of(model, self.stage)
        rows, figures = [], {}
        for name in self.plan.config.kinds:
            hints = plain_hints(name, pictures, self._depths(self.shown))
            control = Control(adapter=LoadedAdapter(network=model, spec=spec), picture=hints, kind=name)
            drawn = self.drawn(pictures, self.shown.captions, [control])
            rows += [hints, drawn]
            figures |= {f"{name}_{key}": value for key, value in followed(name, drawn, pictures.cpu()).items()}
        return Preview(picture=grid(torch.cat([each.cpu() for each in rows]), columns=len(pictures)), figures=figures)

    def drawn(self, pictures: Tensor, captions: list[str], controls: list[Control]) -> Tensor:
        """One picture a caption, or each small picture enlarged, under the controls, from fixed seeds: (b 3 h w)."""
        draw = Draw(seeds=range(len(pictures)), controls=controls)
        if self.stage.spec.enlarges:
            return super_resolve(self.stage, shrink(pictures), None, draw)
        prompt = None
        if self.texts is not None:
            prompt = Prompt(text=self.texts.encoder.encode(list(captions[: len(pictures)])))
        height, width = pictures.shape[-2:]
        return sample_base(self.stage, prompt, draw, height=height, width=width)


def start_adapter(plan: ControlPlan, stage: Stage, options: TrainOptions) -> Adapter:
    """A fresh control, its copy beginning as the base; or `--from-weights`'. What it leaves as it is takes no gradient."""
    network = _started(plan, stage, options) if plan.lora_rank is None else _changed(plan, stage, options)
    for name in network.frozen:
        if (part := getattr(network, name)) is not None:
            part.requires_grad_(False)
    return network


def _changed(plan: ControlPlan, stage: Stage, options: TrainOptions) -> Adapter:
    """A control whose copy learns as a change of the base; or `--from-weights`', where that is one of the same rank."""
    network = _started(plan, stage, dataclasses.replace(options, from_weights=None))
    base = {f"{network.taken_over}.{key}": weight for key, weight in stage.unet.state_dict().items()}
    as_change(network, base, plan.lora_rank, seed=options.seed)
    if options.from_weights is not None:
        before = read_adapter_change(options.from_weights)
        if before is None:
            raise ValueError(f"{options.from_weights} is kept whole, and no change to go on from: leave out --rank")
        _check_settings(load_adapter(options.from_weights), plan, stage, options)
        go_on_from(network, before)
    return network


def _check_settings(loaded: LoadedAdapter, plan: ControlPlan, stage: Stage, options: TrainOptions) -> None:
    loaded.check_fits(stage)
    if loaded.spec.config != plan.config:
        raise ValueError(f"{options.from_weights} has other settings than are asked for: {loaded.spec.config}")


def _started(plan: ControlPlan, stage: Stage, options: TrainOptions) -> Adapter:
    if options.from_weights is not None:
        loaded = load_adapter(options.from_weights)
        _check_settings(loaded, plan, stage, options)
        return loaded.network.requires_grad_(True)
    torch.manual_seed(options.seed)
    network = build_adapter(plan.adapter, plan.config, stage.spec.unet_config).begin_as(stage.unet)
    if plan.code is not None:
        return network.knowing_by(load_identity_code(plan.code))
    return network if plan.clip is None else network.seeing_as(load_clip(plan.clip, towers=("vision",)))
