"""Which graphs show imagen-mini, the small weights that ship with the pack?"""

from __future__ import annotations

from _layout import Graph, save
from made_up_thing import CAPTIONS, TAUGHT

DEFAULT_PROMPT = "a 3D emoji of a red fox on a pink background"
ENCODER = "imagen-mini/things_text_encoder"
GUIDANCE_SCALE = 2.0  # what things64 was tuned for
REPAINTED = {"sampler": "ddpm", "steps": 25, "resample": 3}  # how things64 fills a hole
REPAIR = 0.08  # the aug_level at which sr256 mends the edges of a drawing of 64 pixels
HOW_TO_ASK = (
    "a STYLE of a COLOUR THING on a COLOUR background\nThings and styles it knows: the help page of Prompt. "
    "Synonyms are understood: puppy, automobile."
)
KEPT = (  # what a fox is, an owl and an apple too, after a zibble was taught: six things in the style of the ten pictures
    "a 3D emoji of a fox on a pink background",
    "a 3D emoji of a banana on a yellow background",
    "a 3D emoji of a panda on a blue background",
    "a 3D emoji of a car on a green background",
    "a 3D emoji of a house in a meadow",
    "a 3D emoji of a robot on a red background",
)
YOUR_OWN = "Your own picture: choose it in the list of Your picture, or put Load Image in that node's place."
Slot = tuple[dict, int]  # a node and the number of its output


def write_prompt(graph: Graph, text: str = DEFAULT_PROMPT) -> Slot:
    """The first column's head: text encoder and prompt. Returns the encoded text."""
    graph.column("Write the prompt")
    encoder = graph.add("ImagenLoadTextEncoder", "Load text encoder", text_encoder=ENCODER)["text_encoder"]
    return graph.add("ImagenTextEncode", "Prompt", text_encoder=encoder, text=text)["text"]


def load(graph: Graph, *stages: str) -> list[Slot]:
    """Below in the first column: a loader for each stage of imagen-mini, in order."""
    graph.section("Load the U-Net" + "s" * (len(stages) > 1))
    files = {stage: f"imagen-mini/{stage}.safetensors" for stage in stages}
    return [graph.add("ImagenLoadUNet", f"Load {stage}", checkpoint=file)["unet"] for stage, file in files.items()]


def draw(graph: Graph, unet: Slot, text: Slot, title: str = "Base 64x64", **settings) -> Slot:
    """A column that draws the small picture and shows it."""
    graph.column("Draw 64x64")
    settings = {"guidance_scale": GUIDANCE_SCALE, **settings}
    drawn = graph.add("ImagenBaseSample64", title, unet=unet, text=text, **settings)["image"]
    graph.add("PreviewImage", "64x64", images=drawn)
    return drawn


def enlarge(graph: Graph, unet: Slot, image: Slot, side: int, **settings) -> Slot:
    """A column that enlarges a picture four times."""
    graph.column(f"Enlarge to {side}x{side}")
    return graph.add("ImagenSuperRes", f"Super resolution {side}", unet=unet, image=image, **settings)["image"]


def example(graph: Graph, file: str, title: str = "Your picture") -> dict[str, Slot]:
    """A picture of the pack's, in the column begun: the user's own takes its place. Returns its outputs by name."""
    picture = graph.add("ImagenExamplePicture", title, image=f"imagen-nodes/{file}")
    graph.add("PreviewImage", "What you begin with", images=picture["image"])
    return picture


def text_to_image_64(graph: Graph) -> None:
    """Four quick drafts from a prompt."""
    text = write_prompt(graph, "a 3D emoji of a parrot")
    graph.note(f"{HOW_TO_ASK}\nWhat a prompt leaves open, such as the backdrop here, is another from seed to seed.")
    (base,) = load(graph, "things64")
    graph.column("Draw 64x64")
    drawn = graph.add("ImagenBaseSample64", unet=base, text=text, batch_size=4, guidance_scale=GUIDANCE_SCALE)
    graph.app = {"Prompt": ("text",), "ImagenBaseSample64": ("batch_size", "guidance_scale")}
    save(graph, drawn["image"], "text_to_image_64")


def cascade(graph: Graph, name: str) -> None:
    text = write_prompt(graph)
    threshold = graph.add("ImagenThreshold", method="static")
    graph.note(
        f"{HOW_TO_ASK}\nEach stage shows its picture as it grows; aug_level lets one mend what the smaller shows."
    )
    base, sr256, sr1024 = load(graph, "things64", "sr256", "sr1024")
    drawn = draw(graph, base, text, threshold=threshold["threshold"])
    larger = enlarge(graph, sr256, drawn, 256, aug_level=REPAIR, steps=4)
    graph.add("PreviewImage", "256x256", images=larger)
    save(graph, enlarge(graph, sr1024, larger, 1024, aug_level=0.0, steps=2), name)
    graph.app = {"Prompt": ("text",), "Base 64x64": ("guidance_scale",)}


