"""Which graphs make a picture follow a hint? By the two controls of things64 that ship."""

from __future__ import annotations

from _layout import Graph, save
from graphs_mini import REPAIR, YOUR_OWN, Slot, draw, enlarge, example, load, write_prompt

ADAPTER, CONTROLNET = "imagen-mini/control.safetensors", "imagen-mini/controlnet.safetensors"
ABOUT = {
    ADAPTER: "The T2I-Adapter of things64: it follows a hint wherever it leads. controlnet draws crisper where both agree.",
    CONTROLNET: "The ControlNet of things64: crisp where prompt and hint agree. control follows wherever a hint leads.",
}
READS = (
    "It reads edges, a palette, a scribble, segments, one or several at once. imagen train makes one for another base."
)


def load_control(graph: Graph, file: str = ADAPTER) -> Slot:
    """Below in the first column."""
    graph.section("Load the control")
    net = graph.add("ImagenLoadControl", "Load control", control_net_name=file)["control_net"]
    graph.note(f"{ABOUT[file]} {READS}")
    return net


def edges_to_picture_1024(graph: Graph) -> None:
    """A new picture on the lines of your own, in the words of a prompt, brought to 1024x1024."""
    text = write_prompt(graph, "a 3D emoji of a purple fox on a pink background")
    base, sr256, sr1024 = load(graph, "things64", "sr256", "sr1024")
    net = load_control(graph)
    graph.column("Your picture's lines")
    photo = example(graph, "example.png")["image"]
    hint = graph.add("ImagenEdges", "Lines", image=photo, longest_side=64)["hint"]
    graph.add("PreviewImage", "The hint", images=hint)
    control = graph.add("ImagenControl", "Follow the lines", control_net=net, image=hint, strength=1.0)["control"]
    graph.note(f"strength 0.5 follows loosely; end_percent 0.6 lets the detail go its own way.\n{YOUR_OWN}")
    drawn = draw(graph, base, text, control=control)
    larger = enlarge(graph, sr256, drawn, 256, aug_level=REPAIR, steps=4)
    save(graph, enlarge(graph, sr1024, larger, 1024, aug_level=0.0, steps=2), "edges_to_picture_1024")
    graph.app = {"Your picture": ("image",), "Prompt": ("text",), "Follow the lines": ("strength",)}


def palette_and_edges(graph: Graph) -> None:
    """Two hints at once: the lines of your picture, and its colours, each as strong as you like."""
    text = write_prompt(graph, "a flat icon of a fox on a yellow background")
    base, sr256 = load(graph, "things64", "sr256")
    net = load_control(graph, CONTROLNET)
    graph.column("Its lines")
    photo = example(graph, "example.png")["image"]
    lines = graph.add("ImagenEdges", "Lines", image=photo, longest_side=64)["hint"]
    follow = {"control_net": net, "strength": 0.8}
    first = graph.add("ImagenControl", "Follow the lines", image=lines, kind="edges", **follow)["control"]
    graph.column("Its colours")
    palette = graph.add("ImagenPalette", "Colours", image=photo)["hint"]
    graph.add("PreviewImage", "The palette", images=palette)
    both = graph.add("ImagenControl", "Follow the colours", image=palette, kind="palette", previous=first, **follow)
    graph.note("Two controls are chained by previous, and add up.\nA mask lets each work in its own place.")
    drawn = draw(graph, base, text, control=both["control"])
    save(graph, enlarge(graph, sr256, drawn, 256, aug_level=REPAIR, steps=4), "palette_and_edges")
    graph.app = {"Your picture": ("image",), "Prompt": ("text",)}


def sketch_to_picture(graph: Graph) -> None:
    """What you draw in the mask editor becomes a picture of 1024x1024, in the words of a prompt."""
    text = write_prompt(graph, "a 3D emoji of a red apple on a white background")
    base, sr256, sr1024 = load(graph, "things64", "sr256", "sr1024")
    net = load_control(graph)
    graph.column("Your sketch")
    canvas = example(graph, "example_sketch.png")
    hint = graph.add("ImagenSketch", "Your strokes", mask=canvas["mask"])["hint"]
    graph.add("PreviewImage", "The hint", images=hint)
    follow = {"control_net": net, "kind": "scribble", "strength": 1.0}
    control = graph.add("ImagenControl", "Follow the sketch", image=hint, **follow)["control"]
    graph.note(
        "To draw your own: put Load Image in the place of Your picture, right-click it, Open in MaskEditor, draw the "
        "outlines with a brush of about a twentieth of the picture's width, save, and run. Only your strokes count, not the "
        "picture below.\nstrength 0.5 follows loosely."
    )
    drawn = draw(graph, base, text, control=control)
    larger = enlarge(graph, sr256, drawn, 256, aug_level=REPAIR, steps=4)
    save(graph, enlarge(graph, sr1024, larger, 1024, aug_level=0.0, steps=2), "sketch_to_picture")
    graph.app = {"Your picture": ("image",), "Prompt": ("text",), "Follow the sketch": ("strength",)}


GRAPHS = [edges_to_picture_1024, palette_and_edges, sketch_to_picture]
