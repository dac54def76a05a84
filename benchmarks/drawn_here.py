"""What does one checkout draw? Started by same_pictures.py in a process of its own; inputs are those that 0.1 had.

    python drawn_here.py CHECKOUT MODELS draw PICTURES.safetensors
    python drawn_here.py CHECKOUT MODELS bridge PICTURES.safetensors COMFYUI    (ComfyUI draws with our stages)
    python drawn_here.py CHECKOUT MODELS write                  (tiny stages, as that checkout saves them)

Every input is written out: a default that has changed since is no difference of the picture that a saved graph draws.
"""

from __future__ import annotations

import importlib
import importlib.util
import sys
from collections.abc import Iterator
from pathlib import Path
from types import ModuleType
from typing import Any

import torch
from safetensors.torch import save_file
from torch import Tensor

Named = Iterator[tuple[str, Tensor]]
TEXT_DIM = 128  # what tests/deepfloyd_fixtures.py gives its stages to read
PROMPT = "a red sphere to the left of a blue cube"
SCHEDULES = {
    "cosine": {"name": "cosine", "logsnr_min": -3.0, "logsnr_max": 8.0},
    "linear": {"name": "linear", "logsnr_min": -3.0},
    "discrete": {"name": "discrete", "betas": "squaredcos_cap_v2", "num_timesteps": 1000},
}
TINY_BASE = {
    "image_size": 16,
    "channels": 16,
    "channel_mult": (1, 2),
    "num_res_blocks": 1,
    "attention_resolutions": (8,),
    "per_head_channels": 8,
    "text_embed_dim": TEXT_DIM,
}
SAMPLERS = ("dpmpp_2m", "dpmpp_2m_sde", "ddim", "ddpm", "heun")
NO_START = {"strength": 0.7, "resample": 1}
BASE = {"seed": 7, "steps": 6, "guidance_scale": 3.0, "sampler": "dpmpp_2m", "width": 64, "height": 64, "batch_size": 1}
LARGER = {"seed": 7, "steps": 3, "guidance_scale": 1.0, "sampler": "dpmpp_2m", "aug_level": 0.0, "factor": 4}
GUIDANCE = {"start": 0.0, "end": 1.0, "rescale": 0.0, "eta": 0.0, "momentum": 0.0, "norm_threshold": 0.0}
GUIDANCES = {
    "rescale": {"method": "classifier_free", "rescale": 0.7},
    "interval": {"method": "classifier_free", "start": 0.2, "end": 0.8},
    "apg": {"method": "apg", "eta": 0.3, "momentum": -0.5, "norm_threshold": 10.0},
}
THRESHOLDS = {
    "static": {"method": "static", "percentile": 99.5, "maximum": 0.0},
    "none": {"method": "none", "percentile": 99.5, "maximum": 0.0},
    "dynamic 95, at most 1.5": {"method": "dynamic", "percentile": 95.0, "maximum": 1.5},
}
KSAMPLER = {"seed": 7, "steps": 6, "cfg": 3.0, "sampler_name": "dpmpp_2m", "scheduler": "exponential", "denoise": 1.0}
MIMIC = {
    "mimic_scale": 2.0,
    "percentile": 99.5,
    "method": "dynamic",
    "channels": "joint",
    "space": "auto",
    "maximum": 0.0,
    "start": 0.0,
    "end": 1.0,
    "curve": "constant",
}


