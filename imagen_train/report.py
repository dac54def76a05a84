"""What became of a run, on one page that opens offline: curves as drawings, previews as pictures in the page."""

from __future__ import annotations

import base64
import html
import json
from collections.abc import Iterator, Sequence
from pathlib import Path

from imagen_core.whole_files import write

from .run_log import LOG_FILE

NOT_CURVES = ("step", "seconds", "images")
UNITS = {"rate": " pictures/s"}
MOST_PREVIEWS = 12
WIDTH, HEIGHT, MARGIN = 520, 180, 40
STYLE = """
body{font:15px/1.5 system-ui,sans-serif;max-width:1120px;margin:2em auto;padding:0 1em;color:#222;background:#fff}
figure{display:inline-block;margin:.5em}figcaption{color:#666}img{image-rendering:pixelated;max-width:100%}
svg{background:#fafafa}polyline{fill:none;stroke:#2563eb;stroke-width:1.5;stroke-linecap:round}text{font-size:11px;fill:#666}
"""

Curve = list[tuple[float, float]]


def curves_of(log: Path) -> dict[str, Curve]:
    """Each logged figure by its name: (step, value), in order; what a run that was killed repeats counts once.

    ValueError: there is no log. A last line that was cut by a kill is passed over.
    """
    if not log.is_file():
        raise ValueError(f"there is no {log.name} in {log.parent}: name the folder of a run's state")
    curves: dict[str, dict[float, float]] = {}
    for record in _records(log):
        for name in record.keys() - set(NOT_CURVES):
            curves.setdefault(name, {})[record["step"]] = record[name]
    return {name: sorted(points.items()) for name, points in sorted(curves.items())}


def _records(log: Path) -> Iterator[dict[str, float]]:
    for line in log.read_text(encoding="utf-8").splitlines():
        try:
            yield json.loads(line)
        except ValueError:
            continue


def drawn(curve: Curve) -> str:
    """A curve as an SVG, its ends named; of one point, a dot."""
    steps, values = [step for step, _ in curve], [value for _, value in curve]
    low, high = min(values), max(values)
    across, up = (max(steps) - steps[0]) or 1, (high - low) or 1
    points = " ".join(
        f"{MARGIN + (step - steps[0]) / across * (WIDTH - 2 * MARGIN):.1f},"
        f"{HEIGHT - MARGIN / 2 - (value - low) / up * (HEIGHT - MARGIN):.1f}"
        for step, value in (curve if len(curve) > 1 else 2 * curve)
    )
    return (
        f'<svg viewBox="0 0 {WIDTH} {HEIGHT}" width="{WIDTH}" height="{HEIGHT}" role="img">'
        f'<polyline points="{points}"/><text x="2" y="{MARGIN / 2}">{high:.4g}</text>'
        f'<text x="2" y="{HEIGHT - MARGIN / 2}">{low:.4g}</text>'
        f'<text x="{MARGIN}" y="{HEIGHT - 4}">step {steps[0]:,.0f}</text>'
        f'<text x="{WIDTH - MARGIN}" y="{HEIGHT - 4}" text-anchor="end">{steps[-1]:,.0f}</text></svg>'
    )


def thinned(items: Sequence[Path], most: int) -> list[Path]:
    """At most `most` of them, evenly, the last one among them."""
    if len(items) <= most:
        return list(items)
    return [items[round((i + 1) * len(items) / most) - 1] for i in range(most)]


def write_report(state_dir: Path, path: Path, *, title: str) -> Path:
    """Write the page of the run in `state_dir`; returns its path."""
    curves = curves_of(state_dir / LOG_FILE)
    last = list(_records(state_dir / LOG_FILE))[-1:]
    previews = thinned(sorted(state_dir.glob("preview_*.png")), MOST_PREVIEWS)
    parts = [f"<h1>{html.escape(title)}</h1>"]
    parts += [f"<p>{record['images']:,.0f} pictures in {record['step']:,.0f} steps</p>" for record in last]
    parts += [
        f"<figure>{drawn(curve)}<figcaption>{_last_of(name, curve)}</figcaption></figure>"
        for name, curve in curves.items()
    ]
    parts += [_picture(preview) for preview in reversed(previews)]
    head = f'<!doctype html><html lang="en"><meta charset="utf-8"><title>{html.escape(title)}</title>'
    write(path, f"{head}<style>{STYLE}</style>{''.join(parts)}</html>".encode())
    return path


def _last_of(name: str, curve: Curve) -> str:
    return f"{html.escape(name)}: {curve[-1][1]:.4g}{UNITS.get(name, '')}"


def _picture(path: Path) -> str:
    data = base64.b64encode(path.read_bytes()).decode()
    step = int(path.stem.removeprefix("preview_"))
    return f'<figure><img alt="" src="data:image/png;base64,{data}"><figcaption>step {step:,}</figcaption></figure>'
