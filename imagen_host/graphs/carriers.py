"""Which prompt and workflow does a picture carry? PNG has them as texts, WebP, JPEG and AVIF in their EXIF.

Nothing is decoded: a picture's pixels are not needed, and may be too many.
"""

from __future__ import annotations

import io
import warnings
import zlib
from collections.abc import Iterator

from .forms import WorkflowError

PNG = b"\x89PNG\r\n\x1a\n"
KEYS = ("prompt", "workflow")
LONGEST = 64 * 2**20  # bytes of one text, unpacked
EXIF_IFD = 0x8769
FORMATS = ("WEBP", "JPEG", "AVIF")


def is_picture(data: bytes) -> bool:
    return data.startswith((PNG[:4], b"\xff\xd8\xff")) or data[4:12] in (b"ftypavif", b"ftypavis") or _is_webp(data)


def _is_webp(data: bytes) -> bool:
    return data[:4] == b"RIFF" and data[8:12] == b"WEBP"


def texts_of(data: bytes, name: str) -> dict[str, str]:
    """The texts `prompt` and `workflow` of a picture. Raises WorkflowError for a damaged one, and for one without."""
    texts = _png_texts(data, name) if data.startswith(PNG[:4]) else _exif_texts(data, name)
    found = {key: text for key, text in texts.items() if key in KEYS}
    if not found:
        raise WorkflowError(
            f"{name} carries no workflow: use a picture that Save Image wrote and nothing re-saved since"
        )
    return found


def _png_texts(data: bytes, name: str) -> dict[str, str]:
    texts = {}
    for kind, body in _png_chunks(data, name):
        if kind in (b"tEXt", b"zTXt", b"iTXt"):
            key, _, rest = body.partition(b"\0")
            if key.decode("latin-1").lower() in KEYS:
                texts.setdefault(key.decode("latin-1").lower(), _png_text(kind, rest, name))
    return texts


def _png_chunks(data: bytes, name: str) -> Iterator[tuple[bytes, bytes]]:
    """Type and content of every chunk."""
    if not data.startswith(PNG):
        raise WorkflowError(f"{name} is a damaged PNG (its first bytes are wrong): use another copy of it")
    place = len(PNG)
    while place < len(data):
        length = int.from_bytes(data[place : place + 4], "big")
        kind, body = data[place + 4 : place + 8], data[place + 8 : place + 8 + length]
        if len(kind) < 4 or len(body) < length:
            raise WorkflowError(f"{name} is a damaged PNG (it ends too early): use another copy of it")
        yield kind, body
        if kind == b"IEND":
            return
        place += length + 12
    raise WorkflowError(f"{name} is a damaged PNG (it ends too early): use another copy of it")


def _png_text(kind: bytes, rest: bytes, name: str) -> str:
    if kind == b"tEXt":
        return _decoded(rest)
    if kind == b"zTXt":
        return _decoded(_unpacked(rest[1:], name))
    packed, rest = rest[:1] == b"\x01", rest[2:]
    text = rest.split(b"\0", 2)[-1]  # after a language and a translated key
    return _decoded(_unpacked(text, name) if packed else text)


def _unpacked(data: bytes, name: str) -> bytes:
    unpacker = zlib.decompressobj()
    try:
        text = unpacker.decompress(data, LONGEST)
    except zlib.error:
        raise WorkflowError(f"{name} is a damaged PNG (a packed text cannot be read): use another copy of it") from None
    if unpacker.unconsumed_tail:
        raise WorkflowError(f"{name} carries a text of more than {LONGEST >> 20} MiB: that is no workflow")
    return text


def _decoded(data: bytes) -> str:
    """A text in UTF-8, as the editor reads it, or in Latin-1, as the format says."""
    try:
        return data.decode("utf-8")
    except UnicodeDecodeError:
        return data.decode("latin-1")


def _exif_texts(data: bytes, name: str) -> dict[str, str]:
    """Texts of the form "workflow:{...}" in any tag, as ComfyUI writes them into Make and Model."""
    from PIL import Image

    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            with Image.open(io.BytesIO(data), formats=_readable()) as picture:
                exif = picture.getexif()
                values = [*exif.values(), *exif.get_ifd(EXIF_IFD).values()]
    except Exception:  # Pillow's readers raise whatever a broken file leads them to
        raise WorkflowError(
            f"{name} is a damaged picture (its header cannot be read): use another copy of it"
        ) from None
    texts: dict[str, str] = {}
    for value in values:
        key, colon, text = _exif_text(value).partition(":")
        if colon and key.strip().lower() in KEYS:
            texts.setdefault(key.strip().lower(), text.rstrip("\0"))
    return texts


def _readable() -> list[str]:
    """Those of the formats that this Pillow was built with."""
    from PIL import Image

    Image.init()
    return [form for form in FORMATS if form in Image.OPEN]


def _exif_text(value: object) -> str:
    """A tag's value as text; a comment says its encoding in the first eight bytes."""
    if isinstance(value, str):
        try:
            return value.encode("latin-1").decode("utf-8")  # Pillow reads a tag's bytes as Latin-1
        except ValueError:
            return value
    if not isinstance(value, bytes):
        return ""
    head, rest = value[:8], value[8:]
    if head == b"UNICODE\0":
        even = rest[: len(rest) // 2 * 2]
        guess = "utf-16-le" if even[1:2] == b"\0" else "utf-16-be"
        return even.decode(guess, "replace")
    return _decoded(rest if head == b"ASCII\0\0\0" else value)
