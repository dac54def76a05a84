"""How do pictures become a thumbnail that says what its graph does? Before and after, side by side, one in another."""

from __future__ import annotations

import csv
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import torch
from drawings import SIDE, corgi, fox, glass_ball, kangaroo, render, toy_fox, watercolour
from drawings_karlo import teddy
from PIL import Image, ImageDraw, ImageEnhance, ImageFilter, ImageFont

from imagen_core import HINTS, heat_map, measure_round_trip

INPUT = Path(__file__).resolve().parent.parent / "input"
STICKERS = INPUT.parent / "docs" / "stickers.csv"
GROUND = (24, 24, 28)
BLUE = (11, 140, 233)
FINE = 3  # masks are drawn this much larger
GAP = 4
METHODS = ("none", "static", "dynamic")  # of thresholding
Run = Callable[..., list[Path]]  # a graph's name and changes -> the files it saves


def fitted(picture: Image.Image, width: int, height: int) -> Image.Image:
    """The picture cut about its centre to this size; small ones keep their square pixels."""
    scale = max(width / picture.width, height / picture.height)
    size = (max(width, round(picture.width * scale)), max(height, round(picture.height * scale)))
    grown = picture.resize(size, Image.Resampling.NEAREST if scale > 1.5 else Image.Resampling.LANCZOS)
    left, top = (size[0] - width) // 2, (size[1] - height) // 2
    return grown.crop((left, top, left + width, top + height))


