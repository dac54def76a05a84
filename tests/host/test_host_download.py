"""Does `imagen download` fetch what we read and nothing else, go on where it stopped, and say what keeps it from it?"""

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest
from hub import Hub

from imagen_host.download import choose

ROOT = Path(__file__).resolve().parents[2]
PIPELINE = [  # the files of a published DeepFloyd IF folder
    "README.md",
    "LICENSE.md",
    "config.yml",
    "model_index.json",
    "pytorch_model.bin",
    "feature_extractor/preprocessor_config.json",
    "safety_checker/model.fp16.safetensors",
    "scheduler/scheduler_config.json",
    "text_encoder/config.json",
    "text_encoder/model-00001-of-00002.safetensors",
    "text_encoder/model-00002-of-00002.safetensors",
    "text_encoder/model.8bit.safetensors",
    "text_encoder/model.fp16-00001-of-00002.safetensors",
    "text_encoder/model.fp16-00002-of-00002.safetensors",
    "text_encoder/model.safetensors.index.fp16.json",
    "text_encoder/model.safetensors.index.json",
    "text_encoder/pytorch_model.fp16-00001-of-00002.bin",
    "tokenizer/spiece.model",
    "tokenizer/tokenizer_config.json",
    "unet/config.json",
    "unet/diffusion_pytorch_model.bin",
    "unet/diffusion_pytorch_model.fp16.safetensors",
    "unet/diffusion_pytorch_model.safetensors",
    "watermarker/diffusion_pytorch_model.safetensors",
]


def weights(names):
    return [name for name in names if name.endswith((".safetensors", ".gguf"))]


def test_of_a_transformers_pipeline_the_transformer_is_fetched():
    network = ["transformer/config.json", "transformer/diffusion_pytorch_model.safetensors"]
    names = ["model_index.json", "scheduler/scheduler_config.json", *network, "vae/diffusion_pytorch_model.safetensors"]
    assert choose(names) == sorted(names[:-1])


def test_of_a_pipeline_only_what_is_read_and_one_twin():
    chosen = choose(PIPELINE)
    assert weights(chosen) == [
        "text_encoder/model.fp16-00001-of-00002.safetensors",
        "text_encoder/model.fp16-00002-of-00002.safetensors",
        "unet/diffusion_pytorch_model.fp16.safetensors",
    ]
    assert {"unet/config.json", "tokenizer/spiece.model", "scheduler/scheduler_config.json", "LICENSE.md"} < set(chosen)
    assert not any(
        name.startswith(("safety_checker", "watermarker", "feature")) or name.endswith(".bin") for name in chosen
    )


def test_fp32_on_demand():
    assert weights(choose(PIPELINE, variant="none")) == [
        "text_encoder/model-00001-of-00002.safetensors",
        "text_encoder/model-00002-of-00002.safetensors",
        "unet/diffusion_pytorch_model.safetensors",
    ]


def test_where_there_is_no_twin_the_only_one():
    plain = [name for name in PIPELINE if "fp16" not in name]
    assert weights(choose(plain)) == weights(choose(PIPELINE, variant="none"))


def test_include_names_files_and_never_a_pickle():
    assert choose(PIPELINE, include=["tokenizer/*", "unet/*"]) == [
        "tokenizer/spiece.model",
        "tokenizer/tokenizer_config.json",
        "unet/config.json",
        "unet/diffusion_pytorch_model.fp16.safetensors",
    ]
    assert weights(choose(PIPELINE, include=["unet/*"], variant="none")) == ["unet/diffusion_pytorch_model.safetensors"]
    with pytest.raises(ValueError, match="only pickles"):
        choose(PIPELINE, include=["pytorch_model.bin"])
    with pytest.raises(ValueError, match="names nothing.*README.md"):
        choose(PIPELINE, include=["t5xxl*"])


def test_a_heap_of_single_files_asks_which():
    heap = ["README.md", "clip_l.safetensors", "t5xxl_fp16.safetensors", "t5xxl_fp8_e4m3fn.safetensors"]
    with pytest.raises(ValueError, match="--include.*t5xxl_fp16"):
        choose(heap)
    assert choose(heap, include=["t5xxl_fp8*"]) == ["t5xxl_fp8_e4m3fn.safetensors"]
    with pytest.raises(ValueError, match="--include"):
        choose([f"t5-v1_1-xxl-encoder-{kind}.gguf" for kind in ("Q4_K_M", "Q8_0")])


def test_a_repository_of_pickles_is_refused():
    with pytest.raises(ValueError, match="no .safetensors or .gguf weights: it has config.json, pytorch_model.bin"):
        choose(["config.json", "pytorch_model.bin", "spiece.model"])


CONTENT = {name: name.encode() * 50 for name in PIPELINE} | {
    "unet/diffusion_pytorch_model.fp16.safetensors": os.urandom(3_000_000)
}


WORKER = """
import contextlib, io, json, sys
from imagen_host.cli import main
for line in sys.stdin:
    out, said = io.StringIO(), io.StringIO()
    with contextlib.redirect_stdout(out), contextlib.redirect_stderr(said):
        code = main(json.loads(line))
    print(json.dumps([code, out.getvalue(), said.getvalue()]), flush=True)
"""


