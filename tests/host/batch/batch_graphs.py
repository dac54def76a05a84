"""The graph that the tests of batches draw, a plan of its jobs, and a server that draws them."""

import asyncio
import contextlib
import threading
from pathlib import Path

from aiohttp import web
from host_graphs import PACK, entry

from imagen_host.batch.plan import Plan
from imagen_host.batch.rows import read_rows
from imagen_host.graphs import file_names
from imagen_host.graphs.reading import Loaded
from imagen_host.server.app import create_app
from imagen_host.server.state import ServerState


def graph(**picture):
    inputs = {"seed": 1, "steps": 1, "width": 6, "height": 4, "seconds_per_step": 0.0, "text": ["1", 0], **picture}
    return {
        "1": entry("ImagenTextEncode", title="Prompt", text="a cube", negative_text=""),
        "2": entry("Picture", title="Base", **inputs),
        "3": entry("SaveImage", images=["2", 0], filename_prefix="a"),
        "4": entry("Fussy", word="please", number=3),
        "5": entry("Quiet", value=["4", 0]),
    }


def plan_of(registry, prompt=None, **more):
    classes, prompt = registry.node_classes(), prompt or graph()
    return Plan(Loaded(prompt=prompt, names=file_names.of_prompt(prompt, classes)), classes, **more)


def jobs_of(registry, text, file="jobs.csv", prompt=None, **options):
    Path(file).write_text(text)
    return plan_of(registry, prompt).jobs(read_rows(Path(file)), Path(file), **options)


@contextlib.contextmanager
def serving(registry, host, folder):
    """A server of the embedded host in a thread of its own; gives its address and its state."""
    (folder / "index.html").write_text("<!doctype html>")
    state = ServerState(registry=registry, host=host, pack=PACK, user_directory=folder / "user", frontend=folder)
    loop = asyncio.new_event_loop()
    runner = web.AppRunner(create_app(state), shutdown_timeout=0.2)

    async def start():
        await runner.setup()
        site = web.TCPSite(runner, "127.0.0.1", 0)
        await site.start()
        return f"http://127.0.0.1:{site._server.sockets[0].getsockname()[1]}"

    thread = threading.Thread(target=loop.run_forever)
    thread.start()
    try:
        yield asyncio.run_coroutine_threadsafe(start(), loop).result(60), state
    finally:
        asyncio.run_coroutine_threadsafe(runner.cleanup(), loop).result(60)
        loop.call_soon_threadsafe(loop.stop)
        thread.join()
        loop.close()
