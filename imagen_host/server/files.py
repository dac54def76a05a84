"""How are pictures shown to the browser (/view) and received from it (/upload/image, /upload/mask)?"""

from __future__ import annotations

import asyncio
import filecmp
import io
import json
import os
import shutil
import tempfile
from pathlib import Path
from typing import IO

from aiohttp import web
from PIL import Image

from .. import runtime, whole_files
from ..pictures import pictures
from ._routes import answer, answer_file, both, refuse
from .forms import receive
from .security import LONGEST_NAME, inside, served_type
from .state import state_of
from .userdata import is_true

PREVIEW_FORMATS = {"webp": "WEBP", "jpeg": "JPEG", "jpg": "JPEG"}


async def view(request: web.Request) -> web.StreamResponse:
    path = _find(state_of(request).host, request.query)
    if path is None:
        raise refuse("no such picture", web.HTTPNotFound)
    headers = {"Cache-Control": "no-cache", "Content-Type": served_type(path)}
    headers["Content-Disposition"] = f'filename="{ascii_name(path.name)}"'
    channel, preview = request.query.get("channel", "rgba"), request.query.get("preview")
    if channel not in ("rgb", "a") and not preview:
        return await answer_file(request, path, headers)
    try:
        kind, data = await asyncio.to_thread(convert, path, channel, preview)
    except (OSError, ValueError) as error:
        raise refuse(f"{path.name} cannot be converted: {error}") from error
    return web.Response(body=data, headers={**headers, "Content-Type": kind})


async def upload_image(request: web.Request) -> web.Response:
    state = state_of(request)
    with tempfile.TemporaryFile() as received:
        form = await receive(request, received, state.max_upload_size)
        folder = _folder(state.host, form)
        return answer(await asyncio.to_thread(keep, received, folder, form))


async def upload_mask(request: web.Request) -> web.Response:
    state = state_of(request)
    with tempfile.TemporaryFile() as received, tempfile.TemporaryFile() as masked:
        form = await receive(request, received, state.max_upload_size)
        original = _original(state.host, form)
        try:
            await asyncio.to_thread(put_mask, original, received, masked)
        except (OSError, ValueError) as error:
            raise refuse(f"the mask cannot be applied: {error}") from error
        form["filename"] = str(Path(form["filename"]).with_suffix(".png"))
        return answer(await asyncio.to_thread(keep, masked, _folder(state.host, form), form))


def _roots(host: runtime.Runtime, kind: str) -> list[Path]:
    """The folders behind input, output or temp; the first is the one written to. Answers 400."""
    roots = {"input": host.input_directories, "output": [host.output_directory], "temp": [host.temp_directory]}
    if kind not in roots:
        raise refuse(f"type {kind!r:.40} is none of input, output, temp")
    return [Path(root) for root in roots[kind]]


def _find(host: runtime.Runtime, query) -> Path | None:
    """The file that filename, subfolder and type name, or None. Answers 400 for a name that leads out."""
    name, subfolder, kind = query.get("filename", ""), query.get("subfolder", ""), query.get("type", "output")
    for ending in ("input", "output", "temp"):  # a name as LoadImage holds it: "x.png [output]"
        if name.endswith(f" [{ending}]"):
            name, kind = name.removesuffix(f" [{ending}]"), ending
    if not name:
        raise refuse("no filename given")
    paths = [inside(root, "/".join(part for part in (subfolder, name) if part)) for root in _roots(host, kind)]
    return next((path for path in paths if path.is_file()), None)


def _folder(host: runtime.Runtime, form: dict[str, str]) -> Path:
    """Where an upload goes; its name and subfolder are checked before anything is written."""
    root = _roots(host, form.get("type") or "input")[0]
    name = form.get("filename", "")
    if not name or "/" in name or name.startswith(".") or len(os.fsencode(name)) > LONGEST_NAME:
        raise refuse("an upload needs a plain file name")
    if Path(name).suffix.lower() not in pictures.SUFFIXES:
        raise refuse(f"only pictures can be uploaded: {', '.join(sorted(pictures.SUFFIXES))}")
    inside(root, name)
    return inside(root, form.get("subfolder", "").strip("/"))


