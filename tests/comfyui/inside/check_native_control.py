"""Do our controls steer a native MODEL: under KSampler, by ComfyUI's own Apply ControlNet, as under our own sampler?"""

import importlib

import pytest
import torch
from comfy import model_management
from comfy.controlnet import T2IAdapter
from comfy.patcher_extension import WrappersMP
from comfy.t2i_adapter.adapter import Adapter_light

STEPS = 5
SIDE = 16
ON = {"strength": 0.7, "start_percent": 0.3, "end_percent": 0.7}


@pytest.fixture
def stage(make_stage):
    return make_stage(prediction_type="v")  # its pictures remember every step; x_0's, only the last


@pytest.fixture
def make_net(core, pack, stage, tmp_path):
    """make_net("controlnet") -> an adapter of random weights for the stage, as Imagen Load Control returns it."""
    managed = importlib.import_module(f"{pack.__name__}.nodes._host").managed

    def make(name="controlnet", **config):
        kind = core.ADAPTERS[name]
        torch.manual_seed(1)
        config = {"kinds": ("edges", "palette"), **config} if name != "image_prompt" else config
        network = core.build_adapter(name, kind.config_cls(**config, **kind.config_cls.tiny), stage.spec.unet_config)
        for parameter in network.requires_grad_(False).parameters():
            torch.nn.init.normal_(parameter, std=0.2)
        core.save_adapter(tmp_path / f"{name}.safetensors", network, core.AdapterSpec.of(network, stage))
        return managed(core.load_adapter(tmp_path / f"{name}.safetensors"))

    return make


@pytest.fixture
def palette(run):
    return run("ImagenPalette", image=torch.rand(1, 20, 20, 3, generator=torch.Generator().manual_seed(0)), cells=4)[0]


@pytest.fixture
def sample(run):
    def draw(model, positive, negative, *, cfg=2.0, batch=1, side=SIDE):
        latent = run("ImagenEmptyPixels", width=side, height=side, batch_size=batch)[0]
        chosen = {"seed": 5, "steps": STEPS, "cfg": cfg, "sampler_name": "dpmpp_2m", "scheduler": "exponential"}
        inputs = {"model": model, "positive": positive, "negative": negative, "latent_image": latent}
        return run("KSampler", **inputs, **chosen)[0]["samples"]

    return draw


@pytest.fixture
def ours(core, stage, prompt):
    """ours(controls) -> what our own sampler draws with them."""

    def draw(controls, scale=2.0):
        guided = {"guidance": core.make_guidance(scale=scale), "thresholding": core.make_thresholding("none")}
        drawing = core.Draw(seeds=[5], steps=STEPS, controls=controls, **guided)
        return core.sample_base(stage, prompt, drawing, height=SIDE, width=SIDE)

    return draw


def assert_same(theirs, ours):
    torch.testing.assert_close(theirs.clamp(-1, 1), ours, rtol=0, atol=1e-3)
    assert ours.std() > 0.05 and (ours.abs() < 0.999).float().mean() > 0.1, "a flat or a burned picture proves nothing"


