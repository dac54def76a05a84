"""Which graphs cross over to ComfyUI's own models and samplers? They run there, not in the embedded host."""

from __future__ import annotations

from _layout import Graph, save
from graphs_mini import GUIDANCE_SCALE, REPAIR, Slot, draw, enlarge, load, write_prompt

SD15 = "v1-5-pruned-emaonly-fp16.safetensors"
SDXL = "sd_xl_base_1.0.safetensors"


def native(graph: Graph, title: str, unet: Slot, **inputs) -> dict[str, Slot]:
    """A stage as a native model: three of KSampler's inputs."""
    stage = graph.add("ImagenToModel", title, unet=unet, **inputs)
    return {name: stage[name] for name in ("model", "positive", "negative")}


def sample_pixels(graph: Graph, side: int, **settings) -> Slot:
    """A column in which ComfyUI's KSampler draws pixels."""
    graph.column(f"KSampler draws {side}x{side}")
    empty = graph.add("ImagenEmptyPixels", f"{side}x{side}", width=side, height=side)["pixels"]
    settings |= {"latent_image": empty, "sampler_name": "dpmpp_2m", "scheduler": "exponential"}
    drawn = graph.add("KSampler", f"KSampler {side}", **settings)["LATENT"]
    return graph.add("ImagenPixelsToImage", pixels=drawn)["image"]


def imagen_native_ksampler(graph: Graph) -> None:
    """Both stages drawn by ComfyUI's own KSampler: stages as native models, pixels as latents."""
    text = write_prompt(graph)
    graph.note(
        "Any sampler, scheduler, LoRA or model patch of ComfyUI works here.\n"
        "dpmpp_2m with exponential is what Imagen Base Sample 64 does itself."
    )
    base, sr256 = load(graph, "things64", "sr256")
    graph.column("things64 as a native model")
    parts = native(graph, "things64 as a model", base, text=text)
    parts["model"] = graph.add("ImagenThresholdModel", model=parts["model"], method="static")["model"]
    small = sample_pixels(graph, 64, cfg=GUIDANCE_SCALE, steps=20, **parts)
    graph.column("sr256 as a native model")
    graph.add("PreviewImage", "64x64", images=small)
    parts = native(graph, "sr256 as a model", sr256, low_res=small, aug_level=REPAIR)
    save(graph, sample_pixels(graph, 256, cfg=1.0, steps=8, **parts), "native_ksampler")


def threshold_any_model(graph: Graph) -> None:
    """A Stable Diffusion checkpoint at cfg 7, and at cfg 20 without and with dynamic thresholding."""
    graph.after_run = "fixed"
    graph.column("Load and write")
    loaded = graph.add("CheckpointLoaderSimple", "Load checkpoint", ckpt_name=SD15)
    prompt = "a red fox in fresh snow, morning light, photograph"
    positive, negative = (
        graph.add("CLIPTextEncode", title, clip=loaded["CLIP"], text=words)["CONDITIONING"]
        for title, words in (("Prompt", prompt), ("Negative prompt", "blurry, deformed"))
    )
    graph.note(
        "Any checkpoint will do. mimic_scale is the cfg whose range of values is kept: where your model looks right.\n"
        "The three pictures differ in cfg and thresholding only."
    )
    graph.column("Threshold")
    empty = graph.add("EmptyLatentImage")["LATENT"]
    patched = graph.add("ImagenThresholdModel", model=loaded["MODEL"], mimic_scale=7.0)["model"]
    shared = {"positive": positive, "negative": negative, "latent_image": empty, "seed": 7, "steps": 25}
    shared |= {"sampler_name": "dpmpp_2m", "scheduler": "karras"}
    variants = {
        "cfg 7": {"model": loaded["MODEL"], "cfg": 7.0},
        "cfg 20": {"model": loaded["MODEL"], "cfg": 20.0},
        "cfg 20, thresholded": {"model": patched, "cfg": 20.0},
    }
    for title, settings in variants.items():
        graph.column(title)
        drawn = graph.add("KSampler", f"KSampler, {title}", **settings, **shared)["LATENT"]
        image = graph.add("VAEDecode", samples=drawn, vae=loaded["VAE"])["IMAGE"]
        name = title.replace(",", "").replace(" ", "_")
        graph.add("SaveImage", title, images=image, filename_prefix=f"imagen/threshold_any_model_{name}")


def imagen_to_latent_1024(graph: Graph) -> None:
    """Imagen draws 64 and 256, SDXL finishes at 1024 with a low denoise: a cascade across both worlds."""
    text = write_prompt(graph)
    base, sr256 = load(graph, "things64", "sr256")
    drawn = draw(graph, base, text)
    larger = enlarge(graph, sr256, drawn, 256, aug_level=REPAIR, steps=4)
    graph.add("PreviewImage", "256x256", images=larger)
    graph.column("Into SDXL's latents")
    loaded = graph.add("CheckpointLoaderSimple", "Load checkpoint", ckpt_name=SDXL)
    scaled = graph.add("ImageScale", "To 1024", image=larger, upscale_method="lanczos", width=1024, height=1024)[
        "IMAGE"
    ]
    latent = graph.add("VAEEncode", pixels=scaled, vae=loaded["VAE"])["LATENT"]
    graph.note("denoise says how much SDXL may change: 0.2 only sharpens, 0.5 repaints.")
    graph.column("Finish at 1024x1024")
    positive, negative = (
        graph.add("CLIPTextEncode", title, clip=loaded["CLIP"], text=said)["CONDITIONING"]
        for title, said in (
            ("Prompt for SDXL", "a red fox, toy figure, soft studio light, plain pink background"),
            ("Negative prompt", "blurry"),
        )
    )
    parts = {"model": loaded["MODEL"], "positive": positive, "negative": negative, "latent_image": latent}
    sampling = {"steps": 25, "cfg": 6.0, "sampler_name": "dpmpp_2m", "scheduler": "karras", "denoise": 0.35}
    finished = graph.add("KSampler", "KSampler 1024", **parts, **sampling)["LATENT"]
    graph.column("Save", width=470)
    image = graph.add("VAEDecode", samples=finished, vae=loaded["VAE"])["IMAGE"]
    graph.add("SaveImage", images=image, filename_prefix="imagen/imagen_to_latent_1024")


GRAPHS = (imagen_native_ksampler, threshold_any_model, imagen_to_latent_1024)
