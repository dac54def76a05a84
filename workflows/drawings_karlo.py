"""What would Karlo draw, whose weights do not ship? A drawing in its stead: a teddy bear on a skateboard, in crayon."""

from __future__ import annotations

from collections.abc import Iterable

from drawings import SIDE, ellipse, path, svg

LINE = 'stroke="#4a2c1d" stroke-width="5" stroke-linejoin="round" stroke-linecap="round"'
CRAYON = (  # edges that tremble, and colour that leaves paper bare
    '<filter id="crayon" x="-20%" y="-20%" width="140%" height="140%">'
    '<feTurbulence type="fractalNoise" baseFrequency=".03" numOctaves="1" seed="7" result="shake"/>'
    '<feDisplacementMap in="SourceGraphic" in2="shake" scale="3.5" xChannelSelector="R" yChannelSelector="G" '
    'result="drawn"/>'
    '<feTurbulence type="fractalNoise" baseFrequency=".22" numOctaves="2" seed="3" result="grain"/>'
    '<feColorMatrix in="grain" type="matrix" values="0 0 0 0 0  0 0 0 0 0  0 0 0 0 0  0 0 0 -2.2 2.0" result="gaps"/>'
    '<feComposite in="drawn" in2="gaps" operator="in"/></filter>'
)


def hatched(top: int, bottom: int, colour: str, step: int = 11) -> str:
    """A surface filled with strokes from side to side, as a child fills it."""
    lines = " ".join(f"M-10 {y} L{SIDE + 10} {y - 16}" for y in range(top, bottom, step))
    return path(lines, "none", f'stroke="{colour}" stroke-width="9" opacity=".8"')


def skateboard() -> Iterable[str]:
    yield path("M92 378 C104 396 120 400 140 400 L338 400 C360 400 376 396 388 376", "none",
               'stroke="#e2372d" stroke-width="17" stroke-linecap="round"')  # fmt: skip
    for x in (158, 322):
        yield ellipse(x, 424, 18, 18, "#2f6fd0", LINE)
        yield ellipse(x, 424, 5, 5, "#fff3d6", "")


def bear() -> Iterable[str]:
    fur, light = "#b5713c", "#e9bd86"
    for x in (180, 300):  # ears
        yield ellipse(x, 92, 30, 30, fur, LINE)
        yield ellipse(x, 94, 15, 15, light, "")
    yield path("M172 232 C126 214 96 190 84 158", "none", f'stroke="{fur}" stroke-width="36" stroke-linecap="round"')
    yield path("M308 232 C354 214 384 190 396 158", "none", f'stroke="{fur}" stroke-width="36" stroke-linecap="round"')
    yield ellipse(240, 288, 84, 88, fur, LINE)
    yield ellipse(240, 298, 52, 58, light, "")
    for x in (188, 292):  # feet on the board
        yield ellipse(x, 372, 42, 22, fur, LINE)
        yield ellipse(x, 375, 20, 10, light, "")
    yield ellipse(240, 150, 84, 74, fur, LINE)
    yield ellipse(240, 176, 38, 28, light, "")
    for x in (208, 272):
        yield ellipse(x, 138, 8, 10, "#2a1712", "")
    yield path("M226 164 L254 164 L240 178 Z", "#2a1712")
    yield path("M240 178 L240 188 M220 188 C228 200 252 200 260 188", "none", LINE)
    yield path("M198 224 C224 240 256 240 282 224", "none", 'stroke="#e2372d" stroke-width="16" stroke-linecap="round"')


def sky() -> Iterable[str]:
    yield hatched(16, 210, "#a8d6f2", 17)
    yield hatched(446, 500, "#7cc06a", 10)
    yield ellipse(416, 66, 34, 34, "#fbc52d", "")
    rays = [(416, 14, 416, -8), (366, 30, 350, 14), (352, 74, 330, 78), (372, 112, 356, 130), (452, 114, 468, 132)]
    yield path(" ".join(f"M{a} {b} L{c} {d}" for a, b, c, d in rays), "none",
               'stroke="#fbc52d" stroke-width="8" stroke-linecap="round"')  # fmt: skip
    yield path("M24 330 L76 330 M14 356 L70 356 M30 382 L64 382", "none", 'stroke="#8a8f99" stroke-width="5"')


def teddy() -> str:
    """Karlo's own prompt: a teddy bear on a skateboard, children drawing style."""
    layers = ("".join(part()) for part in (sky, skateboard, bear))
    drawn = "".join(f'<g filter="url(#crayon)">{layer}</g>' for layer in layers)
    return svg(f'<rect width="{SIDE}" height="{SIDE}" fill="#fdf8ec"/>{drawn}', CRAYON)