class Pack:
    """The node pack of a checkout, loaded as ComfyUI loads it, and the host's own nodes where there are any."""

    def __init__(self, checkout: Path, host: dict[str, type] | None = None) -> None:
        name = str(checkout).replace(".", "_x_")
        start = checkout / "__init__.py"
        spec = importlib.util.spec_from_file_location(name, start, submodule_search_locations=[str(checkout)])
        module = importlib.util.module_from_spec(spec)
        sys.modules[name] = module
        spec.loader.exec_module(module)
        self.name, self.classes = name, module.NODE_CLASS_MAPPINGS | (host or {})

    def part(self, name: str) -> ModuleType:
        return importlib.import_module(f"{self.name}.{name}")

    def __call__(self, node: str, /, **inputs: Any) -> Any:
        """What a node gives: its first output, or all of them where there are several."""
        found = self.classes[node]
        given = getattr(found(), found.FUNCTION)(**inputs)
        return given[0] if len(given) == 1 else given

    def stage(self, checkpoint: str, dtype: str = "float32") -> Any:
        return self("ImagenLoadUNet", checkpoint=checkpoint, dtype=dtype)

    def read(self, text: str, negative: str = "", padding: str = "auto") -> Any:
        encoder = self(
            "ImagenLoadTextEncoder", text_encoder="imagen-mini/text_encoder", weights="memory", prompt_cache="off"
        )
        return self("ImagenTextEncode", text_encoder=encoder, text=text, negative_text=negative, padding=padding)

    def random_text(self, tokens: int = 77) -> Any:
        """A prompt and a negative one of random numbers, padded as DeepFloyd IF pads them."""
        core = self.part("imagen_core")
        embeds = torch.randn(2, tokens, TEXT_DIM, generator=torch.Generator().manual_seed(1))
        mask = torch.arange(tokens)[None] < torch.tensor([[9], [1]])
        text, negative = (core.TextEmbeds(embeds=embeds[i : i + 1], mask=mask[i : i + 1]) for i in range(2))
        return core.Prompt(text=text, negative=negative)

    def base(self, unet: Any, text: Any, **changes: Any) -> Tensor:
        return self("ImagenBaseSample64", unet=unet, text=text, **{**BASE, **NO_START, "spacing": "auto", **changes})

    def larger(self, unet: Any, image: Tensor, **changes: Any) -> Tensor:
        return self("ImagenSuperRes", unet=unet, image=image, **{**LARGER, **NO_START, "spacing": "auto", **changes})

    def guidance(self, **settings: Any) -> Any:
        return self("ImagenGuidance", **{**GUIDANCE, **settings})


def write(pack: Pack, folder: Path) -> None:
    """A base of random weights for every schedule and prediction type, and one that learned its variance."""
    core, unets = pack.part("imagen_core"), pack.part("imagen_core.unets")
    kinds = [(schedule, kind, False) for schedule in SCHEDULES for kind in ("eps", "v", "x_0")]
    for schedule, kind, learned in [*kinds, ("discrete", "eps", True)]:
        config = unets.BaseUNetConfig(**TINY_BASE, out_channels=6 if learned else 3)
        torch.manual_seed(0)
        unet = core.build_unet(config)
        for parameter in unet.parameters():  # the output layer starts at zero, and zero would hide every fault
            torch.nn.init.normal_(parameter, std=0.1)
        facts = {"schedule_config": SCHEDULES[schedule], "prediction_type": kind, "learned_variance": learned}
        spec = core.StageSpec(stage="base64", unet_config=config, **facts)
        core.save_checkpoint(folder / f"{tiny_name(schedule, kind, learned)}.safetensors", unet, spec=spec)


def tiny_name(schedule: str, kind: str, learned: bool = False) -> str:
    return f"tiny_{schedule}_{kind}" + "_learned_variance" * learned


def draw(pack: Pack) -> Named:
    """Everything that needs no ComfyUI."""
    unet, text = pack.stage("imagen-mini/base64.safetensors"), pack.read(PROMPT)
    yield from base_pictures(pack, unet, text)
    yield from started_from_a_picture(pack, unet, text)
    yield from tiny_stages(pack)
    yield from enlarged(pack, pack.base(unet, text), text)
    yield from deepfloyd(pack)


