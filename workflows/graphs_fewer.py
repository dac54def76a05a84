"""Which graphs draw in few calls? By a LoRA that `imagen train distill` made and that ships."""

from __future__ import annotations

from _layout import Graph, save
from graphs_mini import HOW_TO_ASK, REPAIR, draw, enlarge, load, write_prompt

LORA = "imagen-mini/things64_4_calls.safetensors"
CALLS = 4


def text_to_image_fast(graph: Graph) -> None:
    """A picture of 256x256 in 4 calls of the base and as many of the enlarger: guidance and steps are learned, not run."""
    text = write_prompt(graph, "a 3D emoji of a parrot")
    graph.note(HOW_TO_ASK)
    base, sr256 = load(graph, "things64", "sr256")
    graph.section("Load what it learned")
    fast = graph.add("ImagenLoadLoRA", "Few calls", unet=base, lora_name=LORA, strength=1.0)["unet"]
    graph.note(
        f"This LoRA was distilled from things64 for {CALLS} steps of ddim at uniform spacing. guidance_scale stays at 1: "
        "guidance is in the weights, and a call a step is saved. Other steps or samplers blur."
    )
    drawn = draw(graph, fast, text, guidance_scale=1.0, steps=CALLS, sampler="ddim", spacing="uniform")
    save(graph, enlarge(graph, sr256, drawn, 256, aug_level=REPAIR, steps=4), "text_to_image_fast")
    graph.app = {"Prompt": ("text",)}


GRAPHS = (text_to_image_fast,)
