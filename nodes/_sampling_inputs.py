"""The inputs that every sampler node shares, and what their values mean to the core."""

from dataclasses import replace

from ..imagen_core import (
    MOVED,
    RESPACINGS,
    SAMPLERS,
    SPACINGS,
    STRIDES,
    Draw,
    InitImage,
    PicturedPrompt,
    Tiling,
    TypedPrompt,
    make_guidance,
)
from . import _host, _sockets

SAMPLER_TIP = (
    "dpmpp_2m: fast and exact, the default. dpmpp_2m_sde: the same with fresh noise each step. heun: two calls a step. "
    "ddim: deterministic, wants 50 steps or more. ddpm: the paper's ancestral sampler, wants 100 or more. consistency: for "
    "consistency models, which no other draws; 1 to 4 steps. lcm: for networks that were distilled to 2 to 8 steps with it."
)
SPACING_TIP = (
    "At which noise levels the network is called. auto: the checkpoint's or the sampler's own. uniform: even steps of time, "
    "DeepFloyd IF's plain number of steps. logsnr: suits dpmpp_2m. karras: EDM's. consistency: that sampler's own. leading, "
    "linspace and trailing count timesteps as diffusers does. The others are DeepFloyd IF's own lists, for ddpm on its "
    "checkpoints: smart100 or smart50 for stage I, smart50 or super27 for stage II. Their number is the "
    "number of steps, whatever `steps` says. glide27 is GLIDE's, for ddim on its upsampler."
)
INIT_TIP = (
    "A picture to start from, as large as you like: it is cut about its centre to the shape drawn and shrunk. Without a "
    "mask all of it is redrawn (img2img), with one only the white part (inpainting). Look at strength."
)
MASK_TIP = (
    "White is repainted, black stays exactly as it is, grey blends; from Load Image (paint in its mask editor) or any mask "
    "node. Needs init_image."
)
STRENGTH_TIP = (
    "Only with init_image: how much noise it gets before it is redrawn (denoise elsewhere). 1 ignores what is repainted, "
    "0.7 keeps its colours and layout, 0.3 changes details. Fewer steps are run the lower it is."
)
RESAMPLE_TIP = (
    "Only with init_image, for masks: how often each part of the way is drawn again so that new and old fit together "
    "(RePaint). 1 is off, 4 helps large holes, 10 is the paper's; time grows with it."
)
OPTIONS_TIP = (
    "From Imagen Sampler: a sampler with settings of its own, in place of the one chosen here, and perhaps a list of "
    "timesteps, in place of steps and spacing."
)
CONTROL_TIP = "From Imagen Control: a hint that the picture follows, such as edges or a palette."

TILE_TIP = (
    "0 draws the picture in one piece. Otherwise the network sees squares of this many pixels of the result, one after the "
    "other, and memory no longer grows with the picture: 512 or 1024 for results above 2048. Multiples of 32."
)
OVERLAP_TIP = (
    "Only with tile_size: how many pixels neighbouring tiles share. They are blended there at every step, which leaves no "
    "seams from 32 on; more costs time. At most half of tile_size; 0 shows the seams."
)


def seed_input() -> tuple:
    return (
        "INT",
        {
            "default": 0,
            "min": 0,
            "max": 2**53 - 1,
            "control_after_generate": True,
            "tooltip": "Same seed and same settings, same picture. Picture i of a batch uses seed + i, so that each can "
            "be drawn again alone.",
        },
    )


def steps_input(default: int) -> tuple:
    return (
        "INT",
        {
            "default": default,
            "min": 1,
            "max": 1000,
            "tooltip": f"How often the network is called. {default} is enough for dpmpp_2m; more costs time and changes "
            "little, very few blur.",
        },
    )


def batch_size_input() -> tuple:
    return ("INT", {"default": 1, "min": 1, "max": 64, "tooltip": "How many pictures are drawn at once."})


def sampler_input() -> tuple:
    names = sorted(SAMPLERS, key=lambda name: (name != "dpmpp_2m", name))
    return (names, {"default": "dpmpp_2m", "tooltip": SAMPLER_TIP})


def guidance_scale_input(default: float, tooltip: str) -> tuple:
    return ("FLOAT", {"default": default, "min": 1.0, "max": 50.0, "step": 0.1, "tooltip": tooltip})


