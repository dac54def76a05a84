"""Is OpenAI's noisy classifier the network it was, and does its gradient guide as published?

Oracles: the way down of diffusers' UNet2DModel, torch's own multi-head attention, and for the guidance the published
ancestral step.
"""

from __future__ import annotations

import sys
from pathlib import Path

import pytest
import torch
from safetensors.torch import save_file
from torch.nn import functional as F

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

from deepfloyd_fixtures import original_weights

from imagen_core.checkpoints.readers.adm_classifier import config_from_shapes, key_map
from imagen_core.classifiers.loading import load_classifier
from imagen_core.classifiers.network import ClassifierConfig, NoisyClassifier
from imagen_core.conditioning import Signals
from imagen_core.denoiser import Denoiser
from imagen_core.guidance.classifier import ClassifierGuidance
from imagen_core.predictor import Point, Predictor
from imagen_core.schedules.cosine import CosineSchedule
from imagen_core.schedules.discrete import DiscreteSchedule
from imagen_core.schedules.flow import FlowSchedule
from imagen_core.thresholding.none import NoThresholding
from imagen_core.unets import ADMConfig

WIDTHS, CLASSES, SIDE = (32, 32, 32, 32, 64), 5, 32


@pytest.fixture(scope="module")
def peer():
    """diffusers' network, of which the way down is the classifier's."""
    from diffusers import UNet2DModel

    torch.manual_seed(0)
    network = UNet2DModel(
        sample_size=SIDE,
        layers_per_block=2,
        block_out_channels=WIDTHS,
        down_block_types=("ResnetDownsampleBlock2D",) * 4 + ("AttnDownBlock2D",),
        up_block_types=("AttnUpBlock2D",) + ("ResnetUpsampleBlock2D",) * 4,
        downsample_type="resnet",
        upsample_type="resnet",
        resnet_time_scale_shift="scale_shift",
        attention_head_dim=64,
        attn_norm_num_groups=32,
    )
    return network.eval().requires_grad_(False)


