"""Which graphs let a CLIP judge? imagen-mini's own, which ships and knows the words that things64 knows."""

from __future__ import annotations

from _layout import Graph, save
from graphs_mini import REPAIR, draw, enlarge, load, write_prompt

CLIP = "imagen-mini/clip"
# What the prompt leaves open, its ground, the seeds choose; the sentence says which of them is wanted.
PROMPT, WANTED = "a 3D emoji of a parrot", "a 3D emoji of a parrot on a green background"


def clip_best_of_four(graph: Graph) -> None:
    """Four drafts of a prompt, of which a CLIP keeps the one that a sentence fits best, and that one enlarged to 1024."""
    text = write_prompt(graph, PROMPT)
    base, sr256, sr1024 = load(graph, "things64", "sr256", "sr1024")
    drawn = draw(graph, base, text, batch_size=4)
    graph.column("Keep the best")
    clip = graph.add("ImagenLoadCLIP", "Load CLIP", clip=CLIP)["clip"]
    best = graph.add("ImagenCLIPScore", "Keep the best", clip=clip, image=drawn, text=WANTED, keep=1)["image"]
    graph.add("PreviewImage", "The best of four", images=best)
    graph.note(
        "This CLIP ships with the pack and knows what things64 draws. For other pictures fetch a large one, with imagen "
        "download openai/clip-vit-large-patch14 (MIT), and choose it above.\nThe prompt leaves the ground to chance; the "
        "sentence here says which is kept. For more choice raise batch_size."
    )
    larger = enlarge(graph, sr256, best, 256, aug_level=REPAIR, steps=4)
    save(graph, enlarge(graph, sr1024, larger, 1024, aug_level=0.0, steps=2), "clip_best_of_four")
    graph.app = {"Prompt": ("text",), "Keep the best": ("text",), "Base 64x64": ("batch_size",)}


GRAPHS = [clip_best_of_four]
