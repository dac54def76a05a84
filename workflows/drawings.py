"""What would graphs draw whose weights do not ship? Drawings in their stead, for thumbnails: SVG, 480 units square.

`render` needs resvg-py (pip install resvg-py), which the thumbnails alone use.
"""

from __future__ import annotations

import io
import math
import random
from collections.abc import Iterable

from PIL import Image

SIDE = 480


def svg(body: str, definitions: str = "") -> str:
    return (
        f'<svg xmlns="http://www.w3.org/2000/svg" width="{SIDE}" height="{SIDE}" viewBox="0 0 {SIDE} {SIDE}">'
        f"<defs>{definitions}</defs>{body}</svg>"
    )


def render(drawing: str) -> Image.Image:
    """The drawing as a picture of SIDE x SIDE, with its transparency."""
    import resvg_py

    data = bytes(resvg_py.svg_to_bytes(svg_string=drawing, width=SIDE, height=SIDE))
    return Image.open(io.BytesIO(data), formats=["PNG"]).convert("RGBA")


def gradient(name: str, *stops: str, across: str = 'x1="0" y1="0" x2="0" y2="1"') -> str:
    """A linear gradient of evenly spaced colours."""
    last = max(len(stops) - 1, 1)
    colours = "".join(f'<stop offset="{i / last:.3f}" stop-color="{colour}"/>' for i, colour in enumerate(stops))
    return f'<linearGradient id="{name}" {across}>{colours}</linearGradient>'


def ball(name: str, *stops: str) -> str:
    """A radial gradient lit from the upper left."""
    last = max(len(stops) - 1, 1)
    colours = "".join(f'<stop offset="{i / last:.3f}" stop-color="{colour}"/>' for i, colour in enumerate(stops))
    return f'<radialGradient id="{name}" cx=".36" cy=".3" r=".78">{colours}</radialGradient>'


def blur(name: str, amount: float) -> str:
    inside = f'<feGaussianBlur stdDeviation="{amount}"/>'
    return f'<filter id="{name}" x="-50%" y="-50%" width="200%" height="200%">{inside}</filter>'


def path(points: str, fill: str, more: str = "") -> str:
    return f'<path d="{points}" fill="{fill}" {more}/>'


def ellipse(x: float, y: float, width: float, height: float, fill: str, more: str = "") -> str:
    return f'<ellipse cx="{x}" cy="{y}" rx="{width}" ry="{height}" fill="{fill}" {more}/>'


def tower() -> Iterable[str]:
    """The Eiffel tower, far away: legs that sweep inwards, three platforms, lattice."""
    yield path("M300 372 C338 300 358 210 362 96 L368 96 C372 210 392 300 430 372 L404 372 C398 346 384 330 365 330 "
               "C346 330 332 346 326 372 Z", "url(#iron)")  # fmt: skip
    yield path("M363 96 L365 46 L367 96 Z", "#7c5b6e")
    for y, half in ((306, 43), (228, 24), (128, 9)):
        yield f'<rect x="{365 - half}" y="{y}" width="{2 * half}" height="8" rx="2" fill="#6d4f63"/>'
    lattice = [(y, 3 + (y - 100) * 0.115) for y in range(140, 300, 14)]
    for (y, half), (below, wider) in zip(lattice, lattice[1:], strict=False):
        crossed = f"M{365 - half} {y} L{365 + wider} {below} M{365 + half} {y} L{365 - wider} {below}"
        yield f'<path d="{crossed}" class="lattice"/>'