def surroundings(folder, url, **more):
    """Which hub huggingface_hub asks: it reads that when it is imported, so that each hub takes a process."""
    quiet = {"HF_HUB_OFFLINE": "0", "HF_HUB_DISABLE_TELEMETRY": "1", "HF_HUB_DISABLE_XET": "1"}
    return {**os.environ, "PYTHONPATH": str(ROOT), "HF_ENDPOINT": url, "HF_HOME": str(folder / "hf"), **quiet, **more}


@pytest.fixture(scope="module")
def our_hub():
    with Hub(CONTENT) as hub:
        yield hub


@pytest.fixture
def hub(our_hub):
    """The hub as if it was new."""
    our_hub.files, our_hub.gate, our_hub.cut, our_hub.refused = CONTENT, None, None, None
    our_hub.requests.clear()
    return our_hub


@pytest.fixture(scope="module")
def worker(our_hub, tmp_path_factory):
    """One process for all commands that ask our hub."""
    pipes = {"stdin": subprocess.PIPE, "stdout": subprocess.PIPE, "text": True}
    environment = surroundings(tmp_path_factory.mktemp("home"), our_hub.url)
    with subprocess.Popen([sys.executable, "-c", WORKER], cwd=ROOT, env=environment, **pipes) as process:
        yield process
        process.stdin.close()


@pytest.fixture
def download(worker, tmp_path):
    """Run `imagen download`: (exit code, stdout, stderr)."""

    def run(*arguments):
        print(json.dumps(["download", *arguments, "--to", str(tmp_path / "models")]), file=worker.stdin, flush=True)
        return json.loads(worker.stdout.readline())

    return run


def test_fetches_into_the_models_folder(hub, download, tmp_path):
    code, out, said = download("owner/name")
    assert code == 0, said
    assert hub.fetched() == choose(PIPELINE)
    assert "owner/name: 14 files" in said and "%" in said  # a progress bar
    folder = tmp_path / "models" / "name"
    assert out.strip() == str(folder)
    for name in choose(PIPELINE):
        assert (folder / name).read_bytes() == CONTENT[name]
    hub.requests.clear()
    assert download("owner/name")[0] == 0
    assert not [path for method, path, _ in hub.requests if method == "GET" and "/resolve/" in path]  # all there


def test_a_broken_connection_goes_on_where_it_stopped(hub, download, tmp_path):
    big = "unet/diffusion_pytorch_model.fp16.safetensors"
    content = os.urandom(2**20) * 25
    hub.files, hub.cut = {big: content}, 15 * 2**20
    code, _, said = download("owner/name")
    assert code == 0, said
    assert (tmp_path / "models" / "name" / big).read_bytes() == content
    parts = [part for method, path, part in hub.requests if method == "GET" and path.endswith(big)]
    assert len(parts) == 2 and parts[1] == f"bytes={10 * 2**20}-"  # the library keeps whole parts of 10 MiB


def test_a_second_run_fetches_only_what_is_missing(hub, download):
    hub.refused = "tokenizer/spiece.model"
    wanted = ("owner/name", "--include", "tokenizer/*", "--include", "unet/config.json")
    code, _, said = download(*wanted)
    assert code == 2 and len(said.strip().splitlines()[-1]) < 400
    hub.refused = None
    hub.requests.clear()
    code, _, said = download(*wanted)
    assert code == 0, said
    got = [path for method, path, _ in hub.requests if method == "GET" and "/resolve/" in path]
    assert any(path.endswith("spiece.model") for path in got) and len(got) < 3


def test_dry_run_fetches_nothing(hub, download, tmp_path):
    code, out, _ = download("owner/name", "--dry-run", "--variant", "none")
    assert code == 0 and "unet/diffusion_pytorch_model.safetensors" in out
    assert not hub.fetched() and not (tmp_path / "models").exists()


@pytest.mark.parametrize(
    ("gate", "arguments", "words"),
    [
        ("gated", ["owner/name"], ["licence", "https://huggingface.co/owner/name", "hf auth login"]),
        ("private", ["owner/name"], ["not there, or not for you (401)", "hf auth login"]),
        (None, ["owner/other"], ["not there", "check the name"]),
        (None, ["owner/name", "--revision", "nowhere"], ["no such revision"]),
        (None, ["owner/name", "--include", "x*"], ["names nothing"]),
        (None, ["nonsense"], ["names no repository", "OWNER/NAME"]),
    ],
)
def test_what_keeps_it_from_it_is_one_line(hub, download, gate, arguments, words):
    hub.gate = gate
    code, _, said = download(*arguments)
    assert code == 2
    line = said.strip().splitlines()[-1]
    assert line.startswith("error: ") and all(word in line for word in words), said
    assert "Traceback" not in said


@pytest.mark.parametrize("offline", [{}, {"HF_HUB_OFFLINE": "1"}])
def test_offline_is_one_line(tmp_path, offline):
    command = [sys.executable, "-m", "imagen_host", "download", "owner/name", "--to", str(tmp_path / "models")]
    environment = surroundings(tmp_path, "http://127.0.0.1:9", **offline)
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, timeout=600, env=environment)
    assert done.returncode == 2, done.stderr
    assert len(done.stderr.strip().splitlines()) == 1 and "no connection" in done.stderr