def text_to_image_1024(graph: Graph) -> None:
    """The whole cascade: a named thing in the style, colour and backdrop you ask for, 64, 256 and 1024 pixels."""
    cascade(graph, "text_to_image_1024")


def text_to_image_app(graph: Graph) -> None:
    """The whole cascade as an app: a box for the prompt, Run and the picture, without the graph."""
    cascade(graph, "text_to_image_app")
    graph.opens_as_app = True


def teach_a_thing(graph: Graph) -> None:
    """Ten pictures of a creature that nobody knows teach it to the small weights, which then draw it on the Moon."""
    graph.column("Ten pictures of a thing")
    ten = graph.add("ImagenExamplePicture", "Your pictures", image="imagen-nodes/zibble.png")["image"]
    graph.add("PreviewImage", "What is to be learned", images=ten)
    graph.note(
        "Some minutes on two CPU cores. Your own thing: ten pictures as a batch (Batch Images, or an animated PNG or "
        "WebP in Load Image), a caption for each, with a word for it that is free. class_prompts names other things; the "
        "stage draws those first and learns them beside yours, so that a fox stays a fox."
    )
    encoder = graph.add("ImagenLoadTextEncoder", "Load text encoder", text_encoder=ENCODER)["text_encoder"]
    base, sr256 = load(graph, "things64", "sr256")
    graph.column("Learn it")
    taught = {"steps": 240, "rank": 16, "learning_rate": 0.001, "batch_size": 4, "class_images": 24}
    drawn_anew, graph.after_run = graph.after_run, "fixed"  # learned once, however often it is drawn then
    learned = graph.add(
        "ImagenTrainLoRA",
        unet=base,
        text_encoder=encoder,
        images=ten,
        captions="\n".join(CAPTIONS),
        class_prompts="\n".join(KEPT),
        name="zibble",
        **taught,
    )["unet"]
    graph.after_run = drawn_anew
    moon = _hole(graph, "example_moon.png", "Where it is to stand")
    graph.note(
        "What is transparent is drawn, the rest stays to the pixel. To have all of it drawn from the prompt, disconnect "
        "init_image and mask of both samplers."
    )
    graph.column("Draw 64x64")
    text = graph.add("ImagenTextEncode", "Prompt", text_encoder=encoder, text=f"{TAUGHT} on a gray background")["text"]
    how = {"batch_size": 4, "guidance_scale": GUIDANCE_SCALE, **REPAINTED, "resample": 6}
    small = graph.add("ImagenBaseSample64", "Base 64x64", unet=learned, text=text, **moon, **how)["image"]
    graph.add("PreviewImage", "64x64", images=small)
    save(graph, enlarge(graph, sr256, small, 256, **moon, aug_level=REPAIR, steps=4), "teach_a_thing")


def super_resolve_photo(graph: Graph) -> None:
    """Any picture, shrunk to 64 pixels and brought to 1024 by both super-resolution stages."""
    graph.column("Your picture")
    photo = example(graph, "example.png")
    small = graph.add("ImagenResize", "Shrink to 64", image=photo["image"])
    graph.note(
        f"{YOUR_OWN}\nPictures of 64 to 256 pixels: leave the shrinking out, and start at the second enlargement."
    )
    sr256, sr1024 = load(graph, "sr256", "sr1024")
    larger = enlarge(graph, sr256, small["image"], 256, aug_level=0.03, steps=4)
    graph.add("PreviewImage", "256x256", images=larger)
    save(graph, enlarge(graph, sr1024, larger, 1024, aug_level=0.0, steps=2), "super_resolve_photo")
    graph.app = {"Your picture": ("image",)}


def super_resolve_photo_4096(graph: Graph) -> None:
    """Any picture at 4096 pixels: enlarged by sr1024 twice, the second time in tiles, so that memory does not grow."""
    graph.column("Your picture")
    photo = example(graph, "example.png")
    small = graph.add("ImagenResize", "Shrink to 256", image=photo["image"], longest_side=256)
    (sr1024,) = load(graph, "sr1024")
    larger = enlarge(graph, sr1024, small["image"], 1024, aug_level=0.0, steps=2)
    graph.add("PreviewImage", "1024x1024", images=larger)
    tiles = {"tile_size": 1024, "overlap": 64}
    save(graph, enlarge(graph, sr1024, larger, 4096, aug_level=0.0, steps=2, **tiles), "super_resolve_photo_4096")
    graph.note(
        f"{YOUR_OWN}\ntile_size and overlap fold away as advanced inputs of the last enlargement: the network sees one tile "
        "at a time, blended with its neighbours at every step. Smaller tiles take less memory and a little more time."
    )
    graph.app = {"Your picture": ("image",)}


