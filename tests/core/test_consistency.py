"""Are consistency models read and sampled as diffusers reads and samples them, and does the sampler keep a distribution?"""

import json
import math

import pytest
import torch

from imagen_core import Classes, Draw, load_stage, read_spec, sample_base
from imagen_core.denoiser import Prediction
from imagen_core.samplers.consistency import Consistency
from imagen_core.samplers.ddim import DDIM
from imagen_core.samplers.lcm import LCM
from imagen_core.schedules.cosine import CosineSchedule
from imagen_core.schedules.edm import EDMSchedule

NETWORK = {
    "sample_size": 16,
    "out_channels": 3,
    "layers_per_block": 1,
    "block_out_channels": (32, 64, 64),
    "down_block_types": ("ResnetDownsampleBlock2D", "AttnDownBlock2D", "AttnDownBlock2D"),
    "up_block_types": ("AttnUpBlock2D", "AttnUpBlock2D", "ResnetUpsampleBlock2D"),
    "downsample_type": "resnet",
    "upsample_type": "resnet",
    "attention_head_dim": 32,
}
IMAGENET = NETWORK | {"resnet_time_scale_shift": "scale_shift", "attn_norm_num_groups": 32, "num_class_embeds": 5}
SEEDS, LABELS = (3, 4), (1, 4)
GRID = torch.linspace(80 ** (1 / 7), 0.002 ** (1 / 7), 40, dtype=torch.float64) ** 7  # the 40 levels of training


@pytest.fixture(scope="module", params=[IMAGENET, NETWORK], ids=["imagenet64", "lsun256"])
def pipeline(request, tmp_path_factory):
    """(diffusers' pipeline, its folder as saved): class-conditional with scales and shifts, or neither."""
    diffusers = pytest.importorskip("diffusers")
    torch.manual_seed(0)
    unet = diffusers.UNet2DModel(**request.param)
    for parameter in unet.parameters():
        if parameter.ndim == 1:
            torch.nn.init.normal_(parameter, parameter.mean().item(), 0.1)
    made = diffusers.ConsistencyModelPipeline(unet=unet, scheduler=diffusers.CMStochasticIterativeScheduler())
    folder = tmp_path_factory.mktemp("pipeline")
    made.save_pretrained(folder)
    made.set_progress_bar_config(disable=True)
    return made, folder


def theirs(pipe, timesteps):
    """Of the noise and the seeds of `sample_base`, whose x_T is 80.006 times unit noise in their scale, not 80."""
    generators = [torch.Generator().manual_seed(seed) for seed in SEEDS]
    latents = torch.cat([torch.randn(1, 3, 16, 16, generator=generator) for generator in generators])
    classes = {"class_labels": list(LABELS)} if pipe.unet.config.num_class_embeds else {}
    latents = latents * math.sqrt(1 + 80**2) / 80
    return pipe(2, timesteps=timesteps, generator=generators, latents=latents, output_type="pt", **classes).images


@pytest.mark.parametrize("timesteps", [[0], [22, 0], [30, 11, 0]], ids=len)
def test_pictures_are_those_of_diffusers(pipeline, timesteps):
    """Their timestep i is the i-th level of training from the noisiest on: 22 of 40 is sigma 1.38."""
    pipe, folder = pipeline
    stage = load_stage(folder)
    levels = [GRID[index].item() for index in reversed(timesteps)]
    sampler = Consistency(sigmas=", ".join(map(repr, levels)))
    asked = Classes(labels=LABELS) if stage.spec.unet_config.num_classes else None
    drawn = sample_base(stage, asked, Draw(seeds=SEEDS, sampler=sampler))
    expected = 2 * theirs(pipe, timesteps) - 1
    assert expected.std() > 0.1 and ((drawn.clamp(-1, 1) - expected).abs().max()) < 2e-4


def test_what_a_folder_says(pipeline):
    spec = read_spec(pipeline[1])
    assert (spec.stage, spec.prediction_type, spec.schedule_config["name"]) == ("base16", "consistency", "edm")
    assert spec.defaults["sampler"] == "consistency" and not spec.learned_variance


def test_one_call_is_at_the_noisiest_and_two_halve_the_way():
    schedule = EDMSchedule()
    one, two = (torch.exp(-0.5 * schedule.logsnr(Consistency().times(schedule, calls))) for calls in (1, 2))
    assert one.tolist() == pytest.approx([80.0])
    assert two.tolist() == pytest.approx([80.0, ((80 ** (1 / 7) + 0.002 ** (1 / 7)) / 2) ** 7])
    at = EDMSchedule().logsnr_to_t(-2.0 * torch.tensor([1.38], dtype=torch.float64).log())
    assert schedule.network_time(at).item() == pytest.approx(250 * math.log(1.38))
    alpha, _ = schedule.alpha_sigma(at)
    assert (schedule.input_scale(at) * alpha).item() == pytest.approx((1.38**2 + 0.25) ** -0.5)


