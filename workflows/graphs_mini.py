"""Which graphs show imagen-mini, the small weights that ship with the pack?"""

from __future__ import annotations

from _layout import Graph, save

DEFAULT_PROMPT = "a red sphere to the left of a blue cube"


def read_prompt(graph: Graph, text: str = DEFAULT_PROMPT) -> tuple[dict, int]:
    """The first column: text encoder and prompt. Returns the encoded text."""
    graph.column("Read the prompt")
    encoder = graph.add("ImagenLoadTextEncoder", "Load text encoder")
    return graph.add("ImagenTextEncode", "Prompt", text_encoder=encoder["text_encoder"], text=text)["text"]


def load(graph: Graph, stage: str) -> tuple[dict, int]:
    """The loader of one stage of imagen-mini, at the head of the column that uses it."""
    return graph.add("ImagenLoadUNet", f"Load {stage}", checkpoint=f"imagen-mini/{stage}.safetensors")["unet"]


def draw(graph: Graph, text: tuple[dict, int], title: str = "Base 64x64", **settings) -> tuple[dict, int]:
    """A column that draws the small picture and shows it."""
    graph.column("Draw 64x64")
    drawn = graph.add("ImagenBaseSample64", title, unet=load(graph, "base64"), text=text, **settings)["image"]
    graph.add("PreviewImage", "64x64", images=drawn)
    return drawn


def enlarge(graph: Graph, image: tuple[dict, int], stage: str, side: int, **settings) -> tuple[dict, int]:
    """A column that enlarges a picture four times."""
    graph.column(f"Enlarge to {side}x{side}")
    unet = load(graph, stage)
    return graph.add("ImagenSuperRes", f"Super resolution {side}", unet=unet, image=image, **settings)["image"]


def text_to_image_64(graph: Graph) -> None:
    """Four quick drafts from a prompt."""
    text = read_prompt(graph)
    graph.note(
        "Write your own sentence and run.\nguidance_scale 1 leaves the null prompt out; higher follows the text more."
    )
    graph.column("Draw 64x64")
    drawn = graph.add("ImagenBaseSample64", unet=load(graph, "base64"), text=text, batch_size=4)
    save(graph, drawn["image"], "text_to_image_64")


def text_to_image_1024(graph: Graph) -> None:
    """The whole cascade: a prompt becomes a picture of 1024x1024."""
    text = read_prompt(graph)
    threshold = graph.add("ImagenThreshold")
    graph.note(
        "Write your own sentence and run.\nEach stage shows its picture as it grows.\n"
        "aug_level above 0 lets a stage invent more than the smaller picture shows."
    )
    drawn = draw(graph, text, threshold=threshold["threshold"])
    larger = enlarge(graph, drawn, "sr256", 256, text=text, aug_level=0.03)
    graph.add("PreviewImage", "256x256", images=larger)
    save(graph, enlarge(graph, larger, "sr1024", 1024, text=text, aug_level=0.02), "text_to_image_1024")


def super_resolve_photo(graph: Graph) -> None:
    """Any picture, shrunk to 64 pixels and brought to 1024 by both super-resolution stages."""
    graph.column("Your picture")
    photo = graph.add("LoadImage", image="example.png")
    small = graph.add("ImagenResize", "Shrink to 64", image=photo["IMAGE"])
    graph.note("Pictures of 64 to 256 pixels: leave the shrinking out, and start at the second enlargement.")
    larger = enlarge(graph, small["image"], "sr256", 256, aug_level=0.03)
    graph.add("PreviewImage", "256", images=larger)
    save(graph, enlarge(graph, larger, "sr1024", 1024, aug_level=0.02), "super_resolve_photo")


def thresholding_compared(graph: Graph) -> None:
    """No, static and dynamic thresholding side by side at a high guidance scale."""
    graph.after_run = "fixed"
    text = read_prompt(graph)
    methods = ("none", "static", "dynamic")
    thresholds = {method: graph.add("ImagenThreshold", f"Threshold: {method}", method=method) for method in methods}
    graph.column("Draw 64x64 at guidance 15")
    settings = {"unet": load(graph, "base64"), "text": text, "guidance_scale": 15.0, "seed": 7}
    drawn = {
        method: graph.add("ImagenBaseSample64", f"Base 64x64, {method}", threshold=threshold["threshold"], **settings)
        for method, threshold in thresholds.items()
    }
    graph.column("Enlarge to 256x256")
    unet = load(graph, "sr256")
    larger = {
        method: graph.add("ImagenSuperRes", f"256x256, {method}", unet=unet, image=image["image"])
        for method, image in drawn.items()
    }
    graph.column("Compare")
    for method, image in larger.items():
        graph.add("SaveImage", method, images=image["image"], filename_prefix=f"imagen/threshold_{method}")


def aug_level_sweep(graph: Graph) -> None:
    """One small picture enlarged at four levels of noise conditioning augmentation."""
    graph.after_run = "fixed"
    drawn = draw(graph, read_prompt(graph, "a large green shiny star on a purple background"))
    graph.column("The same picture at four levels")
    unet = load(graph, "sr256")
    levels = {
        level: graph.add("ImagenSuperRes", f"Super resolution, {level}", unet=unet, image=drawn, aug_level=level)
        for level in (0.0, 0.05, 0.1, 0.25)
    }
    graph.column("Compare")
    for level, image in levels.items():
        graph.add("SaveImage", f"aug_level {level}", images=image["image"], filename_prefix=f"imagen/aug_level_{level}")


GRAPHS = (text_to_image_64, text_to_image_1024, super_resolve_photo, thresholding_compared, aug_level_sweep)
