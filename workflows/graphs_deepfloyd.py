"""Which graphs draw with DeepFloyd IF? Its weights do not ship; files are called as `imagen download` and Flux call them."""

from __future__ import annotations

from _layout import Graph, save
from graphs_mini import YOUR_OWN, Slot, example

STAGE_I, STAGE_II = "IF-I-M-v1.0", "IF-II-M-v1.0"
T5_XXL = "t5xxl_fp8_e4m3fn.safetensors"
X4_UPSCALER = "x4-upscaler-ema.safetensors"
PROMPT = "a photo of a kangaroo wearing an orange hoodie and blue sunglasses in front of the Eiffel tower"
LICENCE = (
    "DeepFloyd IF's weights are for non-commercial research, and have to be asked for. docs/deepfloyd_if.md has "
    "the lines that fetch them. The text encoder is the t5xxl file of Flux and SD3, in models/text_encoders."
)
APP = {"Prompt": ("text", "negative_text"), "Stage I": ("guidance_scale",)}  # what app mode asks for
# As published: 100 and 50 steps of the learned-variance DDPM, on the lists of timesteps made for them.
DRAW = {"steps": 100, "guidance_scale": 7.0, "sampler": "ddpm", "spacing": "smart100"}
ENLARGE = {"steps": 50, "guidance_scale": 4.0, "sampler": "ddpm", "spacing": "smart50", "aug_level": 0.25}


def write_prompt(graph: Graph, text: str = PROMPT) -> Slot:
    """The first column: T5-XXL, the prompt and where the weights come from. Returns the encoded text."""
    graph.column("Write the prompt")
    encoder = graph.add("ImagenLoadTextEncoder", "Load T5-XXL", text_encoder=T5_XXL)["text_encoder"]
    text_slot = graph.add("ImagenTextEncode", "Prompt", text_encoder=encoder, text=text)["text"]
    graph.note(LICENCE)
    return text_slot


def load(graph: Graph) -> list[Slot]:
    """Below in the first column: both stages."""
    graph.section("Load DeepFloyd IF")
    names = {"Load stage I": STAGE_I, "Load stage II": STAGE_II}
    return [graph.add("ImagenLoadUNet", title, checkpoint=name)["unet"] for title, name in names.items()]


def draw(graph: Graph, unet: Slot, text: Slot, **settings) -> Slot:
    graph.column("Stage I: draw 64x64")
    drawn = graph.add("ImagenBaseSample64", "Stage I", unet=unet, text=text, **DRAW | settings)["image"]
    graph.add("PreviewImage", "64x64", images=drawn)
    return drawn


def enlarge(graph: Graph, unet: Slot, image: Slot, text: Slot, **settings) -> Slot:
    graph.column("Stage II: enlarge to 256x256")
    return graph.add("ImagenSuperRes", "Stage II", unet=unet, image=image, text=text, **ENLARGE | settings)["image"]


def cascade(graph: Graph) -> Slot:
    """Prompt to 256x256."""
    text = write_prompt(graph)
    stage_1, stage_2 = load(graph)
    return enlarge(graph, stage_2, draw(graph, stage_1, text), text)


def deepfloyd_if_256(graph: Graph) -> None:
    """DeepFloyd IF, stages I and II: a prompt becomes a picture of 256x256."""
    image = cascade(graph)
    graph.note(
        "Faster: sampler dpmpp_2m, spacing auto, 25 steps in stage I and 15 in stage II.\n"
        "More room: IF-I-L or IF-I-XL and IF-II-L draw better pictures."
    )
    save(graph, image, "deepfloyd_if_256")
    graph.app = APP


def deepfloyd_if_1024(graph: Graph) -> None:
    """DeepFloyd IF to 256x256, then this pack's own pixel stage to 1024x1024; stage III was never released."""
    larger = cascade(graph)
    graph.add("PreviewImage", "256x256", images=larger)
    graph.column("Enlarge to 1024x1024")
    unet = graph.add("ImagenLoadUNet", "Load sr1024", checkpoint="imagen-mini/sr1024.safetensors")["unet"]
    image = graph.add("ImagenSuperRes", "Super resolution 1024", unet=unet, image=larger, aug_level=0.0, steps=2)[
        "image"
    ]
    graph.note("imagen-mini's stage has seen rendered scenes only: it keeps photographs as they are, and adds little.")
    save(graph, image, "deepfloyd_if_1024")
    graph.app = APP


