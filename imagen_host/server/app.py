"""Which parts make up the server, and how does it start and stop?"""

from __future__ import annotations

import asyncio
import contextlib
import signal
import socket
from collections.abc import AsyncIterator, Callable

from aiohttp import web

from .. import runtime
from . import (
    blueprints,
    errors,
    files,
    frontend,
    history,
    info,
    jobs,
    locales,
    prompts,
    security,
    settings,
    userdata,
    websocket,
)
from .state import STATE, ServerState

PARTS = (websocket, prompts, history, jobs, info, locales, blueprints, files, settings, userdata, frontend)
CLOSING = 0.2  # seconds that open requests get when the server ends, and again when they are cancelled


def create_app(state: ServerState) -> web.Application:
    """The whole server as an aiohttp application."""
    state.host.preview = True
    app = web.Application(client_max_size=state.max_body_size, middlewares=security.middlewares(state))
    app[STATE] = state
    errors.cover(app)
    for part in PARTS:
        app.add_routes(part.ROUTES)
    app.cleanup_ctx.append(running)
    app.on_shutdown.append(stop)
    return app


async def running(app: web.Application) -> AsyncIterator[None]:
    state = app[STATE]
    state.clients.loop = asyncio.get_running_loop()
    with runtime.use(state.host):
        state.queue.worker.start()
        yield
    state.checker.shutdown(wait=False, cancel_futures=True)


async def stop(app: web.Application) -> None:
    state = app[STATE]
    await asyncio.gather(asyncio.to_thread(state.queue.close), state.clients.close())


def listen(host: str, port: int) -> socket.socket:
    """The socket to serve on. Raises ValueError when the address is taken or is none of this machine's."""
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    try:
        return socket.create_server((host, port), family=family)
    except (OSError, OverflowError) as error:
        reason = getattr(error, "strerror", None) or error
        raise ValueError(f"cannot listen on {host}:{port} ({reason}): choose with --host and --port") from error


def ending_signals() -> list[int]:
    """What ends the server in order; SIGHUP not under nohup."""
    numbers = [getattr(signal, name) for name in ("SIGINT", "SIGTERM", "SIGHUP") if hasattr(signal, name)]
    return [number for number in numbers if signal.getsignal(number) != signal.SIG_IGN or number == signal.SIGINT]


async def serve(app: web.Application, listener: socket.socket, ready: Callable[[str], None]) -> None:
    """Answer requests until SIGINT, SIGTERM or SIGHUP; `ready` is given the address."""
    runner = web.AppRunner(app, access_log=None, shutdown_timeout=CLOSING)
    await runner.setup()
    try:
        await web.SockSite(runner, listener).start()
        stopped = asyncio.Event()
        for number in ending_signals():
            with contextlib.suppress(NotImplementedError):  # Windows: Ctrl-C ends asyncio.run by itself
                asyncio.get_running_loop().add_signal_handler(number, stopped.set)
        name, port = listener.getsockname()[:2]
        ready(f"http://[{name}]:{port}" if ":" in name else f"http://{name}:{port}")
        await stopped.wait()
    finally:
        await runner.cleanup()
