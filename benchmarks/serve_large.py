"""How long do others wait while one client sends what is large, and what do the answers weigh?

    python benchmarks/serve_large.py

Starts `imagen serve` with the test pack in a folder of its own and prints a line a case: the time that the request took,
the longest that another client's GET /queue waited meanwhile, the status and the size of the answer.
"""

from __future__ import annotations

import asyncio
import json
import os
import re
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import aiohttp

ROOT = Path(__file__).resolve().parent.parent
PACK = ROOT / "tests" / "host" / "tiny_pack"
LARGE = 31 * 10**6  # bytes
SLOW = {"draw": {"class_type": "Picture", "inputs": {"seed": 0, "steps": 1000, "width": 8, "height": 8,
                                                      "seconds_per_step": 10.0}},
        "save": {"class_type": "SaveImage", "inputs": {"images": ["draw", 0], "filename_prefix": "x"}}}  # fmt: skip
SUM = {
    "n": {"class_type": "Number", "inputs": {"value": 1}},
    "s": {"class_type": "Show", "inputs": {"value": ["n", 0]}},
}


def bodies() -> dict[str, bytes]:
    """JSON of 31 MB, each of another shape."""

    def filled(part: str) -> bytes:
        return ('{"prompt": ' + json.dumps(SUM) + ', "extra_data": {"x": [' + part * (LARGE // len(part))).encode()[
            :-1
        ] + b"]}}"

    return {
        "numbers": filled("1,"),
        "empty lists": filled("[],"),
        "objects": filled('{"a":1},'),
        "floats": filled("1.5e3,"),
        "one text": filled('"' + "x" * (LARGE - 10) + '",'),
        "short texts": filled('"a b",'),
    }


def wrong_prompt() -> bytes:
    """Half a megabyte of nodes that fail, each needed by many outputs."""
    count = 2500
    prompt = {f"b{n}": {"class_type": "Add", "inputs": {"a": [f"b{n - 1}", 0] if n else "x"}} for n in range(count)}
    prompt |= {f"s{n}": {"class_type": "Show", "inputs": {"value": [f"b{count - 1}", 0]}} for n in range(count)}
    return json.dumps({"prompt": prompt}).encode()


async def timed(http: aiohttp.ClientSession, name: str, *requests) -> None:
    """Send the requests one after the other while another client asks for the queue; print what it cost."""
    longest, over = 0.0, asyncio.Event()

    async def watch() -> None:
        nonlocal longest
        async with aiohttp.ClientSession(http._base_url) as other:
            while not over.is_set():
                start = time.perf_counter()
                async with other.get("/prompt") as answer:
                    await answer.read()
                longest = max(longest, time.perf_counter() - start)
                await asyncio.sleep(0.005)

    watcher = asyncio.create_task(watch())
    await asyncio.sleep(0.1)
    start, size, status = time.perf_counter(), 0, 0
    for method, path, body, headers in requests:
        async with http.request(method, path, data=body, headers=headers) as answer:
            size, status = size + len(await answer.read()), answer.status
    seconds = time.perf_counter() - start
    over.set()
    await watcher
    print(f"{name:44} {seconds:7.2f} s   others waited {longest:6.2f} s   {status}   answer {size:,} bytes", flush=True)


def post(path: str, body) -> tuple:
    data = body if isinstance(body, bytes) else json.dumps(body).encode()
    return "POST", path, data, {"Content-Type": "application/json"}


def many_parts(count: int, body: bytes = b"") -> tuple:
    parts = b"".join(
        b'--x\r\nContent-Disposition: form-data; name="a%d"\r\n\r\n%s\r\n' % (n, body) for n in range(count)
    )
    return "POST", "/upload/image", parts + b"--x--\r\n", {"Content-Type": "multipart/form-data; boundary=x"}


async def cases(address: str) -> None:
    timeout = aiohttp.ClientTimeout(total=600)
    async with aiohttp.ClientSession(address, timeout=timeout) as http:
        for name, body in bodies().items():
            for path in ("/prompt", "/settings"):
                await timed(http, f"31 MB of {name} to {path}", post(path, body))
        await timed(http, "form of 16,000 empty parts", many_parts(16_000))
        await timed(http, "form of 200 parts of 4 kB", many_parts(200, b"y" * 4000))
        await timed(http, "0.5 MB of wrong nodes", post("/prompt", wrong_prompt()))
        await queues(http)


async def queues(http: aiohttp.ClientSession) -> None:
    """Fill the queue behind a job that runs, then empty it in several ways."""
    await timed(http, "a job that runs", post("/prompt", {"prompt": SLOW}))
    for way in ("one by one", "in one list", "one by one as jobs", "as jobs in one list"):
        ids = [f"{way} {n}" for n in range(5000)]
        await timed(http, "queue 5,000 jobs", *(post("/prompt", {"prompt": SUM, "prompt_id": name}) for name in ids))
        await timed(http, "  list them 20 times", *[("GET", "/queue", None, None), ("GET", "/jobs", None, None)] * 10)
        if way == "one by one":
            requests = [post("/queue", {"delete": [name]}) for name in ids]
        elif way == "in one list":
            requests = [post("/queue", {"delete": ids})]
        elif way == "one by one as jobs":
            requests = [post(f"/jobs/{name}/cancel", {}) for name in ids]
        else:
            requests = [post("/jobs/cancel", {"job_ids": ids})]
        await timed(http, f"  delete them {way}", *requests)
    await timed(http, "interrupt", post("/interrupt", {}))


def main() -> None:
    with tempfile.TemporaryDirectory() as folder:
        (Path(folder) / "editor").mkdir()
        (Path(folder) / "editor" / "index.html").write_text("<!doctype html>")
        command = [sys.executable, "-m", "imagen_host", "serve", "--no-open", "--port", "0", "--frontend", "editor"]
        environment = {**os.environ, "PYTHONPATH": str(ROOT), "IMAGEN_PACK": str(PACK), "OMP_NUM_THREADS": "1"}
        process = subprocess.Popen(command, cwd=folder, env=environment, stdout=subprocess.PIPE, text=True)
        try:
            address = next(found[0] for line in process.stdout if (found := re.search(r"http://\S+", line)))
            asyncio.run(cases(address))
        finally:
            process.kill()
            process.wait()


if __name__ == "__main__":
    main()
