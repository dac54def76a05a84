"""How does an editor come and go on its websocket (/ws?clientId=)?"""

from __future__ import annotations

import asyncio

from aiohttp import WSMsgType, web

from ._routes import both
from .clients import Client, text_message
from .state import ServerState, state_of

LARGEST_MESSAGE = 64 * 2**10  # bytes of what a client may send: it only tells what it supports


async def connect(request: web.Request) -> web.StreamResponse:
    """Stay with one client for as long as it is there."""
    state = state_of(request)
    socket = web.WebSocketResponse(heartbeat=30.0, timeout=0.5, max_msg_size=LARGEST_MESSAGE, compress=False)
    await socket.prepare(request)
    client = Client(socket, request)
    greet(client, state)
    state.clients.open.append(client)
    delivery = asyncio.create_task(client.deliver())
    try:
        async for message in socket:
            if message.type == WSMsgType.TEXT:
                client.hear(message.data, state.max_upload_size)
    finally:
        state.clients.open.remove(client)
        delivery.cancel()
    return socket


def greet(client: Client, state: ServerState) -> None:
    """Tell a client who it is, how long the queue is, and which node of its prompt runs."""
    client.post("status", text_message("status", {**state.queue.status(), "sid": client.sid}))
    current = state.queue.executing(client.sid)
    if current is not None:  # the page was loaded anew in the middle of its prompt
        client.post("executing", text_message("executing", current))


ROUTES = both("GET", "/ws", connect)
