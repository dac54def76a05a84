"""Which graphs cross from latents to pixels? Their VAEs do not ship; `imagen download` fetches the tiny one."""

from __future__ import annotations

from _layout import Graph, save
from graphs_comfyui import SD15
from graphs_mini import enlarge, example, load

TAESD = "taesd"
SIDE = 256  # of the picture that sr1024 is given


def vae_loss(graph: Graph) -> None:
    """What a VAE loses of a picture, where and how much, and super-resolution told to mistrust the rest by as much."""
    graph.column("Your picture")
    picture = example(graph, "example.png")["image"]
    graph.column("There and back")
    vae = graph.add("ImagenLoadVAE", "Load VAE", vae=TAESD)["vae"]
    (sr1024,) = load(graph, "sr1024")
    lost = graph.add("ImagenVAELoss", "What is lost", vae=vae, image=picture, low_res_side=SIDE, unet=sr1024)
    graph.note(
        "imagen download madebyollin/taesd fetches the VAE (5 MB, MIT). In ComfyUI any other will do: Load VAE or Load "
        "Checkpoint in place of Load VAE here. pixel_space loses nothing.\nThe figures of each band of frequencies are in "
        "report: Preview Any shows them, and they are printed."
    )
    graph.column("Where it is lost")
    graph.add("SaveImage", "Map of what is lost", images=lost["map"], filename_prefix="imagen/vae_loss_map")
    graph.add("PreviewImage", "As it came back", images=lost["image"])
    graph.column("As super-resolution is given it")
    small = graph.add("ImagenResize", f"Shrink to {SIDE}", image=lost["image"], longest_side=SIDE)["image"]
    larger = enlarge(graph, sr1024, small, 1024, aug_level=lost["aug_level"], steps=2)
    save(graph, larger, "vae_loss")


def latent_to_pixels_1024(graph: Graph) -> None:
    """Stable Diffusion draws a latent, and the pixels of the large picture are super-resolution's, not the VAE's."""
    graph.column("Load and write")
    loaded = graph.add("CheckpointLoaderSimple", "Load checkpoint", ckpt_name=SD15)
    positive, negative = (
        graph.add("CLIPTextEncode", title, clip=loaded["CLIP"], text=words)["CONDITIONING"]
        for title, words in (
            ("Prompt", "a red fox in fresh snow, morning light, photograph"),
            ("Negative prompt", "blurry, deformed"),
        )
    )
    (sr1024,) = load(graph, "sr1024")
    graph.column("Draw a latent")
    empty = graph.add("EmptyLatentImage")["LATENT"]
    sampling = {"steps": 25, "cfg": 7.0, "sampler_name": "dpmpp_2m", "scheduler": "karras", "latent_image": empty}
    latent = graph.add("KSampler", model=loaded["MODEL"], positive=positive, negative=negative, **sampling)["LATENT"]
    graph.column("Latent to a picture of 256")
    small = graph.add("ImagenLatentToImage", latent=latent, vae=loaded["VAE"], low_res_side=SIDE, unet=sr1024)
    graph.add("PreviewImage", "256x256", images=small["image"])
    graph.note(
        "Any model's latent and VAE. The VAE's error on this very picture is measured, and sets the aug_level of what "
        "follows: what the VAE made up is drawn anew."
    )
    larger = enlarge(graph, sr1024, small["image"], 1024, aug_level=small["aug_level"], steps=4)
    save(graph, larger, "latent_to_pixels_1024")


GRAPHS = [vae_loss, latent_to_pixels_1024]
