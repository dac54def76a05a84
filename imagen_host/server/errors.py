"""What does a request that fails get? JSON with a status that fits; what a client did is worth no traceback in the log."""

from __future__ import annotations

import errno
import logging
import zlib
from collections.abc import Awaitable, Callable

from aiohttp import web
from aiohttp.http_exceptions import HttpProcessingError
from aiohttp.web_protocol import RequestHandler

from ..json_text import as_text
from ._routes import JSON, answer

Handler = Callable[[web.Request], Awaitable[web.StreamResponse]]
log = logging.getLogger(__name__)

# What the system may say to a request that was well meant, as a status and what to do.
SYSTEM = {
    errno.ENOSPC: (507, "the disk is full: free some room"),
    errno.EDQUOT: (507, "the disk's quota is used up: free some room"),
    errno.EFBIG: (507, "the file is larger than this disk takes"),
    errno.EROFS: (403, "the folder is on a disk that is read-only"),
    errno.EACCES: (403, "this server may not use that file or folder"),
    errno.EPERM: (403, "this server may not use that file or folder"),
    errno.ENAMETOOLONG: (400, "the name is too long: use a shorter one"),
    errno.EILSEQ: (400, "this disk takes no such name: use plainer letters"),
    errno.EINVAL: (400, "this disk takes no such name: use plainer letters"),
    errno.ELOOP: (400, "links that lead in a circle"),
    errno.EISDIR: (400, "a folder is in the place of the file"),
    errno.ENOTDIR: (400, "a file is in the place of a folder"),
    errno.EEXIST: (409, "a file of that name exists"),
    errno.ENOTEMPTY: (409, "the folder is not empty"),
    errno.ENOENT: (404, "no such file or folder"),
    errno.EMFILE: (503, "too many files are open: try again"),
    errno.ENFILE: (503, "too many files are open: try again"),
    errno.ENOMEM: (503, "there is too little memory: try again"),
    errno.EAGAIN: (503, "another process uses the file: try again"),
    errno.EBUSY: (503, "another process uses the file: try again"),
}
# Bytes that are not what the request says they are: damaged compression, text that is no UTF-8, endless nesting.
MALFORMED = (UnicodeError, RecursionError, zlib.error, HttpProcessingError, web.RequestPayloadError)


@web.middleware
async def errors_are_json(request: web.Request, handler: Handler) -> web.StreamResponse:
    """The outermost layer: whatever a route raises leaves as `{"error": text}`."""
    try:
        return await handler(request)
    except web.HTTPException as error:
        return _as_json(request, error)
    except ConnectionError:  # the client went away
        raise
    except MALFORMED as error:
        response = failed(400, f"the request is damaged: {_line(error)}")
        response.force_close()  # what follows on this connection cannot be told from the rest of the body
        return response
    except OSError as error:
        return _of_system(request, error)
    except MemoryError:
        return failed(*SYSTEM[errno.ENOMEM])
    except Exception:  # our own fault
        log.exception("%s %.200r failed", request.method, request.path)
        return failed(500, "this server made a mistake: its log says which")


def failed(status: int, message: str, headers: dict[str, str] | None = None) -> web.Response:
    """The answer to a request that failed."""
    return answer({"error": message}, status=status, headers=headers)


class _Protocol(RequestHandler):
    """aiohttp's side of a connection, for what fails before there is a request that a middleware could see."""

    __slots__ = ()

    def handle_error(self, request, status=500, exc=None, message=None):
        response = super().handle_error(request, status, exc, message)
        reason = " ".join((message or "").split())[:200] or response.reason
        response.text, response.content_type = as_text({"error": f"no request that can be read: {reason}"}), JSON
        return response


class _Server(web.Server):
    def __call__(self) -> RequestHandler:
        protocol = super().__call__()
        protocol.__class__ = _Protocol
        return protocol


def cover(app: web.Application) -> None:
    """What is no HTTP gets JSON too, and one line in the log instead of aiohttp's traceback."""
    make = app._make_handler

    def make_ours(**settings) -> web.Server:
        server = make(**settings)
        server.__class__ = _Server
        return server

    app.on_response_prepare.append(_past_the_middleware)
    app._make_handler = make_ours  # the one seam: both of aiohttp's runners call it
    logging.getLogger("aiohttp.server").addFilter(_one_line)


async def _past_the_middleware(request: web.Request, response: web.StreamResponse) -> None:
    """aiohttp itself refuses an Expect that it cannot meet, before any middleware, in plain text."""
    if isinstance(response, web.HTTPException) and response.status >= 400 and response.content_type != JSON:
        response.text, response.content_type = _as_json(request, response).text, JSON
        response.headers["Content-Length"] = str(len(response.body))


def _one_line(record: logging.LogRecord) -> bool:
    error = record.exc_info[1] if isinstance(record.exc_info, tuple) else None
    if isinstance(error, (*MALFORMED, OSError)):
        record.msg, record.args = "a request was refused: %s", (_line(error),)
        record.exc_info = record.exc_text = None
        record.levelno, record.levelname = logging.WARNING, "WARNING"
    return True


def _as_json(request: web.Request, error: web.HTTPException) -> web.Response:
    """An exception of aiohttp's, or of `refuse`, as an answer."""
    if error.status < 400:
        raise error
    kept = {name: error.headers[name] for name in ("Allow", "Content-Range") if name in error.headers}
    if error.content_type == "application/json":
        return web.Response(text=error.text, status=error.status, headers=kept, content_type="application/json")
    messages = {404: "nothing is at this path", 405: f"{request.method:.20} is not answered at this path"}
    text = " ".join((error.text or error.reason).split()).rstrip(".")
    return failed(error.status, messages.get(error.status, text), kept)


def _of_system(request: web.Request, error: OSError) -> web.Response:
    status, message = SYSTEM.get(error.errno, (500, f"the system refused: {_line(error)}"))
    if status >= 500:
        log.warning("%s %.200r: %s", request.method, request.path, _line(error))
    return failed(status, message)


def _line(error: BaseException) -> str:
    """What an exception says, short and on one line."""
    return " ".join(str(error).split())[:200] or type(error).__name__
