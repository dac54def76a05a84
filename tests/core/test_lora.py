"""Is a LoRA learned, kept in the layout that ComfyUI reads, and laid over weights as its formula says?"""

from __future__ import annotations

import dataclasses

import pytest
import torch
from safetensors.torch import load_file

from imagen_core import (
    Draw,
    LoraSettings,
    Prompt,
    Stage,
    StageSpec,
    TextEmbeds,
    build_unet,
    draw_class,
    find_loras,
    fit_lora,
    read_lora,
    sample_base,
    save_lora,
    with_lora,
)
from imagen_core.losses import diffusion_loss
from imagen_core.schedules import SCHEDULES
from imagen_core.unets import BaseUNetConfig, DeepFloydUNetConfig, EfficientUNetConfig

BASE = BaseUNetConfig(
    image_size=8, channels=16, channel_mult=(1, 2), num_res_blocks=1, attention_resolutions=(4,), per_head_channels=16,
    text_embed_dim=16,
)  # fmt: skip
DEEPFLOYD = DeepFloydUNetConfig(
    channels=(32, 32), num_res_blocks=(1, 1), attention=(False, True), per_head_channels=32, text_width=32,
    text_embed_dim=64, pooling_heads=4,
)  # fmt: skip
SETTINGS = LoraSettings(rank=2, steps=30, batch_size=4, learning_rate=0.03, drop_captions=0.0)


def _stage(config=BASE, schedule: str = "cosine", prediction_type: str = "x_0", stage: str = "base64") -> Stage:
    torch.manual_seed(0)
    unet = build_unet(config).eval().requires_grad_(False)
    for parameter in unet.parameters():
        torch.nn.init.normal_(parameter, std=0.05)
    spec = StageSpec(
        stage=stage, unet_config=config, schedule_config={"name": schedule}, prediction_type=prediction_type
    )
    return Stage(unet=unet, schedule=SCHEDULES[schedule](), spec=spec)


def _prompts(width: int = 16, tokens: int = 3, negative: bool = False) -> list[Prompt]:
    torch.manual_seed(1)
    texts = [
        TextEmbeds(embeds=torch.randn(1, tokens, width), mask=torch.ones(1, tokens, dtype=torch.bool)) for _ in range(4)
    ]
    return [Prompt(text=text, negative=texts[-1] if negative else None) for text in texts[:2]]


def _pictures(side: int = 8) -> torch.Tensor:
    return torch.stack([torch.full((3, side, side), -0.5), torch.full((3, side, side), 0.7)])


def _error(stage: Stage) -> float:
    """The loss of the two pictures at many times, always with the same noise."""
    generator = torch.Generator().manual_seed(5)
    x_0, text = _pictures().repeat(32, 1, 1, 1), _prompts()
    embeds = torch.cat([prompt.text.embeds for prompt in text]).repeat(32, 1, 1)
    told = stage.unet.encode_text(TextEmbeds(embeds=embeds, mask=torch.ones(64, 3, dtype=torch.bool)))
    return diffusion_loss(
        lambda x_t, time: stage.unet(x_t, time, told),
        x_0,
        schedule=stage.schedule,
        prediction_type=stage.spec.prediction_type,
        times=torch.linspace(0.05, 0.95, 64),
        noise=torch.randn(x_0.shape, generator=generator),
    ).item()


@pytest.mark.parametrize("targets", ["linear", "all"])
def test_it_learns_inside_inference_mode_and_leaves_the_base_alone(targets):
    with torch.inference_mode():  # as hosts load and run
        stage = _stage()
        before = {name: weight.clone() for name, weight in stage.unet.state_dict().items()}
        losses: list[float] = []
        lora = fit_lora(
            stage,
            _pictures(),
            _prompts(),
            dataclasses.replace(SETTINGS, targets=targets),
            lambda step, total, loss: losses.append(loss),
        )
    assert len(losses) == 30 and _error(with_lora(stage, lora)) < {"linear": 0.95, "all": 0.6}[targets] * _error(stage)
    assert all(torch.equal(weight, before[name]) for name, weight in stage.unet.state_dict().items())
    assert not any(module._forward_hooks for module in stage.unet.modules())
    kernels = {change.down.ndim for change in lora.changes.values()}
    assert kernels == ({2} if targets == "linear" else {2, 4}) and lora.training["pictures"] == 2
    again = fit_lora(stage, _pictures(), _prompts(), dataclasses.replace(SETTINGS, targets=targets))
    assert all(torch.equal(lora.changes[name].up, again.changes[name].up) for name in lora.changes)


