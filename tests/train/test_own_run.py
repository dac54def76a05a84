"""Does a config train a stage on people's pictures, refuse what is wrong in it by name, and lose nothing to a kill -9?"""

from __future__ import annotations

import base64
import dataclasses
import os
import re
import shutil
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest
import torch
from by_two import by_two
from PIL import Image
from safetensors.torch import load_file

from imagen_core import Draw, Prompt, TextEmbeds, load_checkpoint, sample_base
from imagen_core.samplers.ddpm import DDPM
from imagen_core.stage import load_stage
from imagen_train import cli
from imagen_train.options import default_models_dir
from imagen_train.own_pictures import collection_of
from imagen_train.own_run import encoder_folder, plan_of, train_own
from imagen_train.plans import things64_first_plan
from imagen_train.prepared import prepare
from imagen_train.report import curves_of, thinned, write_report
from imagen_train.run_config import OptimiserTable, read_run_config

CONFIG = """
out = "out"
text_encoder = "{encoder}"
{top}
[data]
path = "pictures"
side = 16
held_out = 0.3
{data}
[network]
patch_size = 2
channels = 16
width = 32
depth = 2
per_head_channels = 16
time_embed_dim = 32
pooling_queries = 1
fine_channels = 0
{network}
[optimiser]
warmup_steps = 2
{optimiser}
[run]
steps = 4
batch_size = 2
preview_minutes = {preview}
save_minutes = 0.0
{run}
[samples]
prompts = ["a red square"]
steps = 2
"""


@pytest.fixture
def place(tmp_path) -> Path:
    """A folder with eight pictures."""
    (tmp_path / "pictures").mkdir()
    for i, color in enumerate(("red", "green", "blue", "black", "white", "yellow", "pink", "brown")):
        Image.new("RGB", (20, 16), color).save(tmp_path / "pictures" / f"{i}.png")
        (tmp_path / "pictures" / f"{i}.txt").write_text(f"a {color} square")
    return tmp_path


def _config(place: Path, models: Path, name: str = "run.toml", preview: str = "inf", **parts: str) -> Path:
    filled = {part: parts.get(part, "") for part in ("top", "data", "network", "optimiser", "run")}
    path = place / name
    path.write_text(CONFIG.format(encoder=models / "text_encoder", preview=preview, **filled))
    return path


def test_a_config_becomes_a_checkpoint_and_a_report(place, models, capsys):
    config = _config(place, models, preview="5.0", optimiser='decay = "cosine"\nname = "adamw"', run="accumulate = 2")
    assert cli.main(["train", "run", str(config), "--check"]) == 0 and not (place / "out").exists()
    assert cli.main(["train", "run", str(config)]) == 0
    stage = load_stage(place / "out" / "base64.safetensors")
    assert stage.spec.unet_config.width == 32 and stage.spec.training["images"] == 4 * 2 * 2
    assert stage.spec.training["different_pictures"] + len(list((place / "out").rglob("held_out/*"))) > 4
    page = (place / "out" / "report.html").read_text()
    assert "<svg" in page and not re.search(r'(src|href)="(?!data:)', page)
    shown = re.findall(r'src="data:image/png;base64,([^"]+)"', page)
    preview = place / "out" / "training" / "preview_0000004.png"
    assert [base64.b64decode(each) for each in shown] == [preview.read_bytes()]
    assert Image.open(preview, formats=["PNG"]).size == (32, 32)  # one prompt at 16 px, doubled
    with pytest.raises(ValueError, match="holds a run: go on with --resume"):
        train_own(read_run_config(config))


@pytest.mark.parametrize("predict, schedule", [("eps", "cosine"), ("v", "linear"), ("flow", "flow")])
def test_every_prediction_trains(predict, schedule, place, models):
    told = f'[diffusion]\npredict = "{predict}"\nschedule = {{name = "{schedule}"}}\nweighting = "min_snr"\n'
    config = _config(place, models, run=told)
    assert train_own(read_run_config(config)).state.step == 4
    assert load_stage(place / "out" / "base64.safetensors").spec.prediction_type == predict


