"""Which graphs draw with GLIDE? Its weights do not ship; files are called as `imagen convert` calls them."""

from __future__ import annotations

from _layout import Graph, save
from graphs_mini import YOUR_OWN, Slot, example

VOCABULARY = "glide/text_encoder"
BASE, UPSAMPLE = "glide/base.safetensors", "glide/upsample.safetensors"
BASE_INPAINT, UPSAMPLE_INPAINT = "glide/base_inpaint.safetensors", "glide/upsample_inpaint.safetensors"
CLIP = "clip-vit-large-patch14"
LICENCE = (
    "OpenAI's files of glide-text2im (MIT): docs/family.md, section GLIDE, says how to fetch and convert them. Their model "
    "card says research, not commercial use, and that no people were in the data."
)
# As in the authors' notebooks; the noise at .997 and the small picture in 8 bits are the upsampler's own.
DRAW = {"steps": 100, "guidance_scale": 3.0, "sampler": "ddpm"}
ENLARGE = {"steps": 27, "guidance_scale": 1.0, "sampler": "ddim", "aug_level": 0.0, "spacing": "glide27"}


def write_prompt(graph: Graph, prompt: str) -> Slot:
    """The first column: GLIDE's vocabulary, the prompt and where the weights come from. Returns the text."""
    graph.column("Write the prompt")
    encoder = graph.add("ImagenLoadTextEncoder", "Load GLIDE's vocabulary", text_encoder=VOCABULARY)["text_encoder"]
    text = graph.add("ImagenTextEncode", "Prompt", text_encoder=encoder, text=prompt)["text"]
    graph.note(LICENCE)
    return text


def load(graph: Graph, base: str, upsample: str) -> list[Slot]:
    """Below in the first column: both stages."""
    graph.section("Load GLIDE")
    names = {"Load base": base, "Load upsampler": upsample}
    return [graph.add("ImagenLoadUNet", title, checkpoint=name)["unet"] for title, name in names.items()]


def draw(graph: Graph, unet: Slot, text: Slot, **settings) -> Slot:
    graph.column("Draw 64x64")
    drawn = graph.add("ImagenBaseSample64", "Base", unet=unet, text=text, **DRAW | settings)["image"]
    graph.add("PreviewImage", "64x64", images=drawn)
    return drawn


def enlarge(graph: Graph, unet: Slot, image: Slot, text: Slot, **settings) -> Slot:
    graph.column("Enlarge to 256x256")
    return graph.add("ImagenSuperRes", "Upsampler", unet=unet, image=image, text=text, **ENLARGE | settings)["image"]


def glide_256(graph: Graph) -> None:
    """GLIDE: a prompt becomes a picture of 256x256. Each of its two networks reads the words itself."""
    text = write_prompt(graph, "a corgi in a field of poppies")
    base, upsampler = load(graph, BASE, UPSAMPLE)
    image = enlarge(graph, upsampler, draw(graph, base, text), text)
    graph.note(
        "Faster: sampler dpmpp_2m and 25 steps for the base.\n"
        "The upsampler's own defaults are at work unseen: its noise at .997, against grain, and the small picture in 8 bits."
    )
    save(graph, image, "glide_256")
    graph.app = {"Prompt": ("text", "negative_text"), "Base": ("guidance_scale",)}


def glide_inpaint(graph: Graph) -> None:
    """The masked part of a picture redrawn by GLIDE's inpainting networks, which are shown what stays."""
    text = write_prompt(graph, "a green glass ball between small stickers on a yellow ground")
    base, upsampler = load(graph, BASE_INPAINT, UPSAMPLE_INPAINT)
    graph.column("Your picture and mask")
    photo = example(graph, "example_inpaint.png")
    graph.note(
        f"The mask is where the picture is transparent. {YOUR_OWN}\n"
        "To paint a mask: right-click Load Image, Open in MaskEditor.\n"
        "These networks see what stays as channels of their own: resample may stay at 1."
    )
    hole = {"init_image": photo["image"], "mask": photo["mask"], "strength": 1.0}
    drawn = draw(graph, base, text, **hole, guidance_scale=5.0)
    save(graph, enlarge(graph, upsampler, drawn, text, **hole, sampler="ddpm"), "glide_inpaint")
    graph.app = {"Your picture": ("image",), "Prompt": ("text",), "Base": ("guidance_scale",)}


def glide_guidance_compared(graph: Graph) -> None:
    """Classifier-free guidance beside CLIP guidance, GLIDE's own comparison: neither, each alone and both, from one seed."""
    graph.after_run = "fixed"
    prompt = "a corgi in a field of poppies"
    text = write_prompt(graph, prompt)
    graph.section("Load GLIDE")
    base = graph.add("ImagenLoadUNet", "Load base", checkpoint=BASE)["unet"]
    graph.column("Pull by CLIP")
    clip = graph.add("ImagenLoadCLIP", "Load CLIP", clip=CLIP)["clip"]
    pull = graph.add("ImagenCLIPGuidance", "Towards the words", clip=clip, text=prompt, scale=3.0)["guidance"]
    graph.note(
        "Write the same words here and in Prompt. imagen download openai/clip-vit-large-patch14 fetches this CLIP (MIT).\n"
        "It knows clean pictures, and is shown the predicted one; the paper's own knew noise, and is not read here.\n"
        "The paper: people prefer classifier-free guidance; CLIP guidance pleases CLIP's score."
    )
    ways = {"neither": (1.0, {}), "classifier-free": (3.0, {}), "CLIP": (1.0, {"guidance": pull})}
    ways["both"] = (3.0, {"guidance": pull})
    for way, (scale, guidance) in ways.items():
        graph.column(f"Guidance: {way}")
        settings = {**DRAW, "guidance_scale": scale, **guidance}
        drawn = graph.add("ImagenBaseSample64", f"Base, {way}", unet=base, text=text, seed=7, **settings)["image"]
        graph.add("SaveImage", way, images=drawn, filename_prefix=f"imagen/glide_guidance_{way}")


GRAPHS = [glide_256, glide_inpaint, glide_guidance_compared]