def base_pictures(pack: Pack, unet: Any, text: Any) -> Named:
    for sampler in SAMPLERS:
        yield f"base64, {sampler}", pack.base(unet, text, sampler=sampler)
    for spacing in ("uniform", "logsnr", "karras"):
        yield f"base64, spacing {spacing}", pack.base(unet, text, spacing=spacing)
    for name, settings in GUIDANCES.items():
        yield f"base64, guidance {name}", pack.base(unet, text, guidance=pack.guidance(**settings))
    yield "base64, guidance off", pack.base(unet, text, guidance_scale=1.0)
    for name, settings in THRESHOLDS.items():
        yield f"base64, threshold {name}", pack.base(unet, text, threshold=pack("ImagenThreshold", **settings))
    yield "base64, negative prompt", pack.base(unet, pack.read(PROMPT, "a green cone"))
    yield "base64, prompt padded to 77", pack.base(unet, pack.read(PROMPT, padding="77"))
    yield "base64, batch of two, 96 x 64", pack.base(unet, text, batch_size=2, width=96)
    yield "base64, bfloat16", pack.base(pack.stage("imagen-mini/base64.safetensors", "bfloat16"), text)


def started_from_a_picture(pack: Pack, unet: Any, text: Any) -> Named:
    start = {"init_image": gradient(64)}
    for sampler in SAMPLERS:
        yield f"base64, img2img, {sampler}", pack.base(unet, text, sampler=sampler, strength=0.6, **start)
    for resample, sampler in ((1, "dpmpp_2m"), (1, "heun"), (2, "ddpm"), (2, "ddim"), (2, "dpmpp_2m_sde")):
        chosen = {"sampler": sampler, "strength": 0.9, "resample": resample, "mask": disc(64)}
        yield f"base64, inpainting, {sampler}, resample {resample}", pack.base(unet, text, **start, **chosen)


def tiny_stages(pack: Pack) -> Named:
    text, shape = pack.random_text(), {"width": 16, "height": 16, "batch_size": 2}
    for schedule in SCHEDULES:
        for kind in ("eps", "v", "x_0"):
            for layout in ("", "aligned_"):
                unet = pack.stage(f"{layout}{tiny_name(schedule, kind)}.safetensors")
                name = f"tiny base (F.1), {schedule}, {kind}" + ", file on boundaries" * bool(layout)
                yield name, pack.base(unet, text, **shape)
    learned = pack.stage(f"{tiny_name('discrete', 'eps', True)}.safetensors")
    for sampler in SAMPLERS:
        name = f"tiny base (F.1), learned variance, {sampler}"
        yield name, pack.base(learned, text, sampler=sampler, **shape)


def enlarged(pack: Pack, small: Tensor, text: Any) -> Named:
    sr256, sr1024 = (pack.stage(f"imagen-mini/{name}.safetensors") for name in ("sr256", "sr1024"))
    at_256 = pack.larger(sr256, small)
    yield "sr256", at_256
    for sampler in SAMPLERS:
        yield f"sr256, aug_level .2, {sampler}", pack.larger(sr256, small, aug_level=0.2, sampler=sampler, steps=2)
    yield "sr256, prompt given", pack.larger(sr256, small, text=text)
    yield "sr256, twice as large", pack.larger(sr256, small, factor=2)
    repainted = {"init_image": gradient(256), "mask": disc(256), "strength": 0.8, "aug_level": 0.1}
    yield "sr256, inpainting", pack.larger(sr256, small, **repainted)
    yield "sr1024, 256 to 1024", pack.larger(sr1024, at_256, steps=2)
    yield "sr1024, aug_level .1, 64 to 256", pack.larger(sr1024, small, aug_level=0.1)
    yield "Imagen Resize", pack("ImagenResize", image=at_256, longest_side=100)


def deepfloyd(pack: Pack) -> Named:
    text = pack.random_text()
    first, second = pack.stage("if_base64"), pack.stage("if_sr256")
    small = pack.base(first, text, guidance_scale=7.0)
    yield "tiny DeepFloyd IF, stage I", small
    for sampler, spacing in (("ddpm", "fast27"), ("ddpm", "uniform"), ("ddim", "uniform"), ("heun", "auto")):
        name = f"tiny DeepFloyd IF, stage I, {sampler}, {spacing}"
        yield name, pack.base(first, text, sampler=sampler, spacing=spacing, guidance_scale=7.0, batch_size=2)
    start = {"init_image": gradient(64), "mask": disc(64), "strength": 0.7, "resample": 2}
    yield "tiny DeepFloyd IF, stage I, inpainting", pack.base(first, text, sampler="ddpm", **start)
    shape = {"factor": 2, "text": text, "guidance_scale": 4.0, "aug_level": 0.25}
    for sampler, spacing in (("ddpm", "super27"), ("dpmpp_2m", "auto")):
        yield (
            f"tiny DeepFloyd IF, stage II, {sampler}, {spacing}",
            pack.larger(second, small, sampler=sampler, spacing=spacing, **shape),
        )