def test_a_variance_is_learned_beside_the_picture_and_drawn_with(place, models):
    path = _config(place, models, run='[diffusion]\npredict = "eps"\nloss = "hybrid"\n')
    train_own(read_run_config(path))
    stage = load_stage(place / "out" / "base64.safetensors")
    assert stage.spec.learned_variance and stage.spec.unet_config.out_channels == 6
    text = TextEmbeds(embeds=torch.zeros(1, 2, stage.spec.unet_config.text_embed_dim), mask=torch.ones(1, 2).bool())
    draws = [
        sample_base(stage, Prompt(text=text), Draw(seeds=[0], steps=3, sampler=DDPM(fixed=fixed)), height=16, width=16)
        for fixed in (False, True)
    ]
    assert not torch.equal(*draws)


def test_given_weights_without_a_variance_learn_none(place, models):
    train_own(read_run_config(_config(place, models)))
    more = _config(place, models, name="more.toml", top='from_weights = "out/base64.safetensors"')
    text = more.read_text().replace('out = "out"', 'out = "more"') + '[diffusion]\nloss = "hybrid"\n'
    more.write_text(re.sub(r"\[network\].*?(?=\[optimiser\])", "", text, flags=re.DOTALL))
    with pytest.raises(ValueError, match="loss is hybrid, and base64.safetensors puts out no variance"):
        train_own(read_run_config(more))


def test_what_is_not_said_is_things64s(place):
    path = place / "run.toml"
    path.write_text('out = "out"\n[data]\npath = "pictures"\nside = 16\nheld_out = 0.0\n[run]\nsteps = 1\n')
    config = read_run_config(path)
    pictures = prepare(collection_of(place / "pictures"), place / "cache", side=16)
    plan, shipped = plan_of(config, pictures), things64_first_plan(384)
    assert (plan.unet, plan.schedule, plan.optim.muon_lr) == (shipped.unet, shipped.schedule, 0.01)
    assert encoder_folder(config).name == "things_text_encoder" and not plan.eight_bits and plan.file is None
    assert plan_of(dataclasses.replace(config, optimiser=OptimiserTable(muon_rate=0.5)), pictures).optim.muon_lr == 0.5


def test_things64_is_named_and_begun_with(place):
    for picture in (place / "pictures").glob("*.png"):
        Image.open(picture).resize((64, 64)).save(picture)
    path = place / "run.toml"
    told = 'out = "out"\nfrom_weights = "things64"\n[data]\npath = "pictures"\nheld_out = 0.0\n'
    told += "[run]\nsteps = 1\nbatch_size = 1\npreview_minutes = inf\n[optimiser]\nrate = 0.0\nmuon_rate = 0.0\n"
    path.write_text(told)
    train_own(read_run_config(path))
    before = load_stage(default_models_dir() / "things64.safetensors").unet.state_dict()
    after = load_stage(place / "out" / "base64.safetensors").unet.state_dict()
    assert before.keys() == after.keys()
    for name, weight in before.items():
        torch.testing.assert_close(after[name], weight, rtol=2e-3, atol=1e-6)  # kept in half precision
    path.write_text(told.replace("things64", "things46"))
    with pytest.raises(ValueError, match="from_weights is 'things46'.* one of imagen-mini's: things64"):
        read_run_config(path)
    path.write_text(told + '[diffusion]\npredict = "eps"\n')
    with pytest.raises(ValueError, match="predict is eps, and things64.safetensors predicts x_0"):
        plan_of(read_run_config(path), prepare(collection_of(place / "pictures"), place / "cache", side=64))


