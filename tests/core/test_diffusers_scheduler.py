"""Is a scheduler_config.json read whole, each setting drawn as diffusers' own scheduler draws it, or refused by name?"""

from __future__ import annotations

import json
import sys
from pathlib import Path

import pytest
import torch
from diffusers import DDIMScheduler, DDPMScheduler, IFPipeline

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

from deepfloyd_fixtures import SCHEDULER, save_folder, text_states, tiny_unet, write_json

from imagen_core import (
    SAMPLERS,
    Draw,
    Prompt,
    TextEmbeds,
    load_stage,
    read_spec,
    sample_base,
    save_checkpoint,
)
from imagen_core.checkpoints.diffusers_scheduler import read_scheduler
from imagen_core.conditioning import Signals
from imagen_core.denoiser import Denoiser
from imagen_core.guidance.classifier_free import ClassifierFreeGuidance
from imagen_core.predictor import Predictor
from imagen_core.samplers import time_grid
from imagen_core.samplers.ddpm import DDPM
from imagen_core.schedules import schedule_from_config, schedule_to_config
from imagen_core.schedules.discrete import DiscreteSchedule
from imagen_core.settings import make_thresholding

STEP, PICTURE = 3e-4, 2e-3  # as in test_deepfloyd_sampling and _pictures: the smallest real mistakes are larger
RANDOM_BETAS = torch.rand(1000, generator=torch.Generator().manual_seed(0)).mul(0.02).add(1e-4).tolist()
DREAMBOOTH = SCHEDULER | {  # as diffusers' training scripts save it
    "_diffusers_version": "0.16.0.dev0",
    "beta_end": 0.02,
    "beta_start": 0.0001,
    "clip_sample_range": 1.0,
    "trained_betas": None,
    "variance_type": "fixed_small",
    "sample_max_value": 1.5,
}
PLAIN = {"beta_schedule": "squaredcos_cap_v2", "variance_type": "learned_range"}
READ = {
    "dreambooth": DREAMBOOTH,
    "defaults of the class": {"_class_name": "DDPMScheduler"},
    "nothing at all": {},
    "fixed_small": PLAIN | {"variance_type": "fixed_small"},
    "fixed_small_log": PLAIN | {"variance_type": "fixed_small_log"},
    "fixed_large": PLAIN | {"variance_type": "fixed_large"},
    "clipped": PLAIN | {"thresholding": False, "clip_sample": True},
    "clipped at 2.5": PLAIN | {"clip_sample_range": 2.5},
    "clipped at 0.5": PLAIN | {"clip_sample_range": 0.5},
    "not clipped": PLAIN | {"clip_sample": False, "prediction_type": "v_prediction"},
    "thresholded": PLAIN | {"thresholding": True, "dynamic_thresholding_ratio": 0.9, "sample_max_value": 2.0},
    "thresholded at its defaults": PLAIN | {"thresholding": True},
    "linear": PLAIN | {"beta_schedule": "linear"},
    "linear of its own": PLAIN | {"beta_schedule": "linear", "beta_start": 0.00085, "beta_end": 0.012},
    "scaled_linear": PLAIN | {"beta_schedule": "scaled_linear", "beta_start": 0.00085, "beta_end": 0.012},
    "sigmoid": PLAIN | {"beta_schedule": "sigmoid"},
    "trained betas": PLAIN | {"trained_betas": RANDOM_BETAS},
    "zero snr": PLAIN | {"rescale_betas_zero_snr": True, "prediction_type": "v_prediction"},
    "linear, zero snr": PLAIN
    | {"beta_schedule": "linear", "rescale_betas_zero_snr": True, "prediction_type": "sample"},
    "v": PLAIN | {"prediction_type": "v_prediction"},
    "x_0": PLAIN | {"prediction_type": "sample"},
    "few timesteps": PLAIN | {"num_train_timesteps": 100},
    "trailing": PLAIN | {"timestep_spacing": "trailing"},
    "linspace": PLAIN | {"timestep_spacing": "linspace"},
    "leading with an offset": PLAIN | {"timestep_spacing": "leading", "steps_offset": 1},
    "leftovers of other classes": PLAIN | {"solver_order": 3, "use_karras_sigmas": True, "skip_prk_steps": True},
}