def test_merged_weights_are_the_formula_and_the_rest_is_shared(tmp_path):
    stage = _stage()
    lora = fit_lora(stage, _pictures(), _prompts(), dataclasses.replace(SETTINGS, steps=2, targets="all"))
    path = save_lora(tmp_path / "loras" / "a.safetensors", lora, dtype=torch.float32)
    stored = load_file(path)
    merged = with_lora(stage, read_lora(path), 0.5)
    weights, changed = stage.unet.state_dict(), merged.unet.state_dict()
    # What ComfyUI's loader does for a weight called diffusion_model.NAME.weight in its model.
    names = {f"diffusion_model.{key.removesuffix('.weight')}": key for key in weights if key.endswith(".weight")}
    layers = {key.removesuffix(".lora_up.weight") for key in stored if key.endswith(".lora_up.weight")}
    assert layers and layers <= names.keys() and len(stored) == 3 * len(layers)
    for layer in layers:
        up, down = stored[f"{layer}.lora_up.weight"], stored[f"{layer}.lora_down.weight"]
        scale = 0.5 * stored[f"{layer}.alpha"].item() / down.shape[0]
        key = names[layer]
        expected = weights[key] + scale * torch.mm(up.flatten(1), down.flatten(1)).reshape(weights[key].shape)
        torch.testing.assert_close(changed[key], expected, rtol=1e-5, atol=1e-7)
    untouched = set(weights) - {names[layer] for layer in layers}
    assert untouched and all(changed[key].data_ptr() == weights[key].data_ptr() for key in untouched)
    nothing = with_lora(stage, lora, 0.0).unet.state_dict()
    assert all(torch.equal(nothing[key], weights[key]) for key in weights)
    assert list(find_loras(tmp_path)) == [path]


def test_what_was_learned_beside_the_layers_is_what_is_merged():
    from imagen_core.lora.fitting import LowRankLayer, beside, key_of, layers_to_change
    from imagen_core.lora.low_rank import Lora, LowRank

    stage, generator = _stage(), torch.Generator().manual_seed(0)
    layers = layers_to_change(stage.unet, dataclasses.replace(SETTINGS, targets="all"))
    changes = torch.nn.ModuleDict({key_of(name): LowRankLayer(layer, 2, generator) for name, layer in layers.items()})
    for change in changes.values():
        torch.nn.init.normal_(change.up, std=0.1)
    x, time, one = torch.randn(2, 3, 8, 8), torch.tensor([100.0, 700.0]), _prompts()[0].text
    text = TextEmbeds(embeds=one.embeds.repeat(2, 1, 1), mask=one.mask.repeat(2, 1))
    lora = Lora(
        changes={
            name: LowRank(up=changes[key_of(name)].up, down=changes[key_of(name)].down, alpha=2.0) for name in layers
        }
    )
    with torch.no_grad():
        plain = stage.unet(x, time, stage.unet.encode_text(text))
        with beside(layers, changes):
            learned = stage.unet(x, time, stage.unet.encode_text(text))
        network = with_lora(stage, lora).unet
        merged = network(x, time, network.encode_text(text))
    torch.testing.assert_close(learned, merged, rtol=1e-4, atol=1e-5)
    assert (learned - plain).abs().max() > 0.01


def test_class_pictures_are_what_the_base_draws_of_each_prompt_in_turn():
    stage, prompts, steps = _stage(), _prompts(), []
    prior = draw_class(stage, prompts, 3, side=8, seed=7, callback=lambda *step: steps.append(step))
    for i, k in enumerate((0, 1, 0)):
        alone = sample_base(stage, prompts[k], Draw(seeds=[7 + i]), height=8, width=8)
        torch.testing.assert_close(prior.pictures[i : i + 1], alone, rtol=0, atol=1e-5)
        assert prior.prompts[i] is prompts[k]
    assert len(steps) == 50  # 25 for each prompt's batch
    with pytest.raises(ValueError, match="1 class pictures for 2 class prompts"):
        draw_class(stage, prompts, 1)
    with pytest.raises(ValueError, match="no class prompts"):
        draw_class(stage, [], 4)


def test_prior_preservation_adds_its_weighted_loss_and_keeps_what_was_drawn():
    stage, (taught, kept) = _stage(), _prompts()
    prior = draw_class(stage, [kept], 4, side=8)
    first, others = {}, {}
    for weight in (None, 0.0, 1.0, 3.0):
        losses: list[float] = []
        settings = dataclasses.replace(SETTINGS, prior_loss_weight=weight or 0.0)
        report = lambda step, total, loss: losses.append(loss)  # noqa: B023
        lora = fit_lora(stage, _pictures()[:1], [taught], settings, report, None if weight is None else prior)
        first[weight], others[weight] = losses[0], _distance(stage, with_lora(stage, lora), kept)
        assert lora.training["class_pictures"] == (0 if weight is None else 4)
    assert first[3.0] - first[0.0] == pytest.approx(3 * (first[1.0] - first[0.0]), rel=1e-4)  # L + lambda L_prior
    assert others[1.0] < 0.5 * others[None]