def kangaroo() -> str:
    """DeepFloyd's prompt: a kangaroo in an orange hoodie and blue sunglasses in front of the Eiffel tower."""
    definitions = (
        gradient("sky", "#7fb4dc", "#bcd9e8", "#fbe3c6", "#f8c9a4")
        + gradient("iron", "#8d6b7d", "#6d4f63")
        + gradient("fur", "#c9935f", "#a96f43", across='x1="0" y1="0" x2="1" y2="1"')
        + gradient("hoodie", "#ff9a3c", "#ee6f1d", across='x1="0" y1="0" x2="1" y2="1"')
        + gradient("glass", "#4cc2ff", "#1b5fd0", across='x1="0" y1="0" x2="1" y2="1"')
        + gradient("lawn", "#9cc271", "#5f9550")
        + blur("soft", 7)
        + blur("haze", 2)
        + "<style>.lattice{stroke:#f6dcc6;stroke-opacity:.55;stroke-width:1.3;fill:none}</style>"
    )
    trees = "".join(
        ellipse(x, 356 + x % 7, 26, 20, ("#7fae63", "#6fa059", "#8cb86c")[x % 3]) for x in range(-4, 490, 27)
    )
    body = "".join([
        '<rect width="480" height="480" fill="url(#sky)"/>',
        ellipse(96, 84, 62, 15, "#fff", 'opacity=".7"'), ellipse(140, 74, 44, 17, "#fff", 'opacity=".7"'),
        ellipse(432, 150, 50, 11, "#fff", 'opacity=".55"'),
        "".join(tower()), trees,
        '<rect y="366" width="480" height="114" fill="url(#lawn)"/>',
        path("M300 480 L346 372 L384 372 L440 480 Z", "#ead9b4", 'opacity=".8"'),
        # shoulders and sleeves
        ellipse(176, 470, 150, 22, "#35562c", 'opacity=".35" filter="url(#soft)"'),
        path("M58 480 C58 398 92 344 140 328 L214 328 C262 344 296 398 296 480 Z", "url(#hoodie)"),
        path("M98 480 C98 446 102 424 110 404", "none", 'stroke="#c95613" stroke-width="4" stroke-linecap="round"'),
        path("M256 480 C256 446 252 424 244 404", "none", 'stroke="#c95613" stroke-width="4" stroke-linecap="round"'),
        path("M122 440 L232 440 L248 480 L106 480 Z", "#e2651a"),
        # hood behind the head, neck, ears, head
        path("M112 344 C100 300 120 272 177 272 C234 272 254 300 242 344 C222 366 132 366 112 344 Z", "#d95c15"),
        path("M140 260 L214 260 L212 344 C200 358 154 358 142 344 Z", "#a96f43"),
        path("M122 168 C92 120 84 66 104 46 C130 60 152 108 156 160 Z", "url(#fur)"),
        path("M118 150 C100 114 97 80 106 66 C122 80 138 116 142 150 Z", "#e8b9a0"),
        path("M232 168 C262 120 270 66 250 46 C224 60 202 108 198 160 Z", "url(#fur)"),
        path("M236 150 C254 114 257 80 248 66 C232 80 216 116 212 150 Z", "#e8b9a0"),
        path("M112 196 C112 150 142 132 177 132 C212 132 242 150 242 196 C242 226 226 244 218 264 C210 294 198 306 177 306 "
             "C156 306 144 294 136 264 C128 244 112 226 112 196 Z", "url(#fur)"),
        path("M142 258 C146 240 160 234 177 234 C194 234 208 240 212 258 C210 292 196 302 177 302 C158 302 144 292 "
             "142 258 Z", "#e3bb90"),
        path("M160 252 C160 243 194 243 194 252 C194 264 184 270 177 270 C170 270 160 264 160 252 Z", "#3a2a2a"),
        ellipse(170, 250, 5, 2.4, "#fff", 'opacity=".55"'),
        path("M177 270 L177 282 M177 282 C168 290 158 288 154 282 M177 282 C186 290 196 288 200 282", "none",
             'stroke="#7a5136" stroke-width="3" stroke-linecap="round"'),
        # sunglasses
        path("M104 196 L126 192 M250 196 L228 192", "none", 'stroke="#173a86" stroke-width="7" stroke-linecap="round"'),
        path("M118 184 C118 176 124 174 132 174 L160 176 C168 177 170 182 169 190 C167 212 160 224 144 224 C128 224 119 208 "
             "118 184 Z", "url(#glass)", 'stroke="#173a86" stroke-width="6"'),
        path("M236 184 C236 176 230 174 222 174 L194 176 C186 177 184 182 185 190 C187 212 194 224 210 224 C226 224 235 208 "
             "236 184 Z", "url(#glass)", 'stroke="#173a86" stroke-width="6"'),
        path("M168 186 C174 180 180 180 186 186", "none", 'stroke="#173a86" stroke-width="6"'),
        path("M128 184 L142 184 L130 204 Z M196 184 L210 184 L198 204 Z", "#fff", 'opacity=".55"'),
        # rim of the hood, strings
        path("M132 334 C148 358 206 358 222 334 L230 348 C210 376 144 376 124 348 Z", "#ffb05e"),
        path("M152 362 L148 412 M202 362 L206 412", "none", 'stroke="#fff3df" stroke-width="5" stroke-linecap="round"'),
        '<circle cx="148" cy="416" r="5" fill="#fff3df"/><circle cx="206" cy="416" r="5" fill="#fff3df"/>',
    ])  # fmt: skip
    return svg(body, definitions)


