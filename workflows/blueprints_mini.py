"""Which graphs can be had as one node, out of the node search? Each lays out its inside and says what shows of it."""

from __future__ import annotations

from _blueprint import Face
from _layout import Graph, Node
from graphs_mini import DEFAULT_PROMPT, ENCODER, GUIDANCE_SCALE, REPAIR


def load(graph: Graph, stage: str) -> Node:
    return graph.add("ImagenLoadUNet", f"Load {stage}", checkpoint=f"imagen-mini/{stage}.safetensors")


def enlarge(graph: Graph, unet: Node, image: tuple[dict, int], side: int, **settings) -> Node:
    graph.column(f"Enlarge to {side}x{side}")
    return graph.add("ImagenSuperRes", f"Super resolution {side}", unet=unet["unet"], image=image, **settings)


def text_to_1024(graph: Graph) -> Face:
    """A prompt becomes a picture of 1024x1024: Imagen's whole cascade in one node."""
    graph.column("Load and write")
    encoder = graph.add("ImagenLoadTextEncoder", "Load text encoder", text_encoder=ENCODER)
    prompt = graph.add("ImagenTextEncode", "Prompt", text_encoder=encoder["text_encoder"], text=DEFAULT_PROMPT)
    small, sr256, sr1024 = (load(graph, stage) for stage in ("things64", "sr256", "sr1024"))
    graph.column("Draw 64x64")
    settings = {"unet": small["unet"], "text": prompt["text"], "guidance_scale": GUIDANCE_SCALE}
    base = graph.add("ImagenBaseSample64", "Base 64x64", **settings)
    larger = enlarge(graph, sr256, base["image"], 256, aug_level=REPAIR, steps=4)
    largest = enlarge(graph, sr1024, larger["image"], 1024, aug_level=0.0, steps=2)
    widgets = [
        (prompt, "text"),
        (prompt, "negative_text"),
        (base, "steps"),
        (base, "guidance_scale"),
        (base, "batch_size"),
    ]
    inputs = [(node, name, name) for node, name in widgets]
    return Face(inputs=inputs, seeds=[base], outputs=[(largest, "image", "image")])


def enlarge_x4(graph: Graph) -> Face:
    """Any picture, four times larger, by one super-resolution stage."""
    graph.column("Load")
    unet = load(graph, "sr1024")
    graph.column("Enlarge four times")
    larger = graph.add("ImagenSuperRes", "Super resolution", unet=unet["unet"], aug_level=0.0, steps=2)
    inputs = [(larger, "image", "image"), (unet, "checkpoint", "checkpoint")]
    inputs += [(larger, name, name) for name in ("aug_level", "steps")]
    return Face(inputs=inputs, seeds=[larger], outputs=[(larger, "image", "image")])


def enlarge_x16(graph: Graph) -> Face:
    """Any picture, shrunk to 64 pixels at its longer side and brought to 1024 by both super-resolution stages."""
    graph.column("Load and shrink")
    small = graph.add("ImagenResize", "Shrink to 64")
    sr256, sr1024 = (load(graph, stage) for stage in ("sr256", "sr1024"))
    larger = enlarge(graph, sr256, small["image"], 256, aug_level=0.03, steps=4)
    largest = enlarge(graph, sr1024, larger["image"], 1024, aug_level=0.0, steps=2)
    inputs = [(small, "image", "image"), (small, "longest_side", "longest_side"), (larger, "aug_level", "aug_level")]
    return Face(inputs=inputs, seeds=[larger], outputs=[(largest, "image", "image")])


# By the name of the file, which is what the node search shows; the node itself is titled more nicely.
BLUEPRINTS = {
    "Imagen text to 1024": ("Imagen: text to 1024", text_to_1024),
    "Imagen enlarge x4": ("Imagen: enlarge x4", enlarge_x4),
    "Imagen enlarge x16": ("Imagen: enlarge x16", enlarge_x16),
}
