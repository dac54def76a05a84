"""Whose drawings and words is imagen-mini made of? The page that ships beside the weights."""

from __future__ import annotations

from .sources import LARGE_3D, NAMES, PICTURES, TEXT, Package

INTRODUCTION = """# What imagen-mini was made of

Drawings of named things, each set under an open licence, recoloured and composed into scenes by this repository
(`imagen data stickers` fetches exactly these versions and checks their hashes). The weights learned from these
drawings and can draw what comes close to one of them: such a picture stands under the drawing's own licence, and
its artist is to be credited as named here. The pictures in input/ are composed of the 3D set (`workflows/examples.py`).
"""


def credits_page() -> str:
    """Markdown: a table of packages, with licence and credit."""
    parts = (("Drawings", (*PICTURES, LARGE_3D)), ("Names and keywords", NAMES), ("Text encoder", TEXT))
    return "\n".join([INTRODUCTION, *(_table(title, packages) for title, packages in parts)])


def _table(title: str, packages: tuple[Package, ...]) -> str:
    rows = [f"| {p.name} | {p.version} | {p.licence} | {p.credit} | {p.home} |" for p in packages]
    return "\n".join(
        [f"## {title}", "", "| package | version | licence | by | home |", "| --- | --- | --- | --- | --- |", *rows, ""]
    )