COAT = gradient("coat", "#f08a3a", "#c9531a", across='x1="0" y1="0" x2="1" y2="1"')


def fox_head() -> str:
    """From the front, 224 units wide about (240, 190)."""
    return "".join([
        path("M146 176 C140 120 146 84 158 70 C186 84 212 118 222 150 Z", "url(#coat)"),
        path("M334 176 C340 120 334 84 322 70 C294 84 268 118 258 150 Z", "url(#coat)"),
        path("M160 150 C158 118 160 100 164 92 C180 104 194 124 200 144 Z", "#4a2618"),
        path("M320 150 C322 118 320 100 316 92 C300 104 286 124 280 144 Z", "#4a2618"),
        path("M240 130 C306 130 344 160 352 210 C340 236 300 262 262 306 C250 316 230 316 218 306 C180 262 140 236 128 210 "
             "C136 160 174 130 240 130 Z", "url(#coat)"),
        path("M128 210 C150 206 188 214 212 244 C220 256 226 276 240 276 C254 276 260 256 268 244 C292 214 330 206 352 210 "
             "C340 236 300 262 262 306 C250 316 230 316 218 306 C180 262 140 236 128 210 Z", "#fff8ee"),
        path("M222 290 C222 280 258 280 258 290 C258 302 248 308 240 308 C232 308 222 302 222 290 Z", "#2b1a17"),
        ellipse(233, 288, 5, 2.5, "#fff", 'opacity=".6"'),
        ellipse(192, 206, 13, 14, "#2b1a17"), ellipse(288, 206, 13, 14, "#2b1a17"),
        '<circle cx="197" cy="201" r="4.5" fill="#fff"/><circle cx="293" cy="201" r="4.5" fill="#fff"/>',
    ])  # fmt: skip