@pytest.mark.parametrize("calls", [1, 2, 5])
def test_an_exact_consistency_model_draws_the_exact_variance(calls):
    """Of Gaussian data of deviation d the path through x ends at x sqrt((d^2 + s_min^2) / (d^2 + sigma_ve^2))."""
    schedule, d, least = EDMSchedule(), 0.5, 0.002

    class Exact:
        def __init__(self):
            self.schedule = schedule

        def __call__(self, x_t, t):
            alpha, sigma = schedule.alpha_sigma(t)
            x_0 = x_t / alpha * math.sqrt(d**2 + least**2) / torch.sqrt(d**2 + (sigma / alpha) ** 2)
            return Prediction(x_0=x_0, eps=(x_t - alpha * x_0) / sigma)

    sources = iter(
        torch.eye(calls, dtype=torch.float64).reshape(calls, calls, 1, 1, 1)
    )  # each noise an image of its own
    x_0 = Consistency().sample(
        Exact(), next(sources), Consistency().times(schedule, calls), noise=lambda: next(sources)
    )
    # The start is unit noise, which at sigma 80 stands for noise and data: 80^2 + 1 in their scale, not 80^2 + d^2.
    assert x_0.square().sum().item() == pytest.approx(d**2 + least**2, rel=2e-4)


def test_a_solver_is_refused_for_a_consistency_model_and_its_sampler_for_another(pipeline):
    stage = load_stage(pipeline[1])
    asked = Classes(labels=(0,)) if stage.spec.unet_config.num_classes else None
    with pytest.raises(ValueError, match="sampler ddim: this stage is a consistency model; choose consistency"):
        sample_base(stage, asked, Draw(seeds=[0], sampler=DDIM()))


def test_bad_sigmas_are_named():
    for sigmas in ("1, 80", "80, 80", "80, -1", "80, low", "nan"):
        with pytest.raises(ValueError, match="from most to least noise"):
            Consistency(sigmas=sigmas)
    with pytest.raises(ValueError, match="81.*leave what this stage knows: 0.002 to 80"):
        Consistency(sigmas="81, 2").times(EDMSchedule(), 2)


def changed(folder, tmp_path, part, **settings):
    """The folder with other settings in its unet/config.json or scheduler/scheduler_config.json."""
    import shutil

    copy = tmp_path / "copy"
    shutil.copytree(folder, copy, dirs_exist_ok=True)
    file = copy / part / ("config.json" if part == "unet" else "scheduler_config.json")
    file.write_text(json.dumps(json.loads(file.read_text()) | settings))
    return copy


def test_what_is_another_network_or_unknown_is_named(pipeline, tmp_path):
    _, folder = pipeline
    for part, settings, word in (
        ("unet", {"time_embedding_type": "fourier"}, "time_embedding_type is .fourier."),
        ("unet", {"norm_eps": 0.1}, "norm_eps"),
        ("scheduler", {"sigma_min": 0.01}, "sigma_min is 0.01.*only 0.002"),
        ("scheduler", {"_class_name": "PNDMScheduler"}, "_class_name.*DDPMScheduler"),
    ):
        with pytest.raises(ValueError, match=word) as caught:
            read_spec(changed(folder, tmp_path, part, **settings))
        assert "\n" not in str(caught.value)
        changed(folder, tmp_path, "unet"), changed(folder, tmp_path, "scheduler")
    alone = folder / "unet" / "diffusion_pytorch_model.safetensors"
    (tmp_path / "alone.safetensors").write_bytes(alone.read_bytes())
    with pytest.raises(ValueError, match="nothing says how its pictures were noised"):
        read_spec(tmp_path / "alone.safetensors")


def test_lcm_noises_each_picture_anew():
    """k-diffusion's own loop, x = denoised + sigma noise, in its variance exploding x = x_t / alpha."""
    schedule, generator = CosineSchedule(), torch.Generator().manual_seed(0)
    noises = [torch.randn(2, 1, 2, 2, generator=generator, dtype=torch.float64) for _ in range(5)]
    times = LCM().times(schedule, 4)

    def believed(x: torch.Tensor, sigma: float) -> torch.Tensor:
        return x / (1 + sigma**2)  # of Gaussian data of unit variance

    class Denoise:
        def __call__(self, x_t, t):
            alpha, sigma = schedule.alpha_sigma(t)
            x_0 = believed(x_t / alpha, (sigma / alpha).item())
            return Prediction(x_0=x_0, eps=(x_t - alpha * x_0) / sigma)

    Denoise.schedule = schedule
    drawn = LCM().sample(Denoise(), noises[0], times, noise=iter(noises[1:]).__next__)
    alphas, sigmas = schedule.alpha_sigma(times)
    ve = (sigmas / alphas).tolist()
    x = noises[0] / alphas[0]
    for index, sigma in enumerate(ve):
        x = believed(x, sigma)
        if index + 1 < len(ve):
            x = x + ve[index + 1] * noises[index + 1]
    assert torch.allclose(drawn, x, atol=1e-12)