def _original(host: runtime.Runtime, form: dict[str, str]) -> Path:
    """The picture that a mask belongs to, from the form's field original_ref."""
    try:
        reference = json.loads(form["original_ref"])
        path = _find(host, {key: str(value) for key, value in reference.items()})
    except (KeyError, ValueError, AttributeError):
        raise refuse("original_ref does not name the picture that the mask belongs to") from None
    if path is None:
        raise refuse("the picture that the mask belongs to is not there")
    return path


def keep(received: IO[bytes], folder: Path, form: dict[str, str]) -> dict[str, str]:
    """Store an upload; an equal file is used again, and one of the same name but other bytes is numbered.

    With the field overwrite it is replaced instead. Answers 400 when the bytes are no picture.
    """
    folder.mkdir(parents=True, exist_ok=True)
    name = form["filename"]
    with whole_files.drafts(folder) as drafts:
        draft = drafts / "upload"
        with open(draft, "xb") as file:
            received.seek(0)
            shutil.copyfileobj(received, file)
        try:
            pictures.check(draft, repr(name)[:100])
        except ValueError as error:
            raise refuse(str(error)) from None
        if is_true(form.get("overwrite", "")):
            whole_files.replace(draft, inside(folder, name))
        else:
            name = _name_new(draft, folder, Path(name))
    return {"name": name, "subfolder": form.get("subfolder", "").strip("/"), "type": form.get("type") or "input"}


def _name_new(draft: Path, folder: Path, name: Path) -> str:
    number, chosen = 0, name.name
    while os.path.lexists(folder / chosen) or not whole_files.claim(draft, folder / chosen):
        taken = folder / chosen
        if taken.is_file() and not taken.is_symlink() and filecmp.cmp(draft, taken, shallow=False):
            break
        number += 1
        chosen = f"{name.stem} ({number}){name.suffix}"
    return chosen


def convert(path: Path, channel: str, preview: str | None) -> tuple[str, bytes]:
    """Content type and bytes of a picture's colours or alpha, as PNG or, with `preview` "webp;90", smaller."""
    form, _, quality = (preview or "").partition(";")
    chosen = PREVIEW_FORMATS.get(form, "WEBP") if preview else "PNG"
    options = {"quality": max(1, min(100, int(quality))) if quality.isdigit() else 90} if preview else {}
    picture = pictures.shown(path, path.name)
    if channel == "a":
        alpha = picture.convert("RGBA").getchannel("A")
        picture = Image.merge("RGBA", [Image.new("L", picture.size)] * 3 + [alpha])
    elif channel == "rgb" or chosen == "JPEG":
        picture = picture.convert("RGB")
    out = io.BytesIO()
    picture.save(out, format=chosen, **options)
    return f"image/{chosen.lower()}", out.getvalue()


def put_mask(original: Path, mask: IO[bytes], result: IO[bytes]) -> None:
    """Write `original` as PNG with the alpha channel of the picture `mask`, which must be of its size."""
    picture = pictures.shown(original, original.name).convert("RGB")
    alpha = pictures.shown(mask, "the mask").convert("RGBA").getchannel("A")
    if alpha.size != picture.size:
        raise ValueError(f"the mask is {alpha.size[0]}x{alpha.size[1]}, not {picture.size[0]}x{picture.size[1]}")
    picture.putalpha(alpha)
    picture.save(result, format="PNG")


def ascii_name(name: str) -> str:
    """A file name as a header may hold it."""
    return "".join(
        letter if letter.isascii() and letter.isprintable() and letter not in '"\\' else "_" for letter in name
    )


ROUTES = [
    *both("GET", "/view", view),
    *both("POST", "/upload/image", upload_image),
    *both("POST", "/upload/mask", upload_mask),
]