def _distance(one: Stage, other: Stage, prompt: Prompt) -> float:
    """Mean difference of what two stages draw of a prompt from the same seeds."""
    pictures = [sample_base(stage, prompt, Draw(seeds=range(4), steps=8), height=8, width=8) for stage in (one, other)]
    return (pictures[0] - pictures[1]).abs().mean().item()


def test_deepfloyds_network_learns_at_its_own_timesteps_without_its_variance():
    stage = _stage(DEEPFLOYD, "discrete", "eps")
    settings = dataclasses.replace(SETTINGS, steps=2, drop_captions=0.5)
    lora = fit_lora(stage, _pictures(16), _prompts(64, 77, negative=True), settings)
    assert any("attention.text" in name for name in lora.changes) and any(
        c.up.abs().max() > 0 for c in lora.changes.values()
    )
    times = stage.schedule.trained(torch.rand(50)) * 999
    torch.testing.assert_close(times, times.round(), rtol=0, atol=1e-3)


def test_stopped_in_a_report_nothing_stays_on_the_network():
    stage = _stage()

    def stop(step: int, total: int, loss: float) -> None:
        raise InterruptedError

    with pytest.raises(InterruptedError):
        fit_lora(stage, _pictures(), _prompts(), SETTINGS, stop)
    assert not any(module._forward_hooks for module in stage.unet.modules())


def test_what_does_not_fit_is_said(tmp_path):
    stage = _stage()
    lora = fit_lora(stage, _pictures(), _prompts(), dataclasses.replace(SETTINGS, steps=1))
    wider = dataclasses.replace(BASE, channels=32)
    with pytest.raises(ValueError, match="this LoRA was made for another network"):
        with_lora(_stage(wider), lora)
    with pytest.raises(ValueError, match="this LoRA changes .* load it on its own base"):
        with_lora(_stage(wider), dataclasses.replace(lora, base=None))
    with pytest.raises(ValueError, match="1 captions for 2 pictures"):
        fit_lora(stage, _pictures(), _prompts()[:1], SETTINGS)
    enlarger = EfficientUNetConfig(
        channels=(16,), num_res_blocks=(1,), strides=(1,), self_attention=(False,), text_cross_attention=(False,),
        text_embed_dim=None,
    )  # fmt: skip
    with pytest.raises(ValueError, match="sr256 does not"):
        fit_lora(_stage(enlarger, stage="sr256"), _pictures(), _prompts(), SETTINGS)
    with pytest.raises(ValueError, match="step 0: the loss is nan, from pictures"):
        fit_lora(stage, _pictures() * float("nan"), _prompts(), SETTINGS)
    for wrong in ({"rank": 0}, {"targets": "none"}, {"learning_rate": 2.0}, {"prior_loss_weight": -1.0}):
        with pytest.raises(ValueError, match=next(iter(wrong))):
            LoraSettings(**wrong)
    path = save_lora(tmp_path / "nan.safetensors", lora)
    bad = dataclasses.replace(next(iter(lora.changes.values())), alpha=1.0, up=torch.full((3, 2), float("nan")))
    save_lora(path, dataclasses.replace(lora, changes={"stem": bad}))
    with pytest.raises(ValueError, match="'diffusion_model.stem' holds NaN"):
        read_lora(path)


def test_it_says_how_its_stage_wants_to_be_sampled(tmp_path):
    stage = _stage()
    lora = dataclasses.replace(
        fit_lora(stage, _pictures(), _prompts(), dataclasses.replace(SETTINGS, steps=1)),
        defaults={"steps": 4, "guidance_scale": 1.0, "sampler": "ddim"},
    )
    kept = read_lora(save_lora(tmp_path / "few.safetensors", lora))
    assert kept.defaults == lora.defaults
    assert with_lora(stage, kept).spec.defaults == {**stage.spec.defaults, **lora.defaults}
    assert with_lora(stage, kept, strength=0.0).spec == stage.spec
    for wrong in ({"steps": "four"}, {"sampler": 4}):
        path = save_lora(tmp_path / "wrong.safetensors", dataclasses.replace(lora, defaults=wrong))
        with pytest.raises(ValueError, match=r"wrong.safetensors: metadata 'defaults'.*download the file again"):
            read_lora(path)