def right_half():
    mask = torch.zeros(1, SIDE, SIDE)
    mask[..., SIDE // 2 :] = 1.0
    return mask


@pytest.mark.parametrize("name", ["controlnet", "t2i_adapter"])
@pytest.mark.parametrize("more", [{}, ON, {"mask": True}, {"curve": "cosine", **ON}, {"apply_to_null": False}])
def test_a_control_travels_with_the_model(run, sample, ours, stage, prompt, make_net, palette, name, more):
    more = {**more, **({"mask": right_half()} if "mask" in more else {})}
    control = run("ImagenControl", control_net=make_net(name), image=palette, **more)[0]
    drawn = sample(*run("ImagenToModel", unet=stage, text=prompt, control=control))
    assert_same(drawn, ours(control))
    plain = sample(*run("ImagenToModel", unet=stage, text=prompt))
    assert (drawn - plain).abs().max() > 5e-3


def test_off_it_is_bit_equal_to_none(run, sample, stage, prompt, make_net, palette):
    control = run("ImagenControl", control_net=make_net(), image=palette, strength=0.0)[0]
    plain = sample(*run("ImagenToModel", unet=stage, text=prompt))
    assert torch.equal(sample(*run("ImagenToModel", unet=stage, text=prompt, control=control)), plain)


def test_each_call_of_the_network_is_bit_equal_to_ours(run, core, sample, stage, prompt, make_net, palette):
    """The samplers' arithmetic differs in the last digits, so the very calls are compared: same x_t, same output."""
    control = run("ImagenControl", control_net=make_net(), image=palette, mask=right_half(), **ON)[0]
    model, positive, negative = run("ImagenToModel", unet=stage, text=prompt, control=control)
    calls = []

    def watched(executor, x_t, time, told, options):
        output = executor(x_t, time, told, options)
        calls.append((x_t, time, told.steering, output))
        return output

    model.add_wrapper_with_key(WrappersMP.DIFFUSION_MODEL, "watched", watched)
    sample(model, positive, negative, cfg=1.0)
    (only,) = control
    told = stage.encode_prompt(prompt, 1)
    steering = only.steering(stage, stage.texts(prompt), told, 1, (SIDE, SIDE))["cond"]
    network = core.Steered(stage.unet)
    for x_t, time, steered, output in calls:
        expected = told["cond"] + core.Signals(steering=(steering,) if steered else ())
        assert torch.equal(network(x_t, time, expected), output)
    assert 0 < sum(bool(steered) for _, _, steered, _ in calls) < STEPS


def test_apply_controlnet_is_imagen_control(run, sample, stage, prompt, make_net, palette):
    net = make_net()
    control = run("ImagenControl", control_net=net, image=palette, **ON)[0]
    expected = sample(*run("ImagenToModel", unet=stage, text=prompt, control=control))
    model, positive, negative = run("ImagenToModel", unet=stage, text=prompt)
    theirs = run("ImagenToControlNet", control_net=net)[0]
    both = {"positive": positive, "negative": negative, "control_net": theirs, "image": palette}
    assert torch.equal(sample(model, *run("ControlNetApplyAdvanced", **both, **ON)), expected)
    off = run("ControlNetApplyAdvanced", **both, strength=0.0)
    assert torch.equal(sample(model, *off), sample(model, positive, negative))


def test_several_are_chained_and_survive_being_moved_away(run, sample, ours, stage, prompt, make_net, palette):
    nets = [make_net(name) for name in ("controlnet", "t2i_adapter")]
    control = ()
    for net, more in zip(nets, [ON, {"strength": 0.5}], strict=True):
        control = run("ImagenControl", control_net=net, image=palette, previous=control, **more)[0]
    model, *conds = run("ImagenToModel", unet=stage, text=prompt)
    for net, more in zip(nets, [ON, {"strength": 0.5}], strict=True):
        theirs = run("ImagenToControlNet", control_net=net)[0]
        two = dict(zip(["positive", "negative"], conds, strict=True))
        conds = run("ControlNetApplyAdvanced", **two, control_net=theirs, image=palette, **more)
    drawn = sample(model, *conds)
    assert_same(drawn, ours(control))
    model_management.unload_all_models()
    assert torch.equal(sample(model, *conds), drawn)


def test_an_image_prompt_travels_too(run, sample, ours, stage, prompt, make_net, palette):
    control = run("ImagenImagePrompt", image_prompt=make_net("image_prompt"), image=palette, end_at=0.8)[0]
    drawn = sample(*run("ImagenToModel", unet=stage, text=prompt, control=control))
    assert_same(drawn, ours(control))
    assert (drawn - sample(*run("ImagenToModel", unet=stage, text=prompt))).abs().max() > 5e-3


def test_a_hint_for_each_picture_of_a_batch(run, sample, stage, prompt, make_net, palette):
    net = run("ImagenToControlNet", control_net=make_net())[0]
    model, positive, negative = run("ImagenToModel", unet=stage, text=prompt)
    both = {"positive": positive, "negative": negative, "control_net": net}
    hints = torch.cat([palette, palette.flip(1)])
    drawn = sample(model, *run("ControlNetApplyAdvanced", **both, image=hints), batch=2)
    for i in range(2):
        alone = sample(model, *run("ControlNetApplyAdvanced", **both, image=hints[i : i + 1]), batch=2)
        torch.testing.assert_close(drawn[i], alone[i], rtol=0, atol=1e-4)
    with pytest.raises(ValueError, match="2 hints for 3 pictures: give one hint, or one a picture"):
        sample(model, *run("ControlNetApplyAdvanced", **both, image=hints), batch=3)


def test_what_fits_no_stage_is_one_sentence(run, sample, stage, make_stage, prompt, make_net, palette, host_model,
                                            host_conditioning):  # fmt: skip
    net = make_net()
    theirs = run("ImagenToControlNet", control_net=net)[0]
    other = make_stage(prediction_type="v")
    with torch.no_grad():
        for parameter in other.unet.parameters():
            parameter.neg_()
    model, positive, negative = run("ImagenToModel", unet=other, text=prompt)
    both = {"positive": positive, "negative": negative, "image": palette}
    with pytest.raises(ValueError, match="this control was made for a base64 stage with other weights"):
        sample(model, *run("ControlNetApplyAdvanced", **both, control_net=theirs))
    model = run("ImagenToModel", unet=stage, text=prompt)[0]
    foreign = T2IAdapter(Adapter_light(channels=[16, 16], nums_rb=1), 3, 8, "nearest-exact", torch.device("cpu"))
    for first, second in [(foreign, theirs), (theirs, foreign)]:
        conds = run("ControlNetApplyAdvanced", **both, control_net=first)
        two = {**both, **dict(zip(["positive", "negative"], conds, strict=True))}
        with pytest.raises(ValueError, match="ControlNets of ComfyUI's own .* connect Imagen To ControlNet"):
            sample(model, *run("ControlNetApplyAdvanced", **two, control_net=second))
    both |= dict(zip(["positive", "negative"], host_conditioning, strict=True))
    latent = {"samples": torch.zeros(1, 4, 4, 4)}
    chosen = {"seed": 5, "steps": 2, "cfg": 2.0, "sampler_name": "euler", "scheduler": "simple"}
    conds = run("ControlNetApplyAdvanced", **both, control_net=theirs)
    with pytest.raises(ValueError, match="this control was trained for an Imagen stage, and the MODEL is none"):
        run("KSampler", model=host_model, positive=conds[0], negative=conds[1], latent_image=latent, **chosen)


def test_super_resolution_is_controlled_too(run, core, sample, make_stage, palette, pack, tmp_path):
    stage = make_stage("sr256", "v")
    kind = core.ADAPTERS["t2i_adapter"]
    torch.manual_seed(1)
    network = core.build_adapter(
        "t2i_adapter", kind.config_cls(kinds=("palette",), **kind.config_cls.tiny), stage.spec.unet_config
    )
    for parameter in network.requires_grad_(False).parameters():
        torch.nn.init.normal_(parameter, std=0.2)
    net = core.LoadedAdapter(network=network, spec=core.AdapterSpec.of(network, stage))
    control = run("ImagenControl", control_net=net, image=palette, end_percent=0.6)[0]
    small = torch.rand(1, 4, 4, 3, generator=torch.Generator().manual_seed(2))
    conds = run("ImagenToModel", unet=stage, low_res=small, aug_seed=5, control=control)
    guided = {"guidance": core.make_guidance(scale=1.0), "thresholding": core.make_thresholding("none")}
    draw = core.Draw(seeds=[5], steps=STEPS, controls=control, **guided)
    expected = core.super_resolve(stage, small.movedim(-1, 1) * 2 - 1, None, draw, factor=4)
    assert_same(sample(*conds, cfg=1.0), expected)
    plain = run("ImagenToModel", unet=stage, low_res=small, aug_seed=5)
    assert (sample(*plain, cfg=1.0) - expected).abs().max() > 5e-3
