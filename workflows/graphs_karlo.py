"""Which graphs draw with Karlo, the open DALL-E 2? Its weights do not ship; files are called as `imagen download` does."""

from __future__ import annotations

from _layout import Graph, save
from graphs_mini import Slot

KARLO, CLIP = "karlo-v1-alpha", "clip-vit-large-patch14"
PROMPT = "a teddy bear on a skateboard, children drawing style"
LICENCE = (
    "Karlo's weights are under CreativeML Open RAIL-M: commercial use is allowed, the uses that the licence lists are not. "
    "docs/family.md, section Karlo, has the lines that fetch them."
)
# As published: 25, 25 and 7 steps, each part with its own guidance.
DRAW = {"steps": 25, "guidance_scale": 8.0, "sampler": "ddpm", "spacing": "linspace", "width": 0, "height": 0}
ENLARGE = {"steps": 7, "guidance_scale": 1.0, "sampler": "ddpm", "spacing": "linspace", "aug_level": 0.0}


def load(graph: Graph, title: str, part: str) -> Slot:
    return graph.add("ImagenLoadUNet", title, checkpoint=f"{KARLO}/{part}")["unet"]


def karlo_256(graph: Graph) -> None:
    """Karlo, the open DALL-E 2: a prompt becomes an embedding of what is to be seen, and that a picture of 256x256."""
    graph.column("Write the prompt")
    encoder = graph.add("ImagenLoadTextEncoder", "Load CLIP L/14", text_encoder=CLIP)["text_encoder"]
    text = graph.add("ImagenTextEncode", "Prompt", text_encoder=encoder, text=PROMPT)["text"]
    graph.note(LICENCE)
    graph.column("What is to be seen")
    prior = graph.add("ImagenLoadPrior", "Load the prior", prior_name=f"{KARLO}/prior")["prior"]
    embed = graph.add("ImagenPriorSample", "Prior", prior=prior, text=text)["image_embed"]
    told = graph.add("ImagenUnCLIPConditioning", "Tell the decoder", text=text, image_embed=embed)["text"]
    graph.note(
        "For variations of a picture, put Imagen Image Embed in the prior's place, with Imagen Load CLIP and this CLIP L/14."
    )
    graph.column("Decoder: draw 64x64")
    decoder = load(graph, "Load the decoder", "decoder")
    drawn = graph.add("ImagenBaseSample64", "Decoder", unet=decoder, text=told, **DRAW)["image"]
    graph.add("PreviewImage", "64x64", images=drawn)
    graph.column("Enlarge to 256x256")
    upsampler = load(graph, "Load the upsampler", "super_res_first")
    image = graph.add("ImagenSuperRes", "Upsampler", unet=upsampler, image=drawn, **ENLARGE)["image"]
    graph.note("The last of the seven steps is another network's, super_res_last: keep 7 steps of ddpm.")
    save(graph, image, "karlo_256")
    graph.app = {"Prompt": ("text", "negative_text"), "Decoder": ("guidance_scale",)}


GRAPHS = (karlo_256,)
