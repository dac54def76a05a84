"""In which languages does the pack speak? Its `locales/<language>/*.json`, gathered as the editor wants them (GET /i18n)."""

from __future__ import annotations

import asyncio
import json
from pathlib import Path

from aiohttp import web

from ._routes import answer, both
from .state import state_of

PARTS = ("nodeDefs", "commands", "settings")  # each a file and a key of its own; main.json holds all other keys


async def translations(request: web.Request) -> web.Response:
    return answer(await asyncio.to_thread(gather, state_of(request).pack / "locales"))


def gather(folder: Path) -> dict[str, dict]:
    """Language -> its texts, as ComfyUI gathers them; a file that is damaged counts as empty."""
    languages = {}
    for language in sorted(path for path in folder.glob("*/") if path.is_dir()):
        texts = _read(language / "main.json") | {part: _read(language / f"{part}.json") for part in PARTS}
        languages[language.name] = {key: value for key, value in texts.items() if value}
    return languages


def _read(path: Path) -> dict:
    try:
        found = json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError):
        return {}
    return found if isinstance(found, dict) else {}


ROUTES = both("GET", "/i18n", translations)