def network(x_t, time, conditioning=None):
    """3 channels of a picture and 3 of variance in [-1, 1]."""
    wave = 0.3 * torch.sin(time.float() / 100).reshape(-1, 1, 1, 1)
    return torch.cat([0.7 * x_t.roll(1, 3) + wave * x_t, torch.tanh(x_t.roll(2, 2))], 1)


def as_loaded(facts):
    """The network as the reader leaves it: with the variance that the scheduler asks for."""
    constant = {"posterior": -1.0, "beta": 1.0}.get(facts.variance)
    if constant is None:
        return network
    return lambda x_t, time, conditioning=None: torch.cat(
        [network(x_t, time)[:, :3], torch.full_like(x_t, constant)], 1
    )


def file_of(settings, folder: Path) -> Path:
    path = folder / "scheduler_config.json"
    path.write_text(json.dumps(settings))
    return path


@pytest.mark.parametrize("name", READ)
def test_each_step_is_diffusers(name, tmp_path):
    facts = read_scheduler(file_of(READ[name], tmp_path))
    scheduler = DDPMScheduler.from_config({key: value for key, value in READ[name].items() if key != "_class_name"})
    schedule, asked = schedule_from_config(json.loads(json.dumps(facts.schedule))), facts.defaults
    spacing, last = asked.get("spacing", "uniform"), schedule.num_timesteps - 1
    times = DDPM().times(schedule, 12, spacing)
    timesteps = (times * last).round().int().tolist()
    if "spacing" in asked:
        scheduler.set_timesteps(12)
        assert timesteps == scheduler.timesteps.tolist()
    scheduler.set_timesteps(timesteps=timesteps)
    method, limits = asked.get("thresholding", "dynamic"), {}
    if method == "dynamic":
        limits = {"percentile": asked.get("percentile", 0.5), "maximum": asked.get("threshold_maximum")}
    elif method == "static":
        limits = {"limit": asked.get("threshold_limit", 1.0)}
    reads = {"prediction_type": facts.prediction_type, "learned_variance": True}
    denoise = Denoiser(
        Predictor(network=as_loaded(facts), schedule=schedule, **reads),
        {"cond": Signals()},
        thresholding=make_thresholding(method, **limits),
    )
    states = []

    def recorded(x_t, t):
        states.append(x_t)
        return denoise(x_t, t)

    recorded.schedule = schedule
    drawn, drawn_again = (torch.Generator().manual_seed(1) for _ in range(2))
    shape = (2, 3, 6, 6)
    x_T = torch.randn(shape, generator=drawn)
    x_0 = DDPM().sample(recorded, x_T, times, noise=lambda: torch.randn(shape, generator=drawn))
    torch.randn(shape, generator=drawn_again)
    fixed = not scheduler.config.variance_type.startswith("learned")
    for i, (timestep, x_t) in enumerate(zip(scheduler.timesteps, states, strict=True)):
        output = network(x_t, timestep.float().expand(2))[:, : 3 if fixed else 6]
        step = scheduler.step(output, timestep, x_t, generator=drawn_again)
        got, theirs = (states[i + 1], step.prev_sample) if i + 1 < len(states) else (x_0, step.pred_original_sample)
        assert theirs.isfinite().all()
        torch.testing.assert_close(got, theirs, rtol=STEP, atol=STEP, msg=lambda text, i=i: f"call {i}: {text}")


@pytest.fixture(scope="module")
def unet():
    return tiny_unet("base64")


