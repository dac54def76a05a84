"""How is each kind of control trained: on which pictures, with which network, optimiser and course? (Only settings here.)"""

from __future__ import annotations

import dataclasses
from dataclasses import dataclass
from pathlib import Path

from imagen_core import ADAPTERS, HINTS, StageSpec
from imagen_core.adapters import AdapterConfig, sight_of
from imagen_core.clip.loading import open_clip

from .data import KINDS
from .identity_code import SHOWN, load_identity_code
from .identity_embeds import embeds_width
from .loop import LoopConfig
from .optim import OptimConfig
from .phrases import sizes
from .plans import held_out_set

# The pictures of imagen-mini's stages, and which are held out.
PICTURES = {
    "base64": ("things64_wide", "things64_wide_held_out"),
    "sr256": ("things256", "things256_held_out"),
    "sr1024": ("things1024", "things1024_held_out"),
}
# A copy of trained weights learns at a quarter of the rate at which the network itself was made.
COPY_RATES = OptimConfig(muon_lr=0.005, adamw_lr=1e-3)
COPIED = 3  # of imagen-mini's six blocks: PixArt-delta (2401.05252, section 4) copies the first half too
KNOWN_BY = (
    2  # blocks that an identity's copy has: what it reads is less than a prompt says, and its file stays below 8 MB
)
FINE_WIDTH = 32  # of what reads the hint for a base's fine level, as wide as that of imagen-mini's
FRESH_RATES = OptimConfig(muon_lr=0.01, adamw_lr=1e-3)
TRANSLATED = 256  # pictures a step, where none has to be drawn


@dataclass(frozen=True, kw_only=True)
class ControlPlan:
    """How one control is trained on a frozen base."""

    base: Path  # the stage's file
    adapter: str  # a key of ADAPTERS
    config: AdapterConfig
    pictures: str | None = None  # a set of pictures in the cache; None: the base's own of imagen-mini
    held_out: str | None = None  # those that previews are about
    text_encoder: Path | None = None  # its folder; None: found by the base's width, see `encoder_for`
    folder: Path | None = None  # of one's own pictures with captions, instead; see `own_pictures`
    clip: Path | None = None  # of an image prompt, the CLIP by which it sees; None: it learns to see itself
    code: Path | None = None  # of an identity, the encoder by which it knows; see `identity_code`
    embeds: Path | None = None  # or what another encoder says of the pictures; see `identity_embeds`
    crop: int = 64  # side of what an enlarging stage is trained on
    batch_size: int = 64
    null_fraction: float = 0.5  # captions dropped, so that the hint alone says something (2302.05543, section 3.3)
    time_power: float = 0.75  # t = u^power: below 1 noise, where layout and colour are decided, comes more often
    max_weight: float = 5.0  # see `losses.loss_weight`
    max_aug_level: float = 0.3  # of an enlarging stage's small picture
    eight_bits: bool = False  # whether the file keeps its large weights in int8, else all in float16
    # What the adapter takes over of its base learns as a change of this rank, and is kept so; None: whole
    lora_rank: int | None = None
    optim: OptimConfig = COPY_RATES
    loop: LoopConfig = LoopConfig()


def control_plan(
    base: Path, hints: tuple[str, ...], *, depth: int | None = COPIED, lora_rank: int | None = None
) -> ControlPlan:
    """A ControlNet that reads these kinds of hints. depth: how many blocks of a transformer are copied, None for all.

    lora_rank: its copy is learned and kept as a change of the base of this rank, so that its file is small.
    """
    config = ADAPTERS["controlnet"].config_cls(kinds=_known(hints), depth=depth, fine_width=FINE_WIDTH)
    optim = COPY_RATES if lora_rank is None else FRESH_RATES
    return ControlPlan(
        base=base, adapter="controlnet", config=config, eight_bits=True, lora_rank=lora_rank, optim=optim
    )


