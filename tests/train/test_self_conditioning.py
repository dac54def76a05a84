"""Is a self-conditioned network trained as Bit Diffusion trains it, and told at sampling what it believed before?"""

from __future__ import annotations

from types import SimpleNamespace

import pytest
import torch
from PIL import Image

from imagen_core.conditioning import Signals, TextEmbeds
from imagen_core.denoiser import Denoiser
from imagen_core.draw import Draw
from imagen_core.guidance.classifier_free import ClassifierFreeGuidance
from imagen_core.losses import estimate
from imagen_core.parameterization import diffuse, per_image
from imagen_core.predictor import Predictor
from imagen_core.samplers import SAMPLERS
from imagen_core.sampling import sample_base
from imagen_core.schedules.cosine import CosineSchedule
from imagen_core.stage import Prompt, load_stage
from imagen_core.text.loading import load_text_encoder
from imagen_core.thresholding.none import NoThresholding
from imagen_core.unets import UViTConfig, build_unet
from imagen_train.own_run import train_own
from imagen_train.precision import autocast
from imagen_train.run_config import read_run_config
from imagen_train.tasks import BaseTask

TINY = {"patch_size": 2, "channels": 16, "width": 32, "depth": 2, "per_head_channels": 16, "text_embed_dim": 8}
SCHEDULE = CosineSchedule()
X_0, NOISE = torch.randn(2, 4, 3, 8, 8, generator=torch.Generator().manual_seed(0))
TIMES = torch.tensor([0.2, 0.5, 0.8, 1.0])


def _network(**settings) -> torch.nn.Module:
    """Tiny, and of weights that put out more than zeros."""
    torch.manual_seed(1)
    network = build_unet(UViTConfig(**TINY, **settings))
    for parameter in network.parameters():
        torch.nn.init.normal_(parameter, std=0.2)
    return network


def _told(network: torch.nn.Module) -> Signals:
    return network.encode_text(TextEmbeds(embeds=torch.ones(4, 2, 8), mask=torch.ones(4, 2, dtype=torch.bool)))


def test_the_stem_sees_the_estimate_cut_to_pictures_and_zeros_where_there_is_none():
    network, plain = _network(self_conditioning=True, fine_channels=8), _network()
    assert network.config.inputs == ("text", "estimate") and plain.config.inputs == ("text",)
    assert network.stem.weight.shape[1] == 2 * plain.stem.weight.shape[1]
    time, told = torch.full((4,), 500.0), _told(network)
    nothing = network(X_0, time, told)
    assert nothing.shape == X_0.shape and torch.equal(nothing, network(X_0, time, told + Signals(pixels=0 * X_0)))
    far, cut = (network(X_0, time, told + Signals(pixels=pixels)) for pixels in (9 * NOISE, (9 * NOISE).clamp(-1, 1)))
    assert torch.equal(far, cut) and (far - nothing).abs().max() > 1e-3
    assert torch.equal(plain(X_0, time, _told(plain)), plain(X_0, time, _told(plain) + Signals(pixels=NOISE)))


@pytest.mark.parametrize("sampler", SAMPLERS)
def test_each_branch_is_told_of_its_own_x_0_of_the_call_before(sampler):
    """A network that puts out a number of its own at each call, under each branch, is shown just that the next time."""
    shown: list[torch.Tensor] = []

    def network(x_t, time, told):
        shown.append(told.pixels)
        numbers = len(shown) + told.vector[:, 0] / 10  # the call, and the branch behind the point
        return per_image(numbers, x_t).expand_as(x_t)

    predictor = Predictor(network=network, schedule=SCHEDULE, prediction_type="x_0", self_conditioned=True)
    branches = {name: Signals(vector=torch.full((2, 1), value)) for name, value in (("cond", 1.0), ("null", 2.0))}
    guidance = ClassifierFreeGuidance(scale=3.0, start=0.0, end=0.5)
    denoise = Denoiser(predictor, branches, guidance=guidance, thresholding=NoThresholding())
    grid = SAMPLERS[sampler]().times(SCHEDULE, 6, "logsnr")
    SAMPLERS[sampler]().sample(denoise, NOISE[:2], grid, noise=lambda: NOISE[2:])
    assert len(shown) >= 5 and shown[0].abs().max() == 0 and len(shown[0]) == 4 and len(shown[-1]) == 2
    for call, pixels in enumerate(shown[1:], start=1):
        said = [call + 0.1] * 2 + [call + 0.2] * (len(pixels) - 2)
        torch.testing.assert_close(pixels[:, 0, 0, 0], torch.tensor(said))


def test_other_networks_are_told_nothing_and_remember_nothing():
    told = []
    predictor = Predictor(network=lambda x, time, say: told.append(say) or x, schedule=SCHEDULE, prediction_type="v")
    denoise = Denoiser(predictor, {"cond": Signals()}, thresholding=NoThresholding())
    for t in (0.9, 0.5):
        denoise(NOISE, torch.tensor(t))
    assert [each.pixels for each in told] == [None, None] and denoise._before == {}