def bridge(pack: Pack) -> Named:
    """Our stages as ComfyUI's MODEL, drawn by its KSampler."""
    unet, text = pack.stage("imagen-mini/base64.safetensors"), pack.read(PROMPT, "a green cone")
    given = pack("ImagenToModel", unet=unet, text=text, aug_level=0.0, aug_seed=0)
    for sampler, scheduler in (
        ("euler", "karras"),
        ("dpmpp_2m", "exponential"),
        ("dpmpp_2m_sde", "karras"),
        ("ddim", "simple"),
    ):
        settings = {"sampler_name": sampler, "scheduler": scheduler}
        yield f"KSampler, base64, {sampler}, {scheduler}", ksampled(pack, given, 64, **settings)
    model, *prompts = given
    mimicked = pack("ImagenThresholdModel", model=model, **MIMIC)
    yield "KSampler, base64, Imagen Threshold Model", ksampled(pack, (mimicked, *prompts), 64)
    guided = pack("ImagenGuidanceModel", model=model, start=0.1, end=0.8, rescale=0.7)
    yield "KSampler, base64, Imagen Guidance Model", ksampled(pack, (guided, *prompts), 64)
    for kind in (tiny_name("discrete", "eps"), tiny_name("linear", "v")):
        tiny = pack.stage(f"{kind}.safetensors")
        told = pack("ImagenToModel", unet=tiny, text=pack.random_text(), aug_level=0.0, aug_seed=0)
        yield f"KSampler, {kind.replace('_', ' ')}", ksampled(pack, told, 16)
    sr256 = pack.stage("imagen-mini/sr256.safetensors")
    told = pack("ImagenToModel", unet=sr256, aug_level=0.1, aug_seed=3, low_res=gradient(64))
    yield "KSampler, sr256", ksampled(pack, told, 256, steps=2, cfg=1.0)


def ksampled(pack: Pack, given: tuple, side: int, **changes: Any) -> Tensor:
    model, positive, negative = given
    latent = pack("ImagenEmptyPixels", width=side, height=side, batch_size=1)
    parts = {"model": model, "positive": positive, "negative": negative, "latent_image": latent}
    return pack("KSampler", **parts, **{**KSAMPLER, **changes})["samples"]


def gradient(side: int) -> Tensor:
    """A picture to start from (1 h w c) in [0, 1]."""
    across = torch.linspace(0, 1, side).expand(side, side)
    return torch.stack([across, across.T, 1 - across], dim=-1)[None]


def disc(side: int) -> Tensor:
    """What is repainted (1 h w): a disc with a soft rim."""
    at = torch.linspace(-1, 1, side)
    return ((0.6 - (at**2 + at[:, None] ** 2).sqrt()) * 8).clamp(0, 1)[None]


def comfyui_nodes(comfyui: str, models: str) -> dict[str, type]:
    sys.path.insert(0, comfyui)
    importlib.import_module("comfy.cli_args").args.cpu = True
    importlib.import_module("folder_paths").add_model_folder_path("imagen", models)
    return importlib.import_module("nodes").NODE_CLASS_MAPPINGS


@torch.inference_mode()
def main(checkout: str, models: str, what: str, target: str = "", comfyui: str = "") -> None:
    torch.set_num_threads(1)
    pack = Pack(Path(checkout), comfyui_nodes(comfyui, models) if comfyui else None)
    if what == "write":
        with torch.inference_mode(False):
            return write(pack, Path(models))
    drawn = {}
    for name, picture in {"draw": draw, "bridge": bridge}[what](pack):
        drawn[name] = picture.float().contiguous().clone()
        print(name, file=sys.stderr, flush=True)
    save_file(drawn, target)


if __name__ == "__main__":
    main(*sys.argv[1:])