def test_a_stage_that_enlarges_trains_on_the_same_pictures(place, models):
    path = _config(place, models, top='stage = "sr256"', data="crop = 8")
    unet = 'kind = "efficient"\nchannels = [16]\nnum_res_blocks = [1]\nstrides = [1]\nself_attention = [false]\n'
    unet += "text_cross_attention = [false]\npredict_residual = true\n"
    path.write_text(re.sub(r"\[network\].*?(?=\[optimiser\])", f"[network]\n{unet}", path.read_text(), flags=re.DOTALL))
    assert train_own(read_run_config(path)).state.images == 8
    assert load_stage(place / "out" / "sr256.safetensors", expected_stage="sr256").spec.unet_config.channels == (16,)


MISTAKES = {
    "optimiser has no setting 'learning_rat'": {"optimiser": "learning_rat = 1"},
    "did you mean flip": {"data": "flips = true"},
    "flip is 1, expected true or false": {"data": "flip = 1"},
    "predict is 'noise', expected one of eps": {"run": '[diffusion]\npredict = "noise"'},
    "predict is 'consistency', expected one of eps": {"run": '[diffusion]\npredict = "consistency"'},
    "loss is 'vlb', expected one of simple, hybrid": {"run": '[diffusion]\nloss = "vlb"'},
    "times is 'rare', expected one of power, imp": {"run": '[diffusion]\ntimes = "rare"'},
    "name is 'sgd', expected one of muon": {"optimiser": 'name = "sgd"'},
    "stage is 'base32', expected one of base64": {"top": 'stage = "base32"'},
    "accumulate is 0, expected 1 or more": {"run": "accumulate = 0"},
    "is no TOML: .*line": {"run": "accumulate ="},
    "leave .network. out": {"top": 'from_weights = "x.safetensors"'},
    "unknown schedule 'cosin'": {"run": '[diffusion]\nschedule = {name = "cosin"}'},
    "there are no pictures at": {"data": 'caption = "text"', "gone": "yes"},
}


@pytest.mark.parametrize("message", MISTAKES)
def test_every_mistake_is_named(message, place, models):
    parts = dict(MISTAKES[message])
    config = _config(place, models, **parts)
    if parts.get("gone"):
        config.write_text(config.read_text().replace('path = "pictures"', 'path = "picture"'))
    with pytest.raises(ValueError, match=message):
        train_own(read_run_config(config))


def test_what_cannot_be_is_a_line_and_not_a_traceback(place, models):
    config = _config(place, models, run="shard = true", optimiser='name = "adafactor"')
    message = "shard and adafactor do not go together: leave one of them out"
    with pytest.raises(ValueError, match=message):
        cli.main(["train", "run", str(config), "--check"])
    command = [sys.executable, "-m", "imagen_train", "train", "run", str(config), "--resume"]
    done = subprocess.run(command, capture_output=True, text=True, cwd=Path(__file__).parents[2])
    assert (done.returncode, done.stderr) == (2, f"error: {message}\n")
    shutil.rmtree(place / "pictures")
    with pytest.raises(ValueError, match="there are no pictures at .*pictures"):
        cli.main(["train", "run", str(config), "--check"])


def test_what_must_be_said_is_asked_for(place, models):
    path = _config(place, models)
    path.write_text(path.read_text().replace('out = "out"', ""))
    with pytest.raises(ValueError, match="run.toml lacks out"):
        read_run_config(path)
    path.write_text('out = "out"\n' + path.read_text().replace("steps = 4\n", ""))
    with pytest.raises(ValueError, match="run.toml: run: training would never end"):
        read_run_config(path)


def test_two_processes_train_in_shares_draw_previews_and_export_a_whole_checkpoint(place, models):
    parts = {"network": "self_conditioning = true", "run": "shard = true"}
    config = _config(place, models, preview="1e-6", **parts)
    by_two("-m", "imagen_train", "train", "run", str(config))
    network, spec = load_checkpoint(place / "out" / "base64.safetensors")
    assert spec.training["images"] == 4 * 2 * 2 and all(p.isfinite().all() for p in network.parameters())
    assert (place / "out" / "report.html").exists()
    assert len(list((place / "out" / "training").glob("preview_*.png"))) == 4


