"""How is an upload's form read? The picture into a file, its few fields into memory, and never too much of either."""

from __future__ import annotations

import io
from typing import IO, Any

from aiohttp import BodyPartReader, MultipartReader, web
from aiohttp.http_exceptions import HttpProcessingError

from ._routes import refuse, refuse_too_large
from .state import MEBIBYTE

LARGEST_FIELD = 4096  # bytes of a form's other fields
BESIDES = MEBIBYTE  # bytes that a form may have besides its picture
MOST_PARTS = 20
MOST_LINES = 1000  # of boundaries and headers, which are read one by one
IN_PARTS = 2**18  # bytes
BROKEN = (ValueError, AssertionError, KeyError, RuntimeError, HttpProcessingError)  # what aiohttp's reader raises


async def receive(request: web.Request, file: IO[bytes], largest: int) -> dict[str, str]:
    """Read a form: its part `image`, at most `largest` bytes, into `file`; the other fields are the result.

    So is the picture's name, as `filename`. Answers 400 to what is no such form and 413 beyond a limit, which holds for
    the request, however many parts it has.
    """
    if (request.content_length or 0) > largest + BESIDES:
        raise web.HTTPRequestEntityTooLarge(largest, request.content_length)
    form: dict[str, str] = {}
    try:
        reader = MultipartReader(request.headers, _Measured(request.content, largest + BESIDES))
        count = 0
        while (part := await reader.next()) is not None:
            count += 1
            if count > MOST_PARTS:
                raise refuse_too_large(
                    f"the form has more than {MOST_PARTS} parts: send the picture and its few fields"
                )
            await _read_part(part, form, file, largest)
    except BROKEN as error:
        raise refuse(f"no multipart form with an image: {error}") from error
    if "filename" not in form:
        raise refuse("the form has no part 'image'")
    return form


async def _read_part(part: Any, form: dict[str, str], file: IO[bytes], largest: int) -> None:
    if not isinstance(part, BodyPartReader):
        raise ValueError("a form inside the form")
    if part.name == "image":
        if "filename" in form:
            raise ValueError("two parts 'image'")
        form["filename"] = part.filename or ""
        await _copy(part, file, largest)
        return
    field = io.BytesIO()
    await _copy(part, field, LARGEST_FIELD)
    if part.name is not None:
        form.setdefault(part.name, field.getvalue().decode())


async def _copy(part: BodyPartReader, file: IO[bytes], limit: int) -> None:
    size = 0
    while chunk := await part.read_chunk(IN_PARTS):
        size += len(chunk)
        if size > limit:
            raise web.HTTPRequestEntityTooLarge(limit, size)
        file.write(chunk)


class _Measured:
    """The bytes of a request as aiohttp's reader of forms takes them, up to a limit for all of them together."""

    def __init__(self, content: Any, most: int) -> None:
        self.content, self.most, self.left, self.lines = content, most, most, 0

    def __getattr__(self, name: str) -> Any:
        return getattr(self.content, name)

    async def read(self, *arguments: Any) -> bytes:
        return self._counted(await self.content.read(*arguments))

    async def readline(self, *arguments: Any, **more: Any) -> bytes:
        self.lines += 1
        if self.lines > MOST_LINES:
            raise refuse_too_large(f"the form has more than {MOST_LINES} lines of headers")
        return self._counted(await self.content.readline(*arguments, **more))

    def unread_data(self, data: bytes) -> None:
        self.left += len(data)
        self.content.unread_data(data)

    def _counted(self, data: bytes) -> bytes:
        self.left -= len(data)
        if self.left < 0:
            raise web.HTTPRequestEntityTooLarge(self.most, self.most - self.left)
        return data
