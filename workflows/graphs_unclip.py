"""Which graphs draw with imagen-mini as DALL-E 2 does, and which by a reference?"""

from __future__ import annotations

from _layout import Graph, save
from graphs_mini import ENCODER, REPAIR, YOUR_OWN, Slot, draw, enlarge, example, load

CLIP, PRIOR, REFERENCE = "imagen-mini/clip", "imagen-mini/prior.safetensors", "imagen-mini/image_prompt.safetensors"


def words(graph: Graph, title: str, text: str, encoder: str = ENCODER) -> Slot:
    read = graph.add("ImagenLoadTextEncoder", f"Load text encoder: {title}", text_encoder=encoder)["text_encoder"]
    return graph.add("ImagenTextEncode", title, text_encoder=read, text=text)["text"]


def load_reference(graph: Graph) -> Slot:
    return graph.add("ImagenLoadControl", "Load image prompt", control_net_name=REFERENCE)["control_net"]


def unclip_mini(graph: Graph) -> None:
    """DALL-E 2 in small: a prompt becomes an embedding of what is to be seen, is mixed with a picture's, and is drawn."""
    graph.column("Write the prompt")
    text = words(graph, "Prompt", "a 3D emoji of a red fox on a pink background", CLIP)
    prior = graph.add("ImagenLoadPrior", "Load the prior", prior_name=PRIOR)["prior"]
    embed = graph.add("ImagenPriorSample", "Prior", prior=prior, text=text)["image_embed"]
    graph.column("A picture beside it")
    picture = example(graph, "example.png")["image"]
    clip = graph.add("ImagenLoadCLIP", "Load imagen-mini's CLIP", clip=CLIP)["clip"]
    seen = graph.add("ImagenImageEmbed", "What it shows", clip=clip, image=picture)["image_embed"]
    mixed = graph.add("ImagenMixEmbeds", "Between both", image_embed=embed, other=seen, method="slerp", t=0.5)
    graph.note(
        f"t 0 is the prompt alone, 1 a variation of the picture; text_difference moves one by words instead.\n{YOUR_OWN}"
    )
    graph.column("Tell the base")
    reference = load_reference(graph)
    shown = {"image_prompt": reference, "weight": 1.0}
    control = graph.add("ImagenImagePrompt", "Draw the embedding", image_embed=mixed["image_embed"], **shown)["control"]
    nothing = words(graph, "No words", "")
    base, sr256 = load(graph, "things64", "sr256")
    drawn = draw(graph, base, nothing, control=control)
    save(graph, enlarge(graph, sr256, drawn, 256, aug_level=REPAIR, steps=4), "unclip_mini")
    graph.app = {"Prompt": ("text",), "Your picture": ("image",), "Between both": ("t",)}


def picture_as_prompt(graph: Graph) -> None:
    """A picture says what is to be seen, and words where: its thing before another backdrop."""
    graph.column("Write what is to change")
    text = words(graph, "Prompt", "a 3D emoji of it in the snow")
    base, sr256 = load(graph, "things64", "sr256")
    reference = load_reference(graph)
    graph.column("The reference")
    picture = example(graph, "example.png")["image"]
    control = graph.add("ImagenImagePrompt", "What it shows", image_prompt=reference, image=picture, weight=1.0)
    graph.note(f"What the words leave out comes from the picture: style, backdrop, number.\n{YOUR_OWN}")
    drawn = draw(graph, base, text, control=control["control"])
    save(graph, enlarge(graph, sr256, drawn, 256, aug_level=REPAIR, steps=4), "picture_as_prompt")
    graph.app = {"Prompt": ("text",), "Your picture": ("image",), "What it shows": ("weight",)}


def two_references_by_mask(graph: Graph) -> None:
    """Two pictures say what is to be seen, one on the left and one on the right, and words before what."""
    graph.column("Write what is to change")
    text = words(graph, "Prompt", "a 3D emoji of two of them on a pink background")
    base, sr256 = load(graph, "things64", "sr256")
    reference, chain = load_reference(graph), {}
    for side, file in (("left", "example.png"), ("right", "example_second.png")):
        graph.column(f"On the {side}")
        named = {"picture": f"Your picture, {side}", "mask": f"Where it counts, {side}"}
        picture = graph.add("ImagenExamplePicture", named["picture"], image=f"imagen-nodes/{file}")["image"]
        mask = graph.add("ImagenExamplePicture", named["mask"], image=f"imagen-nodes/example_{side}.png")["mask"]
        told = {"image_prompt": reference, "image": picture, "attn_mask": mask, "weight": 1.0, **chain}
        chain = {"previous": graph.add("ImagenImagePrompt", f"What is seen on the {side}", **told)["control"]}
    graph.note(
        "Each reference is read where its mask is white; the second is chained to the first by previous. To paint other "
        "places, put Load Image in a mask's place and open it in MaskEditor; in ComfyUI, Solid Mask and Mask Composite make "
        "rectangles."
    )
    drawn = draw(graph, base, text, control=chain["previous"])
    save(graph, enlarge(graph, sr256, drawn, 256, aug_level=REPAIR, steps=4), "two_references_by_mask")
    graph.app = {"Prompt": ("text",), "Your picture, left": ("image",), "Your picture, right": ("image",)}


GRAPHS = [unclip_mini, picture_as_prompt, two_references_by_mask]