@pytest.mark.parametrize("prediction_type", ["v", "eps", "x_0"])
def test_the_estimate_is_what_the_first_pass_believes_without_a_gradient(prediction_type):
    network = _network(self_conditioning=True)
    told = _told(network)
    read = {"schedule": SCHEDULE, "prediction_type": prediction_type}
    found = estimate(lambda x, time: network(x, time, told), X_0, times=TIMES, noise=NOISE, **read)
    alpha, sigma = (per_image(part, X_0) for part in SCHEDULE.alpha_sigma(TIMES))
    x_t = diffuse(X_0, NOISE, alpha, sigma)
    denoise = Denoiser(Predictor(network=network, **read), {"cond": told}, thresholding=NoThresholding())
    expected = denoise(x_t, TIMES).x_0
    torch.testing.assert_close(found, expected.detach())
    assert not found.requires_grad and expected.requires_grad


def test_in_bfloat16_the_first_pass_leaves_the_second_its_gradients():
    """Autocast remembers the weights that it has cast, and those of a pass without gradients have none."""
    network = _network(self_conditioning=True)
    grads = []
    for twice in (False, True):
        network.zero_grad()
        with autocast("cpu", bf16=True):
            told = _told(network)

            def passed(x, time, told=told):
                return network(x, time, told)

            if twice:
                estimate(passed, X_0, schedule=SCHEDULE, prediction_type="v", times=TIMES, noise=NOISE)
            passed(X_0, SCHEDULE.network_time(TIMES)).square().mean().backward()
        grads.append([None if p.grad is None else p.grad.clone() for p in network.parameters()])
    assert all(a is not None and torch.equal(a, b) for a, b in zip(*grads, strict=True))


def test_half_of_the_batches_have_a_second_pass():
    network = _network(self_conditioning=True)
    plan = SimpleNamespace(unet=network.config, schedule=SCHEDULE, prediction_type="v")
    task, told = SimpleNamespace(plan=plan), _told(network)
    generator = torch.Generator().manual_seed(0)
    given = [
        BaseTask._shown_besides(task, network, X_0, told, TIMES, NOISE, generator).pixels is not None
        for _ in range(100)
    ]
    assert 40 < sum(given) < 60
    before = generator.get_state()
    plan.unet = UViTConfig(**TINY)
    assert BaseTask._shown_besides(task, network, X_0, told, TIMES, NOISE, generator) is told
    assert torch.equal(before, generator.get_state())  # switched off, not even a number is drawn


CONFIG = """
out = "out"
stage = "{stage}"
text_encoder = "{encoder}"
[data]
path = "pictures"
side = 16
held_out = 0.0
[network]
self_conditioning = true
{network}
[run]
steps = 5
batch_size = 2
preview_minutes = 5.0
[samples]
steps = 3
"""
SMALL = "patch_size = 2\nchannels = 16\nwidth = 32\ndepth = 2\nper_head_channels = 16\ntime_embed_dim = 32"


@pytest.fixture
def config(tmp_path, models):
    (tmp_path / "pictures").mkdir()
    for i in range(3):
        Image.new("RGB", (16, 16), (80 * i, 0, 0)).save(tmp_path / "pictures" / f"{i}.png")
    path = tmp_path / "run.toml"

    def read(stage: str = "base64", network: str = SMALL):
        path.write_text(CONFIG.format(encoder=models / "text_encoder", stage=stage, network=network))
        return read_run_config(path)

    return read


def test_a_stage_trained_so_draws_so(config, models):
    asked = config()
    train_own(asked)
    stage = load_stage(asked.out / "base64.safetensors")
    assert stage.spec.unet_config.self_conditioning and stage.predictor.self_conditioned
    encoder = load_text_encoder(models / "text_encoder")
    prompt = Prompt(text=encoder.encode(["a"]))
    drawn = sample_base(stage, prompt, Draw(seeds=[0, 1], steps=3), height=16, width=24)
    alone = sample_base(stage, prompt, Draw(seeds=[1], steps=3), height=16, width=24)
    assert drawn.shape == (2, 3, 16, 24)
    torch.testing.assert_close(drawn[1:], alone, atol=1e-4, rtol=1e-4)  # a batch's pictures do not see each other


def test_networks_that_cannot_be_told_of_it_say_so(config):
    with pytest.raises(ValueError, match=r"unknown settings \['self_conditioning'\] for a 'base' network"):
        train_own(config(network='kind = "base"'))
    with pytest.raises(ValueError, match=r"\[network\] has no setting 'self_conditioning'"):
        train_own(config(stage="sr256", network=""))
