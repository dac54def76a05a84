"""A small server that speaks the Hugging Face hub's protocol for one model: listing, files in parts, the licence gate."""

from __future__ import annotations

import hashlib
import json
import re
import threading
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

COMMIT = "0123456789abcdef0123456789abcdef01234567"


class Hub:
    """Serves `files` (bytes by name) as the model owner/name. gate: None, "gated" or "private". cut: bytes after which
    the next answer breaks off, once. refused: a file that is not given out."""

    def __init__(self, files: dict[str, bytes], *, gate: str | None = None) -> None:
        self.files, self.gate, self.cut = files, gate, None
        self.refused: str | None = None
        self.requests: list[tuple[str, str, str | None]] = []  # method, path, Range
        hub = self

        class Handler(BaseHTTPRequestHandler):
            protocol_version = "HTTP/1.1"

            def do_GET(self):
                hub.answer(self)

            do_HEAD = do_GET

            def log_message(self, *arguments):
                pass

        self.server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self.url = f"http://127.0.0.1:{self.server.server_port}"

    def __enter__(self) -> Hub:
        threading.Thread(target=self.server.serve_forever, daemon=True).start()
        return self

    def __exit__(self, *error) -> None:
        self.server.shutdown()
        self.server.server_close()

    def fetched(self) -> list[str]:
        """The files whose content was asked for."""
        return sorted({path.partition(f"/{COMMIT}/")[2] for method, path, _ in self.requests if "/resolve/" in path})

    def answer(self, request: BaseHTTPRequestHandler) -> None:
        path = request.path.partition("?")[0]
        self.requests.append((request.command, path, request.headers.get("Range")))
        if self.gate == "gated" and ("/resolve/" in path or "/tree/" in path):
            return send(request, 403, {"X-Error-Code": "GatedRepo", "X-Error-Message": "Access is restricted"})
        if self.gate == "private":
            return send(request, 401, {"X-Error-Code": "RepoNotFound", "X-Error-Message": "Repository not found"})
        if re.fullmatch(r"/api/models/owner/name(/revision/\w+)?", path):
            if path.endswith("/revision/nowhere"):
                return send(request, 404, {"X-Error-Code": "RevisionNotFound"})
            siblings = [{"rfilename": name, "size": len(content)} for name, content in self.files.items()]
            return send_json(request, {"id": "owner/name", "sha": COMMIT, "siblings": siblings})
        if path.startswith("/api/models/owner/name/tree/"):
            return send_json(request, [self.entry(name) for name in self.files])
        found = re.fullmatch(rf"/owner/name/resolve/{COMMIT}/(.+)", path)
        if found and found[1] == self.refused:
            return send(request, 403, {"X-Error-Message": "not now"})
        if found and found[1] in self.files:
            return self.send_file(request, self.files[found[1]])
        return send(request, 404, {"X-Error-Code": "EntryNotFound"})

    def entry(self, name: str) -> dict:
        content = self.files[name]
        return {"type": "file", "path": name, "size": len(content), "oid": hashlib.sha1(content).hexdigest()}

    def send_file(self, request: BaseHTTPRequestHandler, content: bytes) -> None:
        wanted = re.match(r"bytes=(\d+)-", request.headers.get("Range") or "")
        start = int(wanted[1]) if wanted else 0
        headers = {"ETag": f'"{hashlib.sha1(content).hexdigest()}"', "X-Repo-Commit": COMMIT, "Accept-Ranges": "bytes"}
        if wanted:
            headers["Content-Range"] = f"bytes {start}-{len(content) - 1}/{len(content)}"
        send(request, 206 if wanted else 200, headers, content[start:], cut=self.cut)
        if request.command == "GET" and self.cut is not None and len(content) - start > self.cut:
            self.cut = None
            request.close_connection = True
            request.connection.close()


def send_json(request: BaseHTTPRequestHandler, value: object) -> None:
    send(request, 200, {"Content-Type": "application/json"}, json.dumps(value).encode())


def send(
    request: BaseHTTPRequestHandler, status: int, headers: dict, body: bytes = b"", cut: int | None = None
) -> None:
    request.send_response(status)
    for name, value in {**headers, "Content-Length": str(len(body))}.items():
        request.send_header(name, value)
    request.end_headers()
    if request.command != "HEAD":
        request.wfile.write(body[:cut])
        request.wfile.flush()