def fox() -> str:
    """A red fox in fresh snow, morning light."""
    definitions = (
        gradient("dawn", "#8fb2dd", "#f3d3cf", "#fdeccb")
        + gradient("snow", "#ffffff", "#d7e4f5")
        + COAT
        + gradient("dark", "#d9622070", "#a83f12")
        + blur("soft", 8)
        + blur("far", 3)
    )
    flakes = random.Random(5)
    places = [[flakes.uniform(low, high) for low, high in ((0, 480), (0, 470), (1, 3), (0.4, 0.9))] for _ in range(70)]
    snow = "".join(
        f'<circle cx="{x:.0f}" cy="{y:.0f}" r="{r:.1f}" fill="#fff" opacity="{o:.2f}"/>' for x, y, r, o in places
    )
    firs = "".join(
        path(f"M{x} {300 - h} L{x + 26} 312 L{x - 26} 312 Z", "#6f8fae", 'opacity=".6" filter="url(#far)"')
        for x, h in ((24, 120), (70, 80), (118, 140), (360, 100), (404, 150), (452, 110))
    )
    body = "".join([
        '<rect width="480" height="480" fill="url(#dawn)"/>',
        '<circle cx="386" cy="92" r="38" fill="#fff4d6" opacity=".9"/>', firs,
        path("M0 306 C90 280 170 312 260 296 C340 282 420 292 480 306 L480 480 L0 480 Z", "url(#snow)"),
        ellipse(250, 438, 150, 18, "#8fa9cc", 'opacity=".55" filter="url(#soft)"'),
        # tail, body, chest
        path("M322 420 C400 430 446 388 432 318 C428 296 404 288 396 308 C400 352 370 372 318 374 Z", "url(#coat)"),
        path("M432 318 C428 296 404 288 396 308 C398 324 396 336 390 346 C408 352 428 344 432 318 Z", "#fff8ee"),
        path("M148 430 C138 352 162 292 240 284 C318 292 350 352 338 430 Z", "url(#coat)"),
        path("M196 428 C186 360 204 312 240 306 C276 312 294 360 284 428 Z", "#fff8ee"),
        path("M196 440 L200 388 L226 388 L228 440 Z M252 440 L254 388 L280 388 L284 440 Z", "#4a2618"),
        fox_head(),
        path("M222 404 C230 396 250 396 258 404", "none", 'stroke="#f0dcc6" stroke-width="3"'),
        path("M0 440 C110 418 190 446 260 436 C340 424 420 440 480 430 L480 480 L0 480 Z", "#fff"), snow,
    ])  # fmt: skip
    return svg(body, definitions)