@pytest.mark.parametrize("name", ["dreambooth", "fixed_large", "linear of its own", "clipped at 0.5"])
def test_whole_pictures_are_diffusers(name, unet, tmp_path):
    """Also that the reader leaves the network with the right variance, and from this pack's own format again."""
    folder = save_folder(tmp_path / "IF", "base64", unet)
    write_json(folder / "scheduler" / "scheduler_config.json", READ[name])
    stage = load_stage(folder)
    assert stage.spec == read_spec(folder)
    parts = dict.fromkeys(("tokenizer", "text_encoder", "safety_checker", "feature_extractor", "watermarker"))
    scheduler = DDPMScheduler.from_pretrained(folder / "scheduler")
    pipe = IFPipeline(**parts, unet=unet, scheduler=scheduler, requires_safety_checker=False)
    pipe.set_progress_bar_config(disable=True)
    cond, null = text_states(1, seed=5), text_states(1, seed=6)
    times = time_grid(stage.schedule, 6)
    theirs = pipe(
        prompt_embeds=cond,
        negative_prompt_embeds=null,
        guidance_scale=3.0,
        generator=torch.Generator().manual_seed(11),
        output_type="pt",
        height=16,
        width=16,
        timesteps=(times * 999).round().int().tolist(),
    ).images.clamp(-1, 1)

    def drawn(stage):
        mask = torch.ones(1, 77, dtype=torch.bool)
        prompt = Prompt(text=TextEmbeds(embeds=cond, mask=mask), negative=TextEmbeds(embeds=null, mask=mask))
        guidance = ClassifierFreeGuidance(scale=3.0)
        settings = {"steps": 6, "spacing": "uniform", "sampler": DDPM(), "guidance": guidance}
        return sample_base(stage, prompt, Draw(seeds=[11], **settings), height=16, width=16)

    got = drawn(stage)
    assert got.std() > 0.05 and (got - theirs).abs().max() < PICTURE
    save_checkpoint(tmp_path / "own.safetensors", stage.unet, spec=stage.spec)
    assert torch.equal(drawn(load_stage(tmp_path / "own.safetensors")), got)


def test_ddim_and_dpm_solver_are_samplers_to_begin_with(tmp_path):
    theirs = DDIMScheduler(beta_schedule="squaredcos_cap_v2")
    theirs.save_pretrained(tmp_path)
    facts = read_scheduler(tmp_path / "scheduler_config.json")
    assert facts.defaults["sampler"] == "ddim" in SAMPLERS and facts.defaults["spacing"] == "leading"
    assert facts.variance == "learned" and facts.defaults["thresholding"] == "static"
    solver = {"_class_name": "DPMSolverMultistepScheduler", "beta_schedule": "squaredcos_cap_v2", "variance_type": None}
    facts = read_scheduler(file_of(solver | {"algorithm_type": "sde-dpmsolver++"}, tmp_path))
    assert facts.defaults == {"thresholding": "none", "spacing": "leading", "sampler": "dpmpp_2m_sde"}


def test_the_sharpest_schedule_survives_its_file():
    schedule = DiscreteSchedule(betas=tuple(RANDOM_BETAS), zero_snr=True)
    again = schedule_from_config(json.loads(json.dumps(schedule_to_config(schedule))))
    assert again == schedule and hash(again) == hash(schedule)
    assert schedule.logsnr(torch.linspace(0, 1, 1000, dtype=torch.float64)).isfinite().all()