def montage(pictures: Sequence[Image.Image], *, columns: int, cell: tuple[int, int]) -> Image.Image:
    """Pictures in rows of `columns`, each `cell` pixels large."""
    rows = -(-len(pictures) // columns)
    width, height = cell
    sheet = Image.new("RGB", (columns * (width + GAP) - GAP, rows * (height + GAP) - GAP), GROUND)
    for i, picture in enumerate(pictures):
        sheet.paste(fitted(picture, width, height), (i % columns * (width + GAP), i // columns * (height + GAP)))
    return sheet


def read(path: Path) -> Image.Image:
    return Image.open(path, formats=["PNG", "JPEG"])


def opened(path: Path) -> Image.Image:
    """The whole thumbnail's worth of a picture, its holes as editors show them."""
    picture = read(path)
    if picture.mode != "RGBA":
        return fitted(picture.convert("RGB"), SIDE, SIDE)
    picture = picture.resize((SIDE, SIDE), Image.Resampling.LANCZOS)
    squares = (np.indices((SIDE, SIDE)) // 16).sum(0) % 2
    board = Image.fromarray(np.where(squares, 236, 188).astype("uint8")).convert("RGBA")
    return Image.alpha_composite(board, picture).convert("RGB")


def shrunk(picture: Image.Image, side: int) -> Image.Image:
    """What a stage of this size shows of it: by area, in square pixels."""
    return fitted(picture.resize((side, side), Image.Resampling.BOX), *picture.size)


def shaped(draw_shape: Callable[[ImageDraw.ImageDraw, int], None]) -> Image.Image:
    """A mask with smooth edges; `draw_shape` is given a pen and how many pixels its unit is."""
    mask = Image.new("L", (SIDE * FINE, SIDE * FINE))
    draw_shape(ImageDraw.Draw(mask), FINE)
    return mask.resize((SIDE, SIDE), Image.Resampling.LANCZOS)


def bands(*pictures: Image.Image, lean: int = 40) -> Image.Image:
    """Each from its own leaning line on, left to right, with a white line between."""
    whole = pictures[0].copy()
    for i, picture in enumerate(pictures[1:], 1):
        x = SIDE * i // len(pictures)
        edges = [(x + lean, 0), (SIDE, 0), (SIDE, SIDE), (x - lean, SIDE)]
        whole.paste(picture, mask=shaped(lambda pen, k, e=edges: pen.polygon([(u * k, v * k) for u, v in e], fill=255)))
        line = [(x + lean, 0), (x - lean, SIDE)]
        white = shaped(lambda pen, k, e=line: pen.line([(u * k, v * k) for u, v in e], fill=255, width=4 * k))
        whole.paste((255, 255, 255), mask=white)
    return whole


def framed(large: Image.Image, small: Image.Image, *, side: int = 150, margin: int = 18, left: int = 18) -> Image.Image:
    """`small`, in a white frame, in the lower left corner of `large`, or that far from its left."""
    whole, box = large.copy(), (left, SIDE - margin - side, left + side, SIDE - margin)
    outer = tuple(value + grow for value, grow in zip(box, (-5, -5, 5, 5), strict=True))
    for edges, content in ((outer, Image.new("RGB", (SIDE, SIDE), "white")), (box, None)):
        mask = shaped(lambda pen, k, e=edges: pen.rounded_rectangle([v * k for v in e], radius=10 * k, fill=255))
        if content is None:
            content = Image.new("RGB", (SIDE, SIDE))
            content.paste(fitted(small, side, side), box[:2])
        whole.paste(content, mask=mask)
    return whole


def labelled(picture: Image.Image, *labels: tuple[int, int, str]) -> Image.Image:
    """Small chips with words, each at the x and y of its upper left corner. ComfyUI covers the picture's own upper left."""
    whole, font = picture.copy(), ImageFont.load_default(17)
    for x, y, text in labels:
        width = font.getlength(text) + 20
        box = (x, y, x + width, y + 28)
        chip = shaped(lambda pen, k, e=box: pen.rounded_rectangle([v * k for v in e], radius=14 * k, fill=190))
        whole.paste(GROUND, mask=chip)
        ImageDraw.Draw(whole).text((x + width / 2, y + 14), text, fill="white", font=font, anchor="mm")
    return whole


def noisy(picture: Image.Image) -> Image.Image:
    """All noise at the left, all picture at the right: x_t = alpha x_0 + sigma eps in 96 pixels a side."""
    x_0 = np.asarray(picture.resize((96, 96), Image.Resampling.BOX), float) / 127.5 - 1
    t = np.clip(1.15 - 1.3 * np.linspace(0, 1, 96), 0, 1)[None, :, None]
    x_t = np.cos(np.pi / 2 * t) * x_0 + np.sin(np.pi / 2 * t) * 0.7 * np.random.default_rng(3).standard_normal(
        x_0.shape
    )
    small = Image.fromarray(((np.clip(x_t, -1, 1) + 1) * 127.5).astype("uint8"))
    ramp = np.clip(np.linspace(-1.6, 1.2, SIDE), 0, 1)[None, :].repeat(SIDE, 0)
    return Image.composite(picture, fitted(small, SIDE, SIDE), Image.fromarray((ramp * 255).astype("uint8")))


def burned(picture: Image.Image) -> Image.Image:
    """As guidance far too high leaves it."""
    loud = ImageEnhance.Color(ImageEnhance.Contrast(picture).enhance(2.4)).enhance(2.6)
    return loud.filter(ImageFilter.UnsharpMask(6, 180, 0))


def magnified(
    picture: Image.Image, sharp: Image.Image, x: int, y: int, radius: int = 112, by: float = 1.9
) -> Image.Image:
    """`sharp` through a magnifying glass over `picture`, about (x, y)."""
    whole = picture.copy()
    handle = [(x + radius * 0.72, y + radius * 0.72), (x + radius * 1.62, y + radius * 1.62)]
    for width, colour in ((34, (38, 34, 44)), (22, (92, 84, 104))):
        stroke = shaped(lambda pen, k, w=width: pen.line([(u * k, v * k) for u, v in handle], fill=255, width=w * k))
        whole.paste(colour, mask=stroke)
    half = radius / by
    view = sharp.resize((SIDE * 2, SIDE * 2), Image.Resampling.LANCZOS, box=(x - half, y - half, x + half, y + half))
    lens = Image.new("RGB", (SIDE, SIDE))
    lens.paste(view.resize((2 * radius, 2 * radius), Image.Resampling.LANCZOS), (x - radius, y - radius))
    for grow, content in ((10, (38, 34, 44)), (5, (226, 222, 232)), (0, lens)):
        reach = (x - radius - grow, y - radius - grow, x + radius + grow, y + radius + grow)
        disc = shaped(lambda pen, k, e=reach: pen.ellipse([v * k for v in e], fill=255))
        whole.paste(content, mask=disc)
    return whole


def app(picture: Image.Image, prompt: str) -> Image.Image:
    """The picture as app mode shows it: above a box with the prompt and a button."""
    whole = Image.new("RGB", (SIDE, SIDE), (32, 33, 38))
    card = shaped(lambda pen, k: pen.rounded_rectangle([40 * k, 26 * k, 440 * k, 366 * k], radius=18 * k, fill=255))
    content = Image.new("RGB", (SIDE, SIDE))
    content.paste(fitted(picture, 400, 340), (40, 26))
    whole.paste(content, mask=card)
    for box, colour in (((40, 388, 336, 452), (54, 56, 64)), ((350, 388, 440, 452), BLUE)):
        pill = shaped(lambda pen, k, e=box: pen.rounded_rectangle([v * k for v in e], radius=16 * k, fill=255))
        whole.paste(colour, mask=pill)
    pen, font = ImageDraw.Draw(whole), ImageFont.load_default(17)
    half = prompt.rfind(" ", 0, len(prompt) // 2 + 4)
    pen.multiline_text(
        (58, 420), prompt[:half] + "\n" + prompt[half + 1 :], fill=(226, 228, 234), font=font, anchor="lm"
    )
    pen.polygon([(368, 411), (368, 429), (383, 420)], fill="white")
    pen.text((391, 420), "Run", fill="white", font=font, anchor="lm")
    return whole


def filled_hole() -> Image.Image:
    """The example for inpainting with a glass ball where its hole was, whose outline still shows."""
    picture = read(INPUT / "example_inpaint.png").resize((SIDE, SIDE), Image.Resampling.LANCZOS)
    pixels, solid = np.asarray(picture.convert("RGB"), float), np.asarray(picture)[..., 3] > 250
    left, right = int(np.argmax(~solid.all(0))), int(SIDE - np.argmax(~solid.all(0)[::-1]))
    ground = np.median(pixels[solid], axis=0)  # which is plain
    patched = Image.fromarray(np.where(solid[..., None], pixels, ground).astype("uint8")).convert("RGBA")
    rows = np.flatnonzero(~solid.all(1))
    middle = ((left + right) / 2, (rows[0] + rows[-1]) / 2)
    drawn = Image.alpha_composite(patched, render(glass_ball(*middle, (right - left) * 0.42))).convert("RGB")
    return dashed(drawn, (left, int(rows[0]), right, int(rows[-1])))


def dashed(picture: Image.Image, box: tuple[int, int, int, int], dash: int = 12) -> Image.Image:
    """A dashed white frame about a box."""
    left, top, right, bottom = box
    lines = [((x, y), (min(x + dash, right), y)) for y in (top, bottom) for x in range(left, right, 2 * dash)]
    lines += [((x, y), (x, min(y + dash, bottom))) for x in (left, right) for y in range(top, bottom, 2 * dash)]

    def stroke(pen: ImageDraw.ImageDraw, k: int) -> None:
        for line in lines:
            pen.line([(u * k, v * k) for u, v in line], fill=230, width=3 * k)

    whole = picture.copy()
    whole.paste((255, 255, 255), mask=shaped(stroke))
    return whole


def first(paths: Sequence[Path]) -> Image.Image:
    return opened(paths[0])


def thresholding_compared(run: Run) -> Image.Image:
    """At its high guidance scale, and in the first place at a moderate one."""
    moderate = run("thresholding_compared", *(f"Base 64x64, {m}.guidance_scale=2" for m in METHODS))
    rows = {path.name.split("_")[1]: path for path in run("thresholding_compared")}
    shown = {"guidance 2": moderate[0], **{f"10, {method}": rows[method] for method in METHODS}}
    return in_four({label: read(path).convert("RGB") for label, path in shown.items()})


def aug_level_sweep(run: Run) -> Image.Image:
    return in_four({path.name.split("_")[2]: read(path).convert("RGB") for path in run("aug_level_sweep")})


def in_four(pictures: dict[str, Image.Image]) -> Image.Image:
    """Four pictures by their labels, two in a row."""
    half = (SIDE - GAP) // 2
    corners = [
        (10 + i % 2 * (half + GAP), half - 38 + i // 2 * (half + GAP), label) for i, label in enumerate(pictures)
    ]
    return labelled(montage(list(pictures.values()), columns=2, cell=(half, half)), *corners)


def guided() -> Image.Image:
    """What GLIDE's comparison of guidances is about: a picture that has drifted, and one that pleases CLIP by a pattern."""
    plain = drawn(corgi())
    drifted = ImageEnhance.Color(plain.filter(ImageFilter.GaussianBlur(7))).enhance(0.45)
    rings = np.sin(np.hypot(*(np.indices((SIDE, SIDE)) % 24 - 12)) * 1.2)[..., None] * 34 * np.array([1, -0.6, 0.8])
    patterned = Image.fromarray((np.asarray(plain, float) + rings).clip(0, 255).astype("uint8"))
    ways = {
        "neither": drifted,
        "classifier-free": plain,
        "CLIP": patterned,
        "both": ImageEnhance.Color(plain).enhance(1.6),
    }
    return in_four(ways)


def stickers(run: Run) -> Image.Image:
    prompts = [row["prompt"] for row in csv.DictReader(STICKERS.open(encoding="utf-8"))]
    pictures = [first(run("text_to_image_1024", f"Prompt.text={prompt}")) for prompt in prompts[:4]]
    half = (SIDE - GAP) // 2
    return montage(pictures, columns=2, cell=(half, half))


def best_of_four(run: Run) -> Image.Image:
    """Four drafts, the one on a green ground in a frame: what a CLIP is asked for."""
    half = (SIDE - GAP) // 2
    drafts = run("text_to_image_64", "Prompt.text=a 3D emoji of a parrot")[:4]
    whole = montage([opened(path) for path in drafts], columns=2, cell=(half, half))
    ImageDraw.Draw(whole).rectangle((0, 0, half - 1, half - 1), outline=BLUE, width=9)
    return labelled(whole, (20, half - 48, "best of four"))


def scales(run: Run) -> Image.Image:
    """The same picture taking shape from left to right, as a stronger pull would have it."""
    fits = {"0": (10, 0.25), "1": (24, 0.6), "2": (48, 0.9), "4": (120, 1.1), "8": (SIDE, 1.5)}  # pixels a side, colour
    steps = [ImageEnhance.Color(shrunk(drawn(fox()), side)).enhance(colour) for side, colour in fits.values()]
    whole = bands(*steps, lean=22)
    return labelled(whole, *((i * SIDE // 5 + 26, SIDE - 40, name) for i, name in enumerate(fits)))


def drawn(drawing: str) -> Image.Image:
    return render(drawing).convert("RGB")


def hinted(kind: str, picture: Image.Image, side: int = 64, **settings: Any) -> Image.Image:
    """A hint of the picture as a stage of this size is given it, in square pixels; settings: the hint's own."""
    small = np.asarray(picture.resize((side, side), Image.Resampling.BOX), np.float32) / 127.5 - 1
    hint = HINTS[kind](**settings)(torch.from_numpy(small).permute(2, 0, 1)[None])[0]
    pixels = ((hint + 1) * 127.5).round().byte().permute(1, 2, 0).numpy()
    return fitted(Image.fromarray(pixels), *picture.size)


def identity_three_scenes(run: Run) -> Image.Image:
    """An individual's one picture, and what is drawn of it."""
    reference = {"one picture": opened(INPUT / "example_identity.png")}
    drawn = {" ".join(path.name.split("_")[1:-2]): read(path).convert("RGB") for path in run("identity_three_scenes")}
    return in_four(reference | drawn)


def lost_in_a_vae() -> Image.Image:
    """A picture, what a quarter of its pixels leave of it, and where that differs: as a VAE's map shows it."""
    picture = drawn(fox())
    before, after = (
        torch.from_numpy(np.asarray(x, np.float32) / 127.5 - 1).permute(2, 0, 1)[None]
        for x in (picture, picture.resize((SIDE // 4, SIDE // 4), Image.Resampling.BOX).resize((SIDE, SIDE)))
    )
    heat = heat_map(measure_round_trip(before, after).error, 0.2)[0]
    shown = Image.fromarray(((heat + 1) * 127.5).round().byte().permute(1, 2, 0).numpy())
    return bands(picture, shown)


PROMPT = "a 3D emoji of a red fox on a pink background"
PARROT = ("Prompt.text=a 3D emoji of a parrot on a green background", "Base 64x64.seed=1")
LESS = "Super resolution 4096.factor=2"  # 2048 pixels are more than a thumbnail shows
COMPOSITIONS: dict[str, Callable[[Run], Image.Image]] = {
    "text_to_image_1024": stickers,
    "text_to_image_fast": lambda run: first(run("text_to_image_fast", *PARROT)),
    "text_to_image_app": lambda run: app(first(run("text_to_image_1024")), PROMPT),
    "super_resolve_photo": lambda run: bands(
        shrunk(opened(INPUT / "example.png"), 64), first(run("super_resolve_photo"))
    ),
    "super_resolve_photo_4096": lambda run: magnified(
        shrunk(opened(INPUT / "example.png"), 64), first(run("super_resolve_photo_4096", LESS)), 190, 200
    ),
    "mini_img2img": lambda run: bands(opened(INPUT / "example.png"), first(run("mini_img2img"))),
    "mini_inpaint": lambda run: framed(first(run("mini_inpaint")), opened(INPUT / "example_inpaint.png")),
    "mini_inpaint_trained": lambda run: framed(
        first(run("mini_inpaint_trained")), opened(INPUT / "example_inpaint.png"), side=96
    ),
    "unclip_mini": lambda run: bands(opened(INPUT / "example.png"), first(run("unclip_mini"))),
    "picture_as_prompt": lambda run: framed(first(run("picture_as_prompt")), opened(INPUT / "example.png"), side=96),
    "two_references_by_mask": lambda run: framed(
        first(run("two_references_by_mask")),
        bands(opened(INPUT / "example.png"), opened(INPUT / "example_second.png"), lean=0),
        side=110,
    ),
    "identity_three_scenes": identity_three_scenes,
    "thresholding_compared": thresholding_compared,
    "aug_level_sweep": aug_level_sweep,
    "imagen_native_ksampler": lambda run: noisy(first(run("text_to_image_1024"))),
    "imagen_to_latent_1024": lambda run: bands(first(run("text_to_image_1024")), drawn(toy_fox())),
    "threshold_any_model": lambda run: bands(
        drawn(fox()), burned(drawn(fox())), ImageEnhance.Color(drawn(fox())).enhance(1.35), lean=26
    ),
    "edges_to_picture_1024": lambda run: bands(
        hinted("edges", opened(INPUT / "example.png")), first(run("edges_to_picture_1024"))
    ),
    "palette_and_edges": lambda run: framed(
        framed(first(run("palette_and_edges")), hinted("edges", opened(INPUT / "example.png")), side=104),
        hinted("palette", opened(INPUT / "example.png")),
        side=104,
        left=358,
    ),
    "sketch_to_picture": lambda run: bands(
        fitted(read(INPUT / "example_sketch.png").convert("RGB"), SIDE, SIDE), first(run("sketch_to_picture"))
    ),
    "vae_loss": lambda run: lost_in_a_vae(),
    "latent_to_pixels_1024": lambda run: magnified(shrunk(drawn(fox()), 96), drawn(fox()), 240, 200),
    "karlo_256": lambda run: framed(drawn(teddy()), shrunk(drawn(teddy()), 64), side=84),
    "adm_classifier_guided": lambda run: noisy(drawn(fox())),
    "adm_classifier_scales": scales,
    "clip_best_of_four": best_of_four,
    "glide_256": lambda run: framed(drawn(corgi()), shrunk(drawn(corgi()), 64), side=120),
    "glide_guidance_compared": lambda run: guided(),
    "glide_inpaint": lambda run: framed(filled_hole(), opened(INPUT / "example_inpaint.png"), side=96),
    "deepfloyd_if_256": lambda run: framed(drawn(kangaroo()), shrunk(drawn(kangaroo()), 64), side=120),
    "deepfloyd_if_1024": lambda run: bands(
        shrunk(drawn(kangaroo()), 48), shrunk(drawn(kangaroo()), 96), drawn(kangaroo())
    ),
    "deepfloyd_if_1024_sdx4": lambda run: magnified(shrunk(drawn(kangaroo()), 80), drawn(kangaroo()), 177, 210),
    "deepfloyd_if_img2img": lambda run: bands(opened(INPUT / "example.png"), drawn(watercolour())),
    "deepfloyd_if_inpaint": lambda run: filled_hole(),
}