def corgi() -> str:
    """A corgi in a field of poppies, which is GLIDE's own prompt for its inpainting but for the flowers."""
    definitions = (
        gradient("sky", "#6fb3e6", "#bfe0f2", "#eef6ea")
        + gradient("field", "#b6d36b", "#6fa33c", "#4b7d2b")
        + gradient("coat", "#f2a34f", "#d27a2b", across='x1="0" y1="0" x2="1" y2="1"')
        + blur("soft", 8)
        + blur("far", 2)
    )
    chance = random.Random(11)
    blades = "".join(
        path(f"M{x:.0f} 480 Q{x + lean / 2:.0f} {480 - h / 2:.0f} {x + lean:.0f} {480 - h:.0f} Q{x + 6:.0f} "
             f"{480 - h / 2:.0f} {x + 9:.0f} 480 Z", ("#4c7f2a", "#5c9433", "#3f6d24")[i % 3], 'opacity=".9"')
        for i, (x, h, lean) in enumerate((chance.uniform(-8, 480), chance.uniform(28, 92), chance.uniform(-16, 16))
                                         for _ in range(120))
    )  # fmt: skip
    poppies = "".join(
        ellipse(x, y, r, r * 0.8, "#e2402c") + ellipse(x, y - r * 0.1, r * 0.35, r * 0.3, "#4a1712")
        for x, y, r in (
            (42, 398, 15),
            (92, 442, 19),
            (402, 424, 18),
            (448, 388, 13),
            (360, 456, 20),
            (24, 356, 8),
            (436, 342, 7),
        )
    )
    body = "".join([
        '<rect width="480" height="480" fill="url(#sky)"/>',
        ellipse(110, 82, 66, 17, "#fff", 'opacity=".8"'), ellipse(150, 70, 46, 20, "#fff", 'opacity=".8"'),
        ellipse(404, 122, 58, 13, "#fff", 'opacity=".7"'),
        path("M0 262 C100 226 200 254 300 232 C380 216 440 236 480 228 L480 330 L0 330 Z", "#86aa74", 'filter="url(#far)"'),
        path("M0 292 C120 270 260 300 480 274 L480 480 L0 480 Z", "url(#field)"),
        ellipse(240, 452, 150, 20, "#2f5a1c", 'opacity=".5" filter="url(#soft)"'),
        # body, chest, legs
        path("M142 456 C120 372 148 300 240 292 C332 300 360 372 338 456 Z", "url(#coat)"),
        path("M184 440 C164 360 196 292 240 288 C284 292 316 360 296 440 Z", "#fffaf0"),
        path("M178 462 L186 388 L228 388 L226 462 Z M254 462 L252 388 L294 388 L302 462 Z", "#fffaf0"),
        # ears
        path("M136 190 C108 130 104 70 124 46 C166 64 200 106 212 148 Z", "url(#coat)"),
        path("M344 190 C372 130 376 70 356 46 C314 64 280 106 268 148 Z", "url(#coat)"),
        path("M146 168 C128 126 124 92 132 74 C160 90 184 118 194 148 Z", "#f6c3ab"),
        path("M334 168 C352 126 356 92 348 74 C320 90 296 118 286 148 Z", "#f6c3ab"),
        # head, cheeks, blaze and muzzle
        path("M240 118 C318 118 362 166 360 222 C356 280 304 318 240 318 C176 318 124 280 120 222 C118 166 162 118 240 118 "
             "Z", "url(#coat)"),
        path("M120 226 C140 242 160 286 206 314 C160 308 122 276 120 226 Z M360 226 C340 242 320 286 274 314 C320 308 358 "
             "276 360 226 Z", "#fffaf0"),
        path("M230 120 C222 164 214 190 200 214 C182 240 178 274 204 300 C222 316 258 316 276 300 C302 274 298 240 280 214 "
             "C266 190 258 164 250 120 Z", "#fffaf0"),
        # eyes, nose, mouth, tongue
        ellipse(182, 206, 15, 16, "#2d1a12"), ellipse(298, 206, 15, 16, "#2d1a12"),
        '<circle cx="188" cy="200" r="5" fill="#fff"/><circle cx="304" cy="200" r="5" fill="#fff"/>',
        path("M226 290 C226 330 232 344 242 344 C252 344 256 330 256 290 Z", "#f0808a"),
        path("M204 276 C212 294 230 298 240 286 C250 298 268 294 276 276", "none",
             'stroke="#5a3a2c" stroke-width="5" stroke-linecap="round"'),
        path("M214 244 C214 232 266 232 266 244 C266 262 252 272 240 272 C228 272 214 262 214 244 Z", "#2b1a17"),
        ellipse(231, 243, 8, 4, "#fff", 'opacity=".55"'),
        blades, poppies,
    ])  # fmt: skip
    return svg(body, definitions)


def toy_fox() -> str:
    """A red fox on pink as a model of photographs would finish imagen-mini's: a smooth toy in soft light."""
    definitions = gradient("wall", "#fbc4d6", "#f0a3bd") + COAT + blur("soft", 14)
    body = "".join([
        '<rect width="480" height="480" fill="url(#wall)"/>',
        ellipse(240, 402, 120, 16, "#b7657f", 'opacity=".55" filter="url(#soft)"'),
        f'<g transform="translate(240 240) scale(1.3) translate(-240 -190)">{fox_head()}</g>',
        ellipse(190, 170, 40, 22, "#fff", 'opacity=".3" filter="url(#soft)" transform="rotate(-30 190 170)"'),
    ])  # fmt: skip
    return svg(body, definitions)


def wash(points: list[tuple[float, float]], colour: str, seed: int, *, reach: float = 0.16, layers: int = 30) -> str:
    """A shape as wet paint leaves it: many faint layers, each edge bent at random, and again, and again."""
    chance = random.Random(seed)

    def bent(points: list[tuple[float, float]], reach: float) -> list[tuple[float, float]]:
        bends = []
        for (x, y), (u, v) in zip(points, [*points[1:], points[0]], strict=True):
            push, along = chance.gauss(0, reach), chance.uniform(0.35, 0.65)
            bends += [(x, y), (x + (u - x) * along + (v - y) * push, y + (v - y) * along - (u - x) * push)]
        return bends

    base = bent(bent(points, reach / 2), reach / 2)
    drawn = []
    for _ in range(layers):
        edge = bent(bent(bent(base, reach), reach), reach)
        drawn.append(path("M" + " L".join(f"{x:.1f} {y:.1f}" for x, y in edge) + " Z", colour, 'opacity=".055"'))
    return "".join(drawn)