@pytest.fixture(scope="module")
def head():
    """The classifier's end, as it is stored."""
    generator = torch.Generator().manual_seed(1)
    positions = (SIDE // 16) ** 2 + 1
    shapes = {
        "out.0.weight": (64,),
        "out.0.bias": (64,),
        "out.2.positional_embedding": (64, positions),
        "out.2.qkv_proj.weight": (192, 64, 1),
        "out.2.qkv_proj.bias": (192,),
        "out.2.c_proj.weight": (CLASSES, 64, 1),
        "out.2.c_proj.bias": (CLASSES,),
    }
    return {key: 0.2 * torch.randn(shape, generator=generator) for key, shape in shapes.items()}


@pytest.fixture(scope="module")
def path(peer, head, tmp_path_factory):
    trunk = {
        key: value.contiguous()
        for key, value in original_weights(peer).items()
        if not key.startswith(("output_blocks", "out."))
    }
    path = tmp_path_factory.mktemp("classifier") / "32x32_classifier.safetensors"
    save_file(trunk | head, path)
    return path


@pytest.fixture(scope="module")
def classifier(path):
    return load_classifier(path)


def noisy(batch=2, seed=2):
    return torch.randn(batch, 3, SIDE, SIDE, generator=torch.Generator().manual_seed(seed))


def expected_logits(peer, head, x_t, time):
    """diffusers' way down, then the pooling as torch's own attention computes it."""
    embedding = peer.time_embedding(peer.time_proj(torch.full((len(x_t),), time)).to(x_t.dtype))
    x = peer.conv_in(x_t)
    for block in peer.down_blocks:
        x, _ = block(x, embedding)
    x = peer.mid_block(x, embedding)
    x = F.silu(F.group_norm(x, 32, head["out.0.weight"], head["out.0.bias"]))
    tokens = x.flatten(2)  # b c m
    tokens = torch.cat([tokens.mean(2, keepdim=True), tokens], 2) + head["out.2.positional_embedding"]
    tokens = tokens.permute(2, 0, 1)  # m b c
    pooled, _ = F.multi_head_attention_forward(
        query=tokens[:1],
        key=tokens,
        value=tokens,
        embed_dim_to_check=64,
        num_heads=1,
        in_proj_weight=head["out.2.qkv_proj.weight"][..., 0],
        in_proj_bias=head["out.2.qkv_proj.bias"],
        bias_k=None,
        bias_v=None,
        add_zero_attn=False,
        dropout_p=0.0,
        out_proj_weight=head["out.2.c_proj.weight"][..., 0] @ torch.eye(64),
        out_proj_bias=head["out.2.c_proj.bias"],
    )
    return pooled[0]


@pytest.mark.parametrize("time", [0, 500, 999])
def test_its_logits_are_the_published_networks(peer, head, classifier, time):
    with torch.inference_mode():
        found = classifier.network(noisy(), torch.full((2,), float(time)))
        expected = expected_logits(peer, head, noisy(), time)
    assert expected.std() > 0.05 and (found - expected).abs().max() < 4e-6


def told(schedule, t, x_t):
    return Point.on(schedule, x_t, torch.tensor(t, dtype=torch.float64))


@pytest.mark.parametrize("schedule", [CosineSchedule(), FlowSchedule()], ids=lambda schedule: schedule.name)
def test_it_is_asked_at_the_time_at_which_its_own_pictures_are_as_noisy(classifier, schedule):
    at = told(schedule, 0.4, noisy())
    scale = (at.alpha**2 + at.sigma**2) ** 0.5
    table = classifier.schedule.alpha_bar_table
    nearest = (table.log() - (1 - table).log() - 2 * (at.alpha.double().log() - at.sigma.double().log())).abs().argmin()
    expected = classifier.network((at.x_t / scale).float(), torch.full((2,), float(nearest))).log_softmax(1)
    torch.testing.assert_close(classifier.log_probabilities(at), expected)


def test_on_its_own_schedule_it_gets_the_timestep_itself(classifier):
    for timestep in (0, 1, 37, 500, 999):
        at = told(DiscreteSchedule(betas="linear"), timestep / 999, noisy())
        assert classifier._timestep(at).tolist() == [timestep] * 2


def still(x_t, time, signals):
    return torch.zeros_like(x_t)


def test_the_pull_is_the_published_score_term(classifier):
    """DDIM's form (Algorithm 2): eps - sqrt(1 - alpha_bar) scale grad log p; each image its own class, alone as together."""
    schedule, t = DiscreteSchedule(betas="linear"), torch.tensor(400 / 999, dtype=torch.float64)
    predictor = Predictor(network=still, schedule=schedule, prediction_type="eps")

    def denoised(x_t, *labels):
        guidance = ClassifierGuidance(classifier=classifier, labels=labels, scale=3.0)
        return Denoiser(predictor, {"cond": Signals()}, guidance=guidance, thresholding=NoThresholding())(x_t, t)

    with torch.inference_mode():  # as hosts run nodes
        found = denoised(noisy(), 1, 4)
        alone = denoised(noisy()[1:], 4)
    x_t = noisy().requires_grad_()
    log_p = classifier.network(x_t, torch.full((2,), 400.0)).log_softmax(1)
    (gradient,) = torch.autograd.grad(log_p[0, 1] + log_p[1, 4], x_t)
    expected = -((1 - schedule.alpha_bar_table[400]) ** 0.5) * 3.0 * gradient
    assert gradient.abs().max() > 1e-4
    torch.testing.assert_close(found.eps, expected.float(), rtol=1e-3, atol=1e-5)
    torch.testing.assert_close(alone.x_0, found.x_0[1:], rtol=1e-3, atol=3e-4)  # kernels differ with the batch


@pytest.mark.parametrize(("steps", "least", "most"), [(1000, 0.97, 1.0), (25, 0.7, 0.9)])
def test_the_published_ancestral_form_is_weaker_the_fewer_steps_there_are(steps, least, most):
    """Its shift of a step's mean, variance * gradient, against what the same gradient in x_0 does to that mean."""
    table = DiscreteSchedule(betas="linear").alpha_bar_table
    timesteps = torch.linspace(0, 999, steps).round().long()
    bars = table[timesteps]
    before = torch.cat([bars.new_ones(1), bars[:-1]])
    beta = 1 - bars / before
    mean_by_x_0 = before.sqrt() * beta / (1 - bars)  # DDPM, Eq. 7: what a change of x_0 does to the mean
    ratio = beta / (mean_by_x_0 * (1 - bars) / bars.sqrt())
    assert least < ratio.median() < most


FILES = {  # side, widths, blocks, levels that attend, millions of parameters (adm.md)
    64: ((128, 256, 384, 512), 4, (1, 2, 3), 65.4),
    128: ((128, 128, 256, 384, 512), 2, (2, 3, 4), 42.6),
    256: ((128, 128, 256, 256, 512, 512), 2, (3, 4, 5), 54.1),
    512: ((64, 128, 128, 256, 256, 512, 512), 2, (4, 5, 6), 54.4),
}


@pytest.mark.parametrize("side", FILES)
def test_published_sizes(side):
    channels, depth, attending, millions = FILES[side]
    adm = ADMConfig(
        channels=channels,
        num_res_blocks=(depth,) * len(channels),
        attention=tuple(level in attending for level in range(len(channels))),
        time_width=128,
        time_embed_dim=512,
    )
    with torch.device("meta"):
        network = NoisyClassifier(ClassifierConfig(adm=adm, num_classes=1000, image_size=side))
    assert round(sum(parameter.numel() for parameter in network.parameters()) / 1e6, 1) == millions
    shapes = {key: shape for entry in key_map(network).values() for key, shape in entry.parts.items()}
    assert shapes["out.2.positional_embedding"] == (512, 65)
    assert config_from_shapes(shapes) == network.config


def test_what_does_not_fit_is_named(classifier):
    with pytest.raises(ValueError, match="label 5 is no class.*5, 0 to 4"):
        ClassifierGuidance(classifier=classifier, labels=(0, 5))
    with pytest.raises(ValueError, match="32x32.*16x32"):
        classifier.network(torch.zeros(1, 3, 32, 16), torch.zeros(1))
    with pytest.raises(ValueError, match="3 labels for 2 images"):
        ClassifierGuidance(classifier=classifier, labels=(0, 1, 2)).log_probability(
            told(CosineSchedule(), 0.5, noisy())
        )
    assert not ClassifierGuidance(labels=(1,)).active(0.5) and not ClassifierGuidance(classifier=classifier).active(0.5)