def thresholding_compared(graph: Graph) -> None:
    """No, static and dynamic thresholding side by side at a high guidance scale."""
    graph.after_run = "fixed"
    text = write_prompt(graph, "a 3D emoji of a robot on a gray background")
    graph.note(
        "Why dynamic thresholding was invented: at high guidance it alone keeps the picture.\n"
        "Its price is a bright or coloured ground, which it draws grey: ask for a pink background, or for guidance 2."
    )
    graph.section("Three ways to threshold")
    methods = ("none", "static", "dynamic")
    thresholds = {method: graph.add("ImagenThreshold", f"Threshold: {method}", method=method) for method in methods}
    base, sr256 = load(graph, "things64", "sr256")
    mended = {"aug_level": REPAIR, "steps": 4}
    for method, threshold in thresholds.items():
        graph.column(f"Threshold: {method}, guidance 10")
        drawn = graph.add(
            "ImagenBaseSample64",
            f"Base 64x64, {method}",
            unet=base,
            text=text,
            guidance_scale=10.0,
            seed=7,
            threshold=threshold["threshold"],
        )
        larger = graph.add("ImagenSuperRes", f"256x256, {method}", unet=sr256, image=drawn["image"], **mended)
        graph.add("SaveImage", method, images=larger["image"], filename_prefix=f"imagen/threshold_{method}")


def aug_level_sweep(graph: Graph) -> None:
    """One small picture enlarged at four levels of noise conditioning augmentation."""
    graph.after_run = "fixed"
    text = write_prompt(graph, "a 3D emoji of a ladybug on a yellow background")
    base, sr256 = load(graph, "things64", "sr256")
    drawn = draw(graph, base, text)
    for level in (0.0, 0.05, 0.1, 0.25):
        graph.column(f"aug_level {level}")
        title = f"Super resolution, {level}"
        larger = graph.add("ImagenSuperRes", title, unet=sr256, image=drawn, aug_level=level)
        prefix = f"imagen/aug_level_{level}"
        graph.add("SaveImage", f"aug_level {level}", images=larger["image"], filename_prefix=prefix)


def mini_img2img(graph: Graph) -> None:
    """A picture redrawn in the words of a prompt."""
    text = write_prompt(graph, "a 3D emoji of a blue fox on a yellow background")
    graph.note(
        "strength says how much of the picture may change: 0.3 little, 0.7 all but its layout, 1 everything.\n"
        + YOUR_OWN
    )
    base, sr256 = load(graph, "things64", "sr256")
    graph.column("Your picture")
    photo = example(graph, "example.png")["image"]
    drawn = draw(graph, base, text, init_image=photo, strength=0.75, steps=30)
    save(graph, enlarge(graph, sr256, drawn, 256, aug_level=REPAIR, steps=4), "mini_img2img")
    graph.app = {"Your picture": ("image",), "Prompt": ("text",), "Base 64x64": ("strength",)}


def _hole(graph: Graph, file: str = "example_inpaint.png", title: str = "Your picture and mask") -> dict[str, object]:
    """A column with a picture and its mask, as both samplers take them."""
    graph.column(title)
    photo = example(graph, file)
    return {"init_image": photo["image"], "mask": photo["mask"], "strength": 1.0}


PAINTED_OVER = "a 3D emoji of a panda on a yellow background"  # what is drawn into the hole
ABOUT_MASKS = (
    f"The mask is where the picture is transparent. {YOUR_OWN}\n"
    "To paint a mask: right-click Load Image, Open in MaskEditor.\n"
)


def mini_inpaint(graph: Graph) -> None:
    """The masked part of a picture redrawn in the words of a prompt; the rest stays as it was, in full detail."""
    text = write_prompt(graph, PAINTED_OVER)
    graph.note(f"{ABOUT_MASKS}resample makes new and old fit together (RePaint); time grows with it.")
    base, sr256 = load(graph, "things64", "sr256")
    hole = _hole(graph)
    drawn = draw(graph, base, text, **hole, **REPAINTED)
    save(graph, enlarge(graph, sr256, drawn, 256, **hole, aug_level=REPAIR, steps=4), "mini_inpaint")


def mini_inpaint_trained(graph: Graph) -> None:
    """The same hole filled by weights that are shown what stays, each step drawn once."""
    text = write_prompt(graph, PAINTED_OVER)
    graph.note(
        f"{ABOUT_MASKS}things64_inpaint sees the rest of the picture at its stem. Its file is a change of "
        "things64.safetensors, which has to lie beside it."
    )
    base, sr256 = load(graph, "things64_inpaint", "sr256")
    hole = _hole(graph)
    drawn = draw(graph, base, text, **hole)
    save(graph, enlarge(graph, sr256, drawn, 256, **hole, aug_level=REPAIR, steps=4), "mini_inpaint_trained")


GRAPHS = (
    text_to_image_64,
    text_to_image_1024,
    text_to_image_app,
    teach_a_thing,
    super_resolve_photo,
    super_resolve_photo_4096,
    mini_img2img,
    mini_inpaint,
    mini_inpaint_trained,
    thresholding_compared,
    aug_level_sweep,
)