def adapter_plan(base: Path, hints: tuple[str, ...]) -> ControlPlan:
    """A T2I-Adapter that reads them; early times come more often still, as they decide what it can say (2302.08453)."""
    config = ADAPTERS["t2i_adapter"].config_cls(kinds=_known(hints))
    return ControlPlan(base=base, adapter="t2i_adapter", config=config, time_power=0.5, optim=FRESH_RATES)


def image_prompt_plan(base: Path, clip: Path | None = None, *, words: bool = False) -> ControlPlan:
    """An image prompt, which sees as a CLIP does where one is named; half of the captions dropped, so that the picture
    says it all as often as not. words: it translates what the CLIP sees to words of the base's, see `PictureWords`.
    """
    if words and clip is None:
        raise ValueError("a picture is put into words by what a CLIP sees in it: name one with --clip")
    if clip is None:
        config = ADAPTERS["image_prompt"].config_cls()
        return ControlPlan(base=base, adapter="image_prompt", config=config, optim=FRESH_RATES)
    kind = "picture_words" if words else "clip_prompt"
    config = ADAPTERS[kind].config_cls(**sight_of(open_clip(clip)[0]), **(sizes() if words else {}))
    plan = ControlPlan(base=base, adapter=kind, config=config, clip=clip, optim=FRESH_RATES)
    return dataclasses.replace(plan, batch_size=TRANSLATED, eight_bits=True) if words else plan


def reference_plan(base: Path) -> ControlPlan:
    """A reference for a stage that enlarges; crops are large enough for one texture to come twice."""
    config = ADAPTERS["reference"].config_cls()
    return ControlPlan(
        base=base, adapter="reference", config=config, crop=96, batch_size=32, time_power=1.0, optim=FRESH_RATES
    )


def identity_plan(
    base: Path, code: Path | None, embeds: Path | None = None, *, depth: int | None = KNOWN_BY
) -> ControlPlan:
    """An identity: by the encoder that `imagen train identity_code` made, or by what another one says of the pictures."""
    known = {"channels": (), "code": embeds_width(embeds)} if embeds is not None else {}
    if embeds is None:
        load_identity_code(code)  # found out now, not after the base is loaded
    config = ADAPTERS["identity"].config_cls(depth=depth, fine_width=FINE_WIDTH, **known)
    return ControlPlan(
        base=base,
        adapter="identity",
        config=config,
        pictures=SHOWN,
        code=None if embeds is not None else code,
        embeds=embeds,
        batch_size=48,
        eight_bits=True,
        optim=FRESH_RATES,
        loop=LoopConfig(warmup_steps=50, decay_start=0.4, ema_half_life=60.0),
    )


def _known(hints: tuple[str, ...]) -> tuple[str, ...]:
    if unknown := [hint for hint in hints if hint not in HINTS]:
        raise ValueError(f"no hint is called {', '.join(unknown)}: expected some of {', '.join(sorted(HINTS))}")
    if not hints or len(set(hints)) < len(hints):
        raise ValueError(f"a control reads at least one kind of hint, and each once: got {', '.join(hints) or 'none'}")
    return hints


def with_pictures(plan: ControlPlan, spec: StageSpec) -> ControlPlan:
    """The plan with the pictures that its base was trained on, where it names none. ValueError where none are known."""
    if plan.pictures is not None or plan.folder is not None:
        return plan
    if (own := spec.training.get("pictures")) in KINDS:
        return dataclasses.replace(plan, pictures=own)
    if spec.stage not in PICTURES:
        raise ValueError(
            f"there are no pictures that a {spec.stage} stage is trained on: name some with --folder or --pictures"
        )
    pictures, held_out = PICTURES[spec.stage]
    return dataclasses.replace(plan, pictures=pictures, held_out=held_out)


def held_out_of(spec: StageSpec) -> str:
    """The held-out pictures of those that a stage was trained on, or else of its size. ValueError where none are known."""
    if own := held_out_set(spec.training.get("pictures")):
        return own
    if spec.stage not in PICTURES:
        raise ValueError(f"no pictures are held out for a {spec.stage} stage: name some with --pictures")
    return PICTURES[spec.stage][1]
