"""Do other people's clients drive the server unmodified: comfy-cli's `comfy run`, and the one in clients/?"""

import json
import os
import shutil
import subprocess
import sys

import pytest
from host_graphs import Ui, entry
from PIL import Image
from server_client import picture_prompt
from test_server_process import ROOT, folder, serving  # noqa: F401  folder is a fixture

COMFY = os.environ.get("COMFY_CLI") or shutil.which("comfy")


def run(arguments, folder):  # noqa: F811
    """Run a client that must not ask anything of the terminal or of another machine."""
    environment = {**os.environ, "HOME": str(folder), "DO_NOT_TRACK": "1", "COMFY_NO_TELEMETRY": "1"}
    return subprocess.run(
        arguments, cwd=folder, capture_output=True, text=True, timeout=600, env=environment, stdin=subprocess.DEVNULL
    )


@pytest.mark.skipif(not COMFY, reason="needs comfy-cli: pip install comfy-cli in a venv, COMFY_CLI=.../bin/comfy")
@pytest.mark.parametrize("form", ["editor", "api"])
def test_comfy_run_waits_for_the_picture(folder, object_info, form):  # noqa: F811
    if form == "editor":
        ui = Ui(object_info)
        draw = ui.node("Picture", [3, 5, 8, 8, 0.01, True])
        save = ui.node("SaveImage", ["from_comfy"])
        ui.link(draw, save, "images", kind="IMAGE")
        workflow = ui.json(last_node_id=2, last_link_id=1, groups=[], config={})
    else:
        workflow = picture_prompt(5, 0.01)
    (folder / "workflow.json").write_text(json.dumps(workflow))
    with serving(folder) as (_, address):
        port = address.rpartition(":")[2]
        target = ["--wait", "--host", "127.0.0.1", "--port", port]
        done = run([COMFY, "--skip-prompt", "run", "--workflow", "workflow.json", *target], folder)
    assert done.returncode == 0, done.stdout + done.stderr
    (picture,) = folder.glob("output/*.png")
    assert Image.open(picture).size == (8, 8) and picture.name in done.stdout + done.stderr


@pytest.mark.skipif(not COMFY, reason="needs comfy-cli: pip install comfy-cli in a venv, COMFY_CLI=.../bin/comfy")
def test_comfy_run_shows_why_a_prompt_is_refused(folder):  # noqa: F811
    fussy = {"c": entry("Fussy", word="now", number=1), "show": entry("Show", value=["c", 0])}
    (folder / "workflow.json").write_text(json.dumps(fussy))
    with serving(folder) as (_, address):
        target = ["--wait", "--host", "127.0.0.1", "--port", address.rpartition(":")[2]]
        done = run([COMFY, "--skip-prompt", "run", "--workflow", "workflow.json", *target], folder)
    assert done.returncode != 0 and "say please" in done.stdout + done.stderr, done.stdout + done.stderr


def test_the_example_client_follows_a_prompt_and_fetches_its_picture(folder):  # noqa: F811
    (folder / "workflow.json").write_text(json.dumps(picture_prompt(5, 0.01)))
    example = [sys.executable, str(ROOT / "clients" / "queue_prompt.py"), "--workflow", "workflow.json"]
    with serving(folder) as (_, address):
        for seed in (1, 2):
            done = run([*example, "--server", address, "--seed", str(seed), "--out", "fetched"], folder)
            assert done.returncode == 0, done.stderr
            fetched = folder / done.stdout.strip()
            assert fetched.read_bytes() == (folder / "output" / fetched.name).read_bytes()
            assert "step 5 of 5" in done.stderr
        (folder / "workflow.json").write_text(json.dumps(picture_prompt(steps=0)))
        refused = run([*example, "--server", address], folder)
        assert refused.returncode == 1 and "too small" in refused.stderr
