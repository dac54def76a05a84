"""Does `imagen serve` describe nodes and jobs as the real ComfyUI does? As today's: an older one knows less of both."""

import json
import time
import urllib.request

import pytest
from real_server import ROOT

SHARED = ("LoadImage", "SaveImage", "PreviewImage")
TODAY = (0, 33)


def read(url, body=None):
    data = None if body is None else json.dumps(body).encode()
    request = urllib.request.Request(url, data, {"Content-Type": "application/json"})
    with urllib.request.urlopen(request, timeout=120) as answer:
        return json.load(answer)


def described(url, name):
    """A node's description without what each host words or lists itself: help, and the files that are there."""
    node = read(f"{url}/object_info/{name}")[name]
    told = {key: node[key] for key in ("input_order", "output", "output_is_list", "output_name", "output_node")}
    inputs = {part: {key: kind(spec) for key, spec in some.items()} for part, some in node["input"].items()}
    return told | {"inputs": inputs}, node.keys()


def kind(spec):
    return (
        "COMBO" if isinstance(spec, list) and isinstance(spec[0], list) else spec[0] if isinstance(spec, list) else spec
    )


def our_nodes():
    graphs = [json.loads(path.read_text(encoding="utf-8")) for path in (ROOT / "workflows" / "api").glob("*.json")]
    return sorted({node["class_type"] for graph in graphs for node in graph.values()} - set(SHARED))


def test_our_nodes_are_described_alike(server, ours):
    known = read(f"{ours}/object_info").keys()
    compared = [name for name in our_nodes() if name.startswith("Imagen") and name in known]
    assert len(compared) >= 7
    for name in compared:
        (here, keys), (there, their_keys) = described(ours, name), described(server.url, name)
        assert here == there, name
        assert their_keys <= keys or server.version > TODAY, sorted(their_keys - keys)


@pytest.mark.parametrize("name", SHARED)
def test_the_hosts_own_nodes_have_the_same_sockets(server, ours, name):
    here, there = described(ours, name)[0], described(server.url, name)[0]
    if server.version < TODAY:  # saved and previewed pictures are handed on since June 2026
        there |= {key: here[key] for key in ("output", "output_is_list", "output_name")} if name != "LoadImage" else {}
    assert here == there


def finished(url, seed):
    """A job's whole description once it has ended."""
    prompt = json.loads((ROOT / "workflows" / "api" / "text_to_image_64.json").read_text(encoding="utf-8"))
    for node in prompt.values():
        if node["class_type"] == "ImagenBaseSample64":
            node["inputs"] |= {"steps": 1, "batch_size": 1, "seed": seed}
    prompt_id = read(f"{url}/prompt", {"prompt": prompt})["prompt_id"]
    for _ in range(1200):
        job = read(f"{url}/api/jobs/{prompt_id}")
        if job["status"] not in ("pending", "in_progress"):
            return job
        time.sleep(0.25)
    raise AssertionError(f"{url}: job {prompt_id} is still {job['status']}")


def test_a_job_is_described_alike(server, ours):
    if server.version < TODAY:
        pytest.skip("this ComfyUI has no list of jobs, or a younger one's")
    here, there = finished(ours, 31), finished(server.url, 31)
    assert (here["status"], here["outputs_count"]) == (there["status"], there["outputs_count"])
    assert there.keys() <= here.keys(), sorted(there.keys() - here.keys())
    listed = [read(f"{url}/api/jobs?status=completed&limit=1") for url in (ours, server.url)]
    assert listed[0].keys() == listed[1].keys() and listed[0]["pagination"].keys() == listed[1]["pagination"].keys()
    mine, theirs = (each["jobs"][0].keys() for each in listed)
    assert theirs <= mine, sorted(theirs - mine)