def deepfloyd_if_1024_sdx4(graph: Graph) -> None:
    """DeepFloyd IF to 256x256, then Stable Diffusion's x4 upscaler in ComfyUI's own nodes to 1024x1024."""
    larger = cascade(graph)
    graph.add("PreviewImage", "256x256", images=larger)
    graph.column("Stage III: the x4 upscaler")
    loaded = graph.add("CheckpointLoaderSimple", "Load the x4 upscaler", ckpt_name=X4_UPSCALER)
    positive, negative = (
        graph.add("CLIPTextEncode", title, clip=loaded["CLIP"], text=words)["CONDITIONING"]
        for title, words in (("Prompt for the upscaler", PROMPT), ("Negative prompt", ""))
    )
    graph.note("noise_augmentation 0.06 is the 20 of 350 that DeepFloyd recommends; more invents more.")
    graph.column("Enlarge to 1024x1024")
    parts = {"images": larger, "positive": positive, "negative": negative, "noise_augmentation": 0.06}
    parts = graph.add("SD_4XUpscale_Conditioning", "Upscale 4x", **parts)
    inputs = {"positive": parts["positive"], "negative": parts["negative"], "latent_image": parts["latent"]}
    sampling = {"steps": 40, "cfg": 9.0, "sampler_name": "ddim", "scheduler": "normal"}
    latent = graph.add("KSampler", "KSampler 1024", model=loaded["MODEL"], **inputs, **sampling)["LATENT"]
    graph.column("Save", width=470)
    image = graph.add("VAEDecode", samples=latent, vae=loaded["VAE"])["IMAGE"]
    graph.add("SaveImage", images=image, filename_prefix="imagen/deepfloyd_if_1024_sdx4")


def deepfloyd_if_img2img(graph: Graph) -> None:
    """A picture redrawn by DeepFloyd IF in the words of a prompt."""
    text = write_prompt(graph, "a watercolour painting of a fox")
    stage_1, stage_2 = load(graph)
    graph.column("Your picture")
    photo = example(graph, "example.png")["image"]
    graph.note(
        "strength says how much of the picture may change: 0.3 little, 0.7 all but its layout, 1 everything.\n"
        + YOUR_OWN
    )
    settings = {"init_image": photo, "steps": 80, "guidance_scale": 10.0, "spacing": "uniform"}
    drawn = draw(graph, stage_1, text, strength=0.7, **settings)
    larger = enlarge(graph, stage_2, drawn, text, init_image=photo, strength=0.8)
    save(graph, larger, "deepfloyd_if_img2img")
    graph.app = {"Your picture": ("image",), "Prompt": ("text",), "Stage I": ("strength",)}


def deepfloyd_if_inpaint(graph: Graph) -> None:
    """The masked part of a picture redrawn by DeepFloyd IF; the rest stays as it was, in full detail."""
    text = write_prompt(graph, "a green glass ball between small stickers on a yellow ground")
    stage_1, stage_2 = load(graph)
    graph.column("Your picture and mask")
    photo = example(graph, "example_inpaint.png")
    graph.note(
        f"The mask is where the picture is transparent. {YOUR_OWN}\n"
        "To paint a mask: right-click Load Image, Open in MaskEditor.\n"
        "resample makes new and old fit together (RePaint); time grows with it."
    )
    hole = {"init_image": photo["image"], "mask": photo["mask"], "strength": 1.0}
    drawn = draw(graph, stage_1, text, **hole, steps=50, spacing="smart50", resample=4)
    save(graph, enlarge(graph, stage_2, drawn, text, **hole), "deepfloyd_if_inpaint")


GRAPHS = (
    deepfloyd_if_256,
    deepfloyd_if_1024,
    deepfloyd_if_1024_sdx4,
    deepfloyd_if_img2img,
    deepfloyd_if_inpaint,
)
