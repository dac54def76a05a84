"""Which graph draws an individual that words cannot name?"""

from __future__ import annotations

from _layout import Graph
from graphs_mini import ENCODER, GUIDANCE_SCALE, REPAIR, YOUR_OWN, example, load

IDENTITY = "imagen-mini/identity.safetensors"
# What words say of each picture, and how it stands there: x, y, angle, size.
SCENES = {
    "in the snow": ("it in the snow", (0.5, 0.56, -90.0, 0.7)),
    "by the sea": ("it by the sea", (0.42, 0.5, 0.0, 0.6)),
    "on pink": ("it on a pink background", (0.56, 0.52, 135.0, 0.78)),
}


def identity_three_scenes(graph: Graph) -> None:
    """One made-up figure from one picture of it, in three scenes: words say where, key points how it stands."""
    graph.column("Who is drawn")
    reference = example(graph, "example_identity.png")["image"]
    identity = graph.add("ImagenLoadControl", "Load identity", control_net_name=IDENTITY)["control_net"]
    graph.note(
        "ip_weight is how much its looks count, cn_strength how much they and its place do; 0 is off. It knows made-up "
        f"figures, as docs/identity.md says, and no faces.\n{YOUR_OWN}"
    )
    graph.section("Load the rest")
    encoder = graph.add("ImagenLoadTextEncoder", "Load text encoder", text_encoder=ENCODER)["text_encoder"]
    base, sr256 = load(graph, "things64", "sr256")
    for name, (words, pose) in SCENES.items():
        graph.column(f"It {name}")
        text = graph.add("ImagenTextEncode", f"Words, {name}", text_encoder=encoder, text=words)["text"]
        stands = dict(zip(("x", "y", "angle", "size"), pose, strict=True))
        points = graph.add("ImagenKeyPoints", f"Stands, {name}", **stands)["key_points"]
        told = {"identity": identity, "image": reference, "key_points": points, "ip_weight": 1.0, "cn_strength": 1.0}
        control = graph.add("ImagenIdentity", f"Who, {name}", **told)["control"]
        graph.column(f"Drawn {name}")
        drawn = graph.add(
            "ImagenBaseSample64",
            f"Base 64x64, {name}",
            unet=base,
            text=text,
            control=control,
            guidance_scale=GUIDANCE_SCALE,
        )["image"]
        mended = {"aug_level": REPAIR, "steps": 4}
        larger = graph.add("ImagenSuperRes", f"256x256, {name}", unet=sr256, image=drawn, **mended)["image"]
        saved = f"imagen/identity_{name.replace(' ', '_')}"
        graph.add("SaveImage", f"It {name}, saved", images=larger, filename_prefix=saved)
    graph.app = {"Your picture": ("image",)} | {f"Words, {name}": ("text",) for name in SCENES}


GRAPHS = [identity_three_scenes]