def watercolour() -> str:
    """A watercolour painting of a fox, where the example picture has it."""
    ground = [(-30, -30), (240, -40), (510, -30), (520, 240), (510, 500), (240, 520), (-30, 500), (-40, 240)]
    upper = [(-30, -30), (510, -30), (515, 150), (380, 190), (240, 160), (90, 200), (-35, 150)]
    lower = [(20, 400), (150, 404), (260, 424), (420, 400), (450, 420), (300, 446), (120, 440)]
    face = [(126, 285), (126, 155), (150, 110), (178, 90), (206, 110), (226, 155), (254, 155), (274, 110), (302, 90),
            (330, 110), (354, 155), (354, 285), (394, 292), (366, 356), (318, 396), (240, 412), (162, 396), (114, 356),
            (86, 292)]  # fmt: skip
    white = [(96, 308), (180, 296), (240, 330), (300, 296), (384, 308), (362, 356), (316, 392), (240, 408), (164, 392),
             (118, 356)]  # fmt: skip
    body = "".join([
        '<rect width="480" height="480" fill="#fbf5e6"/>',
        wash(ground, "#f2d35c", 1, reach=0.05, layers=12), wash(upper, "#eebf4a", 2, reach=0.2, layers=8),
        wash(lower, "#8a6a35", 3, reach=0.12, layers=9), wash(face, "#ee7d2e", 4, reach=0.1),
        wash([(140, 180), (240, 165), (340, 180), (330, 270), (240, 250), (150, 270)], "#c9531a", 5, reach=0.2, layers=6),
        wash(white, "#fff3e2", 6, reach=0.08, layers=44),
        *(wash([(x - 20, 140), (x, 92), (x + 22, 140), (x, 128)], "#3b2530", i, layers=22) for i, x in ((7, 178), (8, 302))),
        *(wash(disc(x, 274, 13), "#2b1a17", i, layers=26) for i, x in ((9, 196), (10, 284))),
        wash(disc(240, 326, 17), "#2b1a17", 11, layers=26),
    ])  # fmt: skip
    return svg(body)


def disc(x: float, y: float, radius: float) -> list[tuple[float, float]]:
    turns = [2 * math.pi * i / 8 for i in range(8)]
    return [(x + radius * math.cos(turn), y + radius * math.sin(turn)) for turn in turns]


def glass_ball(x: float, y: float, radius: float) -> str:
    """A green glass ball on nothing, to be laid over a photograph."""
    definitions = (
        ball("green", "#d8ffd9", "#5fd47c", "#1f9a4b", "#0b5a2c") + blur("soft", radius / 8) + blur("glow", radius / 16)
    )
    body = "".join([
        ellipse(x - radius * 0.1, y + radius * 0.93, radius * 0.95, radius * 0.16, "#5b4310",
                'opacity=".5" filter="url(#soft)"'),
        f'<circle cx="{x}" cy="{y}" r="{radius}" fill="url(#green)" opacity=".93"/>',
        ellipse(x + radius * 0.25, y + radius * 0.5, radius * 0.5, radius * 0.28, "#e9ffb0",
                'opacity=".65" filter="url(#soft)"'),
        ellipse(x - radius * 0.35, y - radius * 0.5, radius * 0.3, radius * 0.17, "#fff",
                f'opacity=".9" filter="url(#glow)" transform="rotate(-30 {x - radius * 0.35} {y - radius * 0.5})"'),
        f'<circle cx="{x}" cy="{y}" r="{radius - 1.5}" fill="none" stroke="#eaffea" stroke-opacity=".5" stroke-width="2"/>',
    ])  # fmt: skip
    return svg(body, definitions)