def optional_inputs() -> dict:
    return {
        "guidance": (
            _sockets.GUIDANCE,
            {"tooltip": "From Imagen Guidance: how guidance is applied. Without it, plain classifier-free guidance."},
        ),
        "threshold": (
            _sockets.THRESHOLD,
            {
                "tooltip": "From Imagen Threshold. Without it, what the checkpoint asks for (things64: static; "
                "DeepFloyd IF: dynamic at 95 %), or the paper's dynamic thresholding at 99.5 %."
            },
        ),
        "spacing": (
            ["auto", *SPACINGS, *RESPACINGS, *STRIDES, *MOVED],
            {"default": "auto", "advanced": True, "tooltip": SPACING_TIP},
        ),
        "init_image": (_sockets.IMAGE, {"tooltip": INIT_TIP}),
        "mask": (_sockets.MASK, {"tooltip": MASK_TIP}),
        "strength": ("FLOAT", {"default": 0.7, "min": 0.01, "max": 1.0, "step": 0.01, "tooltip": STRENGTH_TIP}),
        "resample": ("INT", {"default": 1, "min": 1, "max": 20, "advanced": True, "tooltip": RESAMPLE_TIP}),
        "control": (_sockets.CONTROL, {"tooltip": CONTROL_TIP}),
    }


def options_input() -> dict:
    return {"sampler_options": (_sockets.SAMPLER, {"tooltip": OPTIONS_TIP})}


def tiling_inputs() -> dict:
    pixels = {"min": 0, "max": 4096, "step": 32, "advanced": True}
    return {
        "tile_size": ("INT", {"default": 0, **pixels, "tooltip": TILE_TIP}),
        "overlap": ("INT", {"default": 64, **pixels, "tooltip": OVERLAP_TIP}),
    }


def in_tiles(draw, tile_size, overlap) -> Draw:
    """The same run in tiles, each of which counts as progress; a tile_size of 0 is none."""
    if tile_size == 0:
        return draw
    return replace(draw, tiling=Tiling(size=tile_size, overlap=overlap, callback=draw.callback.part))


def start_from(init_image, mask, strength, resample) -> InitImage | None:
    """The picture to start from, in the core's form, or None where there is none. Raises ValueError for a lone mask."""
    if init_image is None and mask is not None:
        raise ValueError("a mask says which part of init_image is repainted: connect a picture to init_image as well")
    if init_image is None:
        return None
    pixels, holes = _host.image_to_core(init_image), None if mask is None else _host.mask_to_core(mask)
    return InitImage(pixels=pixels, mask=holes, strength=strength, resample=resample)


def check_space(unet, *, pictures: bool) -> None:
    """Raise ValueError, saying which node takes it, for a stage that draws pictures where latents are, or the reverse."""
    if unet.spec.space.holds_pictures != pictures:
        other = "Imagen Sample Latents" if pictures else "Imagen Base Sample 64"
        raise ValueError(f"this stage draws {unet.spec.space.name}: use {other}")


def draw_of(
    *,
    seed,
    batch_size,
    steps,
    sampler,
    guidance_scale,
    guidance=None,
    threshold=None,
    spacing="auto",
    init_image=None,
    mask=None,
    strength=0.7,
    resample=1,
    control=(),
    sampler_options=None,
) -> Draw:
    """The values of the inputs above, by their names, as the core takes them; each step is reported to the host."""
    chosen, respacing = sampler_options or (SAMPLERS[sampler](), None)
    return Draw(
        seeds=range(seed, seed + batch_size),
        steps=steps,
        sampler=chosen,
        guidance=make_guidance(guidance, scale=guidance_scale),
        thresholding=threshold,
        spacing=respacing or (None if spacing == "auto" else spacing),
        init=start_from(init_image, mask, strength, resample),
        callback=_host.step_reporter(steps),
        controls=control,
    )


def loaded(unet, texts, draw, height, width):
    """The stage, ready to draw pictures of this size, with whatever its guidance asks, and its controls.

    The stages read the prompts first: a text encoder that came to the device later would send them away again.
    """
    others = [stage for guidance in draw.guidances for stage in guidance.others.values()]
    for stage in (unet, *others):
        for text in texts:
            if isinstance(text, (PicturedPrompt, TypedPrompt)) and stage.reads_text:
                stage.read(text)
    others += [control.adapter for control in draw.controls]
    others += [network for guidance in draw.guidances for network in guidance.networks]
    tile = draw.tiling.size if draw.tiling else None
    return _host.loaded(unet, pictures=len(draw.seeds), height=height, width=width, beside=others, tile=tile)