@pytest.mark.parametrize(
    ("change", "words"),
    [
        ({"colour": 3}, "colour is a setting that is not known"),
        ({"variance_type": "learned"}, "variance_type is 'learned'.*fixed_small"),
        ({"variance_type": "fixed_large_log"}, "variance_type is 'fixed_large_log'"),
        ({"variance_type": None}, "variance_type is None"),
        ({"beta_schedule": "laplace"}, "beta_schedule is 'laplace'.*squaredcos_cap_v2"),
        ({"beta_schedule": ["linear"]}, "beta_schedule is .'linear'."),
        ({"beta_start": 0}, "beta_start is 0.*positive number below 1"),
        ({"beta_end": 1.0}, "beta_end is 1.0"),
        ({"trained_betas": [0.1, 0.2]}, "trained_betas has 2 entries.*1000"),
        ({"trained_betas": [0.0] * 1000}, "trained_betas must be"),
        ({"trained_betas": "many"}, "trained_betas must be"),
        ({"num_train_timesteps": 10**9}, "num_train_timesteps is 1000000000.*whole number from 2"),
        ({"num_train_timesteps": 10.5}, "num_train_timesteps is 10.5"),
        ({"num_train_timesteps": 1}, "num_train_timesteps is 1"),
        ({"num_train_timesteps": -5}, "num_train_timesteps is -5"),
        ({"num_train_timesteps": True}, "num_train_timesteps is True"),
        ({"clip_sample_range": -1}, "clip_sample_range is -1.*positive number"),
        ({"clip_sample_range": 10**400}, "clip_sample_range is 1000"),
        ({"clip_sample": "yes"}, "clip_sample is 'yes'.*true or false"),
        ({"thresholding": 1}, "thresholding is 1"),
        ({"thresholding": True, "sample_max_value": 0.5}, "sample_max_value is 0.5.*at least 1"),
        ({"dynamic_thresholding_ratio": 1.5}, "dynamic_thresholding_ratio is 1.5.*up to 1"),
        ({"dynamic_thresholding_ratio": float("nan")}, "dynamic_thresholding_ratio is nan"),
        ({"sample_max_value": float("inf")}, "sample_max_value is inf"),
        ({"timestep_spacing": "random"}, "timestep_spacing is 'random'.*leading"),
        ({"steps_offset": -1}, "steps_offset is -1"),
        ({"rescale_betas_zero_snr": True}, "rescale_betas_zero_snr divides by zero with prediction_type 'epsilon'"),
        ({"prediction_type": "flow_prediction"}, "prediction_type is 'flow_prediction'.*v_prediction"),
        ({"_class_name": "EulerDiscreteScheduler"}, "_class_name is 'EulerDiscreteScheduler'.*DDPMScheduler"),
        ({"_class_name": "DDIMScheduler", "set_alpha_to_one": False}, "set_alpha_to_one is False"),
        ({"_class_name": "DPMSolverMultistepScheduler", "use_karras_sigmas": True}, "use_karras_sigmas is True"),
        ({"_class_name": "DPMSolverMultistepScheduler", "solver_order": 3}, "solver_order is 3.*only 2"),
    ],
)
def test_what_is_not_drawn_here_is_refused_by_name(tmp_path, change, words):
    path = file_of(PLAIN | change, tmp_path)
    with pytest.raises(ValueError, match=words) as caught:
        read_scheduler(path)
    assert str(caught.value).startswith(f"{path}: ") and "\n" not in str(caught.value)


@pytest.mark.parametrize("content", [b"{", b"[]", b"\xff\xfe\x00", b"[" * 100_000, b'{"a": ' * 50_000, b"1" * 5000])
def test_what_is_no_settings_file(tmp_path, content):
    (tmp_path / "scheduler_config.json").write_bytes(content)
    with pytest.raises(ValueError, match="scheduler_config.json (is no JSON|is nested|holds)"):
        read_scheduler(tmp_path / "scheduler_config.json")


def test_the_small_pictures_noise_must_be_the_stages_own(tmp_path):
    folder = save_folder(tmp_path / "IF", "sr256", tiny_unet("sr256"))
    path = folder / "image_noising_scheduler" / "scheduler_config.json"
    assert read_spec(folder).stage == "sr256"
    write_json(path, {"_class_name": "DDPMScheduler", "beta_schedule": "linear"})
    with pytest.raises(ValueError, match="image_noising_scheduler.*betas is 'linear'.*'squaredcos_cap_v2'"):
        read_spec(folder)
