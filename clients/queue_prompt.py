"""How does a program use the server? Queue a workflow, follow it on the websocket, fetch its pictures.

Start a server (`imagen serve`, or a ComfyUI that has this pack), then:

    python clients/queue_prompt.py "a 3D emoji of a panda on a blue background"

Needs aiohttp only. The same routes are ComfyUI's, so this runs against either.
"""

from __future__ import annotations

import argparse
import asyncio
import json
import sys
import uuid
from pathlib import Path

import aiohttp

WORKFLOW = Path(__file__).resolve().parent.parent / "workflows" / "api" / "text_to_image_1024.json"


async def main(options: argparse.Namespace) -> int:
    prompt = json.loads(options.workflow.read_text(encoding="utf-8"))
    for node in prompt.values():
        if node["class_type"] == "ImagenTextEncode" and options.text:
            node["inputs"]["text"] = options.text
        if "seed" in node["inputs"] and options.seed is not None:
            node["inputs"]["seed"] = options.seed
    client_id = uuid.uuid4().hex
    async with aiohttp.ClientSession(options.server) as http:
        # Listen first: a prompt whose results are cached is over before a later listener would hear of it.
        async with http.ws_connect(f"/ws?clientId={client_id}", max_msg_size=0) as socket:
            prompt_id = await queue(http, prompt, client_id)
            images = await follow(socket, prompt, prompt_id)
        for image in images:
            path = options.out / Path(image["filename"]).name
            async with http.get("/view", params=image) as answer:
                answer.raise_for_status()
                path.parent.mkdir(parents=True, exist_ok=True)
                part = path.with_suffix(".part")
                part.write_bytes(await answer.read())
                part.replace(path)
            print(path)
    return 0


async def queue(http: aiohttp.ClientSession, prompt: dict, client_id: str) -> str:
    """Queue a prompt; returns its id. Ends the program when the server refuses it, with the server's reasons."""
    async with http.post("/prompt", json={"prompt": prompt, "client_id": client_id}) as answer:
        body = await answer.json()
    if answer.status != 200:
        nodes = body.get("node_errors", {}).values()
        reasons = [error for node in nodes for error in node["errors"]] or [body["error"]]
        sys.exit(
            "\n".join(
                reason if isinstance(reason, str) else "{message}: {details}".format(**reason) for reason in reasons
            )
        )
    return body["prompt_id"]


async def follow(socket: aiohttp.ClientWebSocketResponse, prompt: dict, prompt_id: str) -> list[dict]:
    """Show the progress of a prompt until it is over; returns the pictures that it saved."""
    images = []
    async for message in socket:
        if message.type != aiohttp.WSMsgType.TEXT:
            continue  # a preview: 4 bytes kind, 4 bytes format, then a JPEG
        event = json.loads(message.data)
        kind, data = event["type"], event["data"]
        if data.get("prompt_id") != prompt_id:
            continue
        if kind == "progress":
            title = prompt[data["node"]].get("_meta", {}).get("title", data["node"])
            print(f"\r{title}: step {data['value']} of {data['max']} ", end="", file=sys.stderr, flush=True)
        elif kind == "executed":
            images += [image for image in (data["output"] or {}).get("images", []) if image["type"] == "output"]
        elif kind in ("execution_error", "execution_interrupted"):
            sys.exit(f"\nnode {data['node_id']} ({data['node_type']}): {data.get('exception_message', 'interrupted')}")
        elif kind == "executing" and data["node"] is None:
            print(file=sys.stderr)
            return images
    sys.exit("\nthe server closed the connection")


def own_path(text: str) -> Path:
    """A path with `~` spelled out, as a shell does not where it follows a `=`."""
    return Path(text).expanduser()


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description="Queue a workflow on a server, follow it, fetch its pictures.")
    parser.add_argument("text", nargs="?", help="what to draw (default: what the workflow says)")
    parser.add_argument("--seed", type=int)
    parser.add_argument("--server", default="http://127.0.0.1:8188")
    parser.add_argument(
        "--workflow", type=own_path, default=WORKFLOW, help="an API prompt (default: text_to_image_1024)"
    )
    parser.add_argument("--out", type=own_path, default=Path("."), help="where the pictures go")
    sys.exit(asyncio.run(main(parser.parse_args())))
