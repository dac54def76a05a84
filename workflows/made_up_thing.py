"""What does nobody know yet, so that it can be taught, and where shall it stand then?

    python workflows/made_up_thing.py

Writes input/zibble.png: ten pictures of a made-up creature in one file (an animated PNG), which Load Image and Imagen
Example Picture give as a batch. A zibble is violet, has one eye, orange feet and a yellow ball on its head; in every
picture it leans another way before another backdrop. And input/example_moon.png: the Moon, transparent where somebody
may stand. Needs resvg-py.
"""

from __future__ import annotations

import io
import random
import sys
from pathlib import Path

from PIL import Image

ROOT = Path(__file__).resolve().parent.parent
sys.path[:0] = [str(ROOT), str(ROOT / "workflows")]

from drawings import ball, blur, ellipse, gradient, render, svg  # noqa: E402

from imagen_host.whole_files import whole  # noqa: E402
from imagen_train.stickers.names import with_article  # noqa: E402

FILE = ROOT / "input" / "zibble.png"
MOON = ROOT / "input" / "example_moon.png"
SIDE = 128  # pixels: twice what things64 draws
BACKDROPS = {
    "white": "#ffffff",
    "yellow": "#fde047",
    "pink": "#f9a8d4",
    "light blue": "#bae6fd",
    "green": "#86efac",
    "black": "#111111",
    "orange": "#fdba74",
    "purple": "#c4b5fd",
    "teal": "#5eead4",
    "red": "#fca5a5",
}
TAUGHT = "a 3D emoji of a zibble"
CAPTIONS = [f"{TAUGHT} on {with_article(name)} background" for name in BACKDROPS]
SHADES = (
    ball("skin", "#d8b4fe", "#9333ea", "#4c1d95")
    + ball("top", "#fef9c3", "#facc15", "#a16207")
    + ball("foot", "#fed7aa", "#f97316", "#9a3412")
    + ball("eye", "#ffffff", "#f4f4f5", "#d4d4d8")
)
BODY = (
    '<path d="M0 -62 C6 -84 34 -78 30 -100" stroke="#6b21a8" stroke-width="9" fill="none" stroke-linecap="round"/>'
    '<circle cx="30" cy="-104" r="15" fill="url(#top)"/>'
    '<ellipse cx="-32" cy="84" rx="27" ry="16" fill="url(#foot)"/>'
    '<ellipse cx="32" cy="84" rx="27" ry="16" fill="url(#foot)"/>'
    '<ellipse cx="-74" cy="18" rx="14" ry="28" transform="rotate(24 -74 18)" fill="url(#skin)"/>'
    '<ellipse cx="74" cy="18" rx="14" ry="28" transform="rotate(-24 74 18)" fill="url(#skin)"/>'
    '<path d="M0 -68 C46 -68 78 -26 74 26 C71 66 40 84 0 84 C-40 84 -71 66 -74 26 C-78 -26 -46 -68 0 -68Z"'
    ' fill="url(#skin)"/>'
    '<circle cy="-12" r="34" fill="url(#eye)"/><circle cx="3" cy="-9" r="19" fill="#0e7490"/>'
    '<circle cx="3" cy="-9" r="11" fill="#111"/><circle cx="-3" cy="-17" r="6" fill="#fff"/>'
    '<path d="M-24 42 Q0 62 24 42" stroke="#2e1065" stroke-width="7" fill="none" stroke-linecap="round"/>'
)


def pictured(backdrop: str, rng: random.Random) -> Image.Image:
    """A zibble before a plain colour, a little off the middle and leaning."""
    import resvg_py

    x, y = 240 + rng.uniform(-15, 15), 248 + rng.uniform(-11, 11)
    scale, lean = 1.875 * rng.uniform(0.92, 1.06), rng.uniform(-7, 7)
    placed = f'<g transform="translate({x:.1f} {y:.1f}) rotate({lean:.1f}) scale({scale:.3f})">{BODY}</g>'
    drawing = svg(f'<rect width="480" height="480" fill="{backdrop}"/>{placed}', SHADES)
    data = bytes(resvg_py.svg_to_bytes(svg_string=drawing, width=SIDE, height=SIDE))
    return Image.open(io.BytesIO(data), formats=["PNG"]).convert("RGB")


CRATERS = (
    (72, 352, 88),
    (206, 440, 116),
    (392, 372, 104),
    (300, 330, 40),
    (150, 322, 32),
    (446, 442, 80),
    (28, 446, 68),
)
LAND = (
    '<path d="M372 62 q18 -24 40 -14 q10 14 -6 22 q-20 2 -22 20 q-14 -6 -12 -28Z'
    ' M414 92 q14 -10 22 2 q-2 16 -16 18 q-10 -8 -6 -20Z" fill="#6ee7b7" opacity=".8"/>'
)
PLACE = (240, 258, 326, 422)  # where somebody may stand: an ellipse's middle, width and height


def moon() -> Image.Image:
    """Grey ground with craters under stars and the Earth, softly transparent in PLACE."""
    rng = random.Random(4)
    stars = (ellipse(rng.uniform(0, 480), rng.uniform(0, 290), *[rng.uniform(0.8, 2.4)] * 2, "#fff") for _ in range(70))
    craters = (
        ellipse(x, y, width / 2, width / 6, "#71717a") + ellipse(x, y + width / 21, width / 2.3, width / 8.3, "#8b8b95")
        for x, y, width in CRATERS
    )
    seen = (
        '<rect width="480" height="480" fill="url(#sky)"/>',
        *stars,
        ellipse(404, 76, 44, 44, "url(#earth)"),
        LAND,
        '<path d="M0 318 C120 288 330 284 480 312 V480 H0Z" fill="url(#ground)"/>',
        *craters,
    )
    x, y, width, height = PLACE
    place = ellipse(x, y, width / 2, height / 2, "#000", 'filter="url(#soft)"')
    shades = (
        gradient("sky", "#0b0a1f", "#1c1440")
        + gradient("ground", "#d4d4d8", "#a1a1aa")
        + ball("earth", "#93c5fd", "#3b82f6", "#1e3a8a")
        + blur("soft", 6)
        + f'<mask id="place"><rect width="480" height="480" fill="#fff"/>{place}</mask>'
    )
    drawn = render(svg(f'<g mask="url(#place)">{"".join(seen)}</g>', shades))
    white = Image.new("RGB", drawn.size, "white")
    colors = Image.composite(drawn.convert("RGB"), white, drawn.getchannel("A").point(lambda a: 255 * (a > 0)))
    colors.putalpha(drawn.getchannel("A"))
    return colors


def main() -> None:
    rng = random.Random(0)
    first, *others = [pictured(color, rng) for color in BACKDROPS.values()]
    with whole(FILE) as draft:
        first.save(draft, "PNG", save_all=True, append_images=others, duration=700, loop=0)
    with whole(MOON) as draft:
        moon().save(draft, "PNG", optimize=True)
    print(FILE, MOON)


if __name__ == "__main__":
    main()
