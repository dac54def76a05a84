"""Which graphs show the base of named things, which ships beside imagen-mini's first one?"""

from __future__ import annotations

from _layout import Graph, save
from graphs_mini import draw, enlarge

PROMPT = "a 3D emoji of a red fox on a pink background"


def sticker_1024(graph: Graph) -> None:
    """A thing by its name, as a 3D sticker in any colour on any backdrop: 64, 256 and 1024 pixels."""
    graph.column("Name a thing")
    encoder = graph.add("ImagenLoadTextEncoder", "Load text encoder", text_encoder="imagen-mini/things_text_encoder")[
        "text_encoder"
    ]
    text = graph.add("ImagenTextEncode", "Prompt", text_encoder=encoder, text=PROMPT)["text"]
    graph.note(
        "a 3D emoji of a THING on a COLOUR background\nSome 160 things: animals, food, plants, vehicles, objects; a colour "
        "before the thing, or its own. Synonyms are understood: puppy, automobile."
    )
    graph.section("Load the U-Nets")
    files = {"things64": "Load things64", "sr256": "Load sr256", "sr1024": "Load sr1024"}
    base, sr256, sr1024 = (
        graph.add("ImagenLoadUNet", title, checkpoint=f"imagen-mini/{file}.safetensors")["unet"]
        for file, title in files.items()
    )
    drawn = draw(graph, base, text, guidance_scale=1.5)
    larger = enlarge(graph, sr256, drawn, 256, aug_level=0.12, steps=4)
    graph.add("PreviewImage", "256x256", images=larger)
    save(graph, enlarge(graph, sr1024, larger, 1024, aug_level=0.0, steps=2), "sticker_1024")
    graph.app = {"Prompt": ("text",), "Base 64x64": ("guidance_scale",)}


GRAPHS = (sticker_1024,)