def test_killed_it_goes_on_bit_for_bit(place, models):
    """kill -9 after some saves, then --resume: the weights are those of a run that nobody touched."""
    steps = '[diffusion]\nloss = "hybrid"\ntimes = "importance"\n'  # whose memory of losses is saved too
    whole = _config(place, models, name="whole.toml", run=steps)
    killed = _config(place, models, name="killed.toml", run=steps)
    for path, out in ((whole, "a"), (killed, "b")):
        path.write_text(path.read_text().replace('out = "out"', f'out = "{out}"').replace("steps = 4", "steps = 40"))
    train_own(read_run_config(whole))
    paths = os.pathsep.join(p for p in (os.environ.get("PYTHONPATH"), *sys.path) if p)
    command = [sys.executable, "-m", "imagen_train", "train", "run", str(killed)]
    process = subprocess.Popen(
        command, env={**os.environ, "PYTHONPATH": paths}, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL
    )
    state = place / "b" / "training" / "state.safetensors"
    while not state.exists() and process.poll() is None:
        time.sleep(0.005)
    process.send_signal(signal.SIGKILL)
    process.wait()
    train_own(read_run_config(killed), resume=True)
    first, second = (load_file(place / out / "training" / "state.safetensors") for out in ("a", "b"))
    assert first.keys() == second.keys() and all(torch.equal(first[key], second[key]) for key in first)
    ends = [(place / out / "base64.safetensors").read_bytes()[-4096:] for out in ("a", "b")]
    assert ends[0] == ends[1]


def test_curves_count_what_a_kill_repeats_once(tmp_path):
    (tmp_path / "log.jsonl").write_text(
        '{"step": 1, "images": 2, "seconds": 1.0, "loss": 3.0}\n{"step": 2, "images": 4, "seconds": 2.0, "loss": 2.0}\n'
        '{"step": 2, "images": 4, "seconds": 2.0, "loss": 1.5}\n{"step": 3, "lo'
    )
    assert curves_of(tmp_path / "log.jsonl") == {"loss": [(1, 3.0), (2, 1.5)]}
    assert write_report(tmp_path, tmp_path / "page.html", title="<b>").read_text().count("&lt;b&gt;") == 2
    assert [path.name for path in thinned([Path(str(i)) for i in range(10)], 4)] == ["1", "4", "7", "9"]
    with pytest.raises(ValueError, match="there is no log.jsonl"):
        curves_of(tmp_path / "nowhere" / "log.jsonl")


def test_the_recipe_trains_on_its_own_pictures(place, models):
    """recipes/train_on_a_folder as its README has it, in three steps instead of twenty minutes."""
    recipe = Path(__file__).resolve().parents[2] / "recipes" / "train_on_a_folder"
    subprocess.run([sys.executable, recipe / "make_pictures.py", place / "drawn", "--count", "44"], check=True)
    captions = {path.read_text().strip() for path in (place / "drawn").glob("*.txt")}
    config = (recipe / "train.toml").read_text().replace('path = "pictures"', 'path = "drawn"')
    asked = re.findall(r'"(an? \w+ \w+) on a \w+ background"', config)
    assert len(captions) == 44 and len(asked) == 12
    drawn = [any(caption.startswith(pair) for caption in captions) for pair in asked]
    assert drawn == [False] * 6 + [True] * 6  # as the config says of its prompts
    config = config.replace("minutes = 20", "steps = 3").replace("threads = 2", "threads = 1")
    config = re.sub(r"batch_size = 32", "batch_size = 2", config).replace("depth = 4", "depth = 2")
    (place / "train.toml").write_text(f'text_encoder = "{models / "text_encoder"}"\n{config}')
    assert train_own(read_run_config(place / "train.toml")).state.step == 3
    assert "data:image/png" in (place / "my-model" / "report.html").read_text()
    assert load_stage(place / "my-model" / "base64.safetensors").spec.defaults["guidance_scale"] == 2.0
