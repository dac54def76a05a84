"""Do controls change nothing where they are off, what they should where they are on, and refuse what does not belong?"""

from __future__ import annotations

from dataclasses import replace

import pytest
import torch
from test_unets import CONFIGS, make_inputs, make_text, randomised

from imagen_core import (
    ADAPTERS,
    COMBINE,
    WEIGHT_TYPES,
    AdapterSpec,
    Control,
    Draw,
    LoadedAdapter,
    Prompt,
    Stage,
    StageSpec,
    build_adapter,
    is_stage_checkpoint,
    load_adapter,
    sample_base,
    save_adapter,
    super_resolve,
)
from imagen_core.adapters import Given, sight_of
from imagen_core.adapters._layer_weights import layer_weights
from imagen_core.adapters._points import layout_of
from imagen_core.clip.config import ClipConfig
from imagen_core.clip.model import Clip
from imagen_core.clip.network import ClipNetwork
from imagen_core.conditioning import Signals, joined
from imagen_core.guidance.classifier_free import ClassifierFreeGuidance
from imagen_core.schedules.cosine import CosineSchedule
from imagen_core.steering import Steered, in_force
from imagen_core.unets.attention import attend
from imagen_core.unets.dit import DiTConfig

HINTED = [name for name, kind in ADAPTERS.items() if kind.takes_hint]
KINDS = ("edges", "palette")


def stage_of(config):
    enlarges = getattr(config, "low_res_conditioning", False)
    spec = StageSpec(
        stage="sr256" if enlarges else "base64",
        unet_config=config,
        schedule_config={"name": "cosine"},
        prediction_type="x_0",
        learned_variance=config.out_channels == 6,
    )
    return Stage(unet=randomised(config), schedule=CosineSchedule(), spec=spec)


def trained(name, stage, seed=5):
    """An adapter whose layers that start at zero are not zero any more."""
    torch.manual_seed(seed)
    network = build_adapter(name, settings_of(name), stage.spec.unet_config)
    for parameter in network.requires_grad_(False).parameters():
        if parameter.abs().max() == 0:
            parameter.normal_(0, 0.1)
    for key, buffer in network.named_buffers():
        if key.endswith("there"):  # which tokens its phrases have
            buffer.fill_(1.0)
    return LoadedAdapter(network=network.eval(), spec=AdapterSpec.of(network, stage))


@pytest.fixture(params=HINTED)
def name(request):
    return request.param


# What reads the small picture fits no stage that draws: see test_reference.py.
@pytest.fixture(params=[name for name, kind in ADAPTERS.items() if not kind.reads_small])
def any_name(request):
    return request.param


def settings_of(name):
    kind = ADAPTERS[name].config_cls
    return kind(**kind.tiny, **({"kinds": KINDS} if name in HINTED else {}))


@pytest.fixture(params=CONFIGS)
def stage(request):
    return stage_of(CONFIGS[request.param])


@pytest.fixture(scope="module")
def base():
    return stage_of(CONFIGS["u_vit, fine level, learned variance"])


PALETTE = torch.linspace(-1, 1, 3)[None, :, None, None].expand(1, 3, 16, 16)


def drawn(stage, *controls, seeds=(3, 4), scale=2.0, **sizes):
    draw = Draw(seeds=seeds, steps=2, controls=controls, guidance=ClassifierFreeGuidance(scale=scale))
    prompt = Prompt(text=make_text(1))
    if stage.spec.enlarges:
        return super_resolve(
            stage, torch.rand(len(seeds), 3, 4, 4, generator=torch.Generator().manual_seed(0)), prompt, draw
        )
    return sample_base(stage, prompt, draw, **{"height": 16, "width": 16, **sizes})


def test_an_untrained_adapter_changes_nothing(stage, any_name):
    network = build_adapter(any_name, settings_of(any_name), stage.spec.unet_config).requires_grad_(False)
    network.begin_as(stage.unet)
    fresh = LoadedAdapter(network=network, spec=AdapterSpec.of(network, stage))
    assert torch.equal(drawn(stage, Control(adapter=fresh, picture=PALETTE)), drawn(stage))


def test_a_trained_one_changes_pictures_of_any_size_and_at_strength_0_none(stage, any_name):
    control = Control(adapter=trained(any_name, stage), picture=PALETTE)
    plain = drawn(stage)
    assert torch.equal(drawn(stage, replace(control, strength=0.0)), plain)
    full, half = (drawn(stage, replace(control, strength=s)) for s in (1.0, 0.5))
    assert (full - plain).abs().max() > 1e-4 and (half - full).abs().max() > 1e-5
    if not stage.spec.enlarges:
        assert (drawn(stage, control, height=13, width=22) - drawn(stage, height=13, width=22)).abs().max() > 1e-4


def test_it_works_in_its_part_of_the_way_only(base, any_name):
    control = Control(adapter=trained(any_name, base), picture=PALETTE)
    plain = drawn(base)
    # Two steps of a cosine schedule begin at pure noise: one call at progress 0, and one in between.
    early, late, never = (
        drawn(base, replace(control, start=start, end=end))
        for start, end in ((0.0, 0.01), (0.01, 1.0), (0.0005, 0.001))
    )
    assert (early - plain).abs().max() > 1e-5 and (late - plain).abs().max() > 1e-5
    assert not torch.equal(early, late) and torch.equal(never, plain)


def test_controls_add_up_in_any_order(base, any_name):
    one = Control(adapter=trained(any_name, base), picture=PALETTE)
    other = Control(adapter=trained("t2i_adapter", base, seed=9), picture=-PALETTE, strength=0.5)
    both = drawn(base, one, other)
    torch.testing.assert_close(both, drawn(base, other, one), atol=1e-5, rtol=1e-4)
    assert (both - drawn(base, one)).abs().max() > 1e-4 and (both - drawn(base, other)).abs().max() > 1e-4


def test_a_batch_is_each_alone_with_its_own_hint_and_mask(base, any_name):
    hints, masks = torch.cat([PALETTE, -PALETTE]), torch.rand(2, 1, 16, 16, generator=torch.Generator().manual_seed(1))
    control = Control(adapter=trained(any_name, base), picture=hints, mask=masks)
    both = drawn(base, control)
    alone = drawn(base, replace(control, picture=hints[1:], mask=masks[1:]), seeds=(4,))
    torch.testing.assert_close(both[1:], alone, atol=1e-5, rtol=1e-4)


def signals_of(control, stage, size=(16, 16)):
    told = stage.encode_prompt(Prompt(text=make_text(1)), 2)
    steering = control.steering(stage, stage.texts(Prompt(text=make_text(1))), told, 2, size)
    x_t, time, _ = make_inputs(stage.unet, size=size)
    return {branch: each.signals(x_t, time).features for branch, each in steering.items()}


def test_outside_of_its_mask_nothing_is_added(base, name):
    mask = torch.zeros(1, 1, 16, 16)
    mask[..., 8:] = 1.0
    control = Control(adapter=trained(name, base), picture=PALETTE, mask=mask)
    whole = signals_of(replace(control, mask=None), base)["cond"]
    for point, feature in signals_of(control, base)["cond"].items():
        full = whole[point]
        if feature.ndim == 3:  # positions in rows
            side = round(feature.shape[1] ** 0.5)
            feature, full = (each.mT.unflatten(2, (side, side)) for each in (feature, full))
        left, right = feature.chunk(2, dim=3)
        assert left.abs().max() == 0 and torch.equal(right, full.chunk(2, dim=3)[1]), point


def test_the_null_branch_can_be_left_alone(base, name):
    control = Control(adapter=trained(name, base), picture=PALETTE, apply_to_null=False)
    found = signals_of(control, base)
    assert all(feature.abs().max() == 0 for feature in found["null"].values())
    assert all(feature.abs().max() > 0 for feature in found["cond"].values())
    assert (drawn(base, control) - drawn(base, replace(control, apply_to_null=True))).abs().max() > 1e-4


def test_branches_joined_are_each_alone(base, any_name):
    """Prompts of other lengths are padded in the copy's own text too."""
    control = Control(adapter=trained(any_name, base), picture=PALETTE)
    prompt = Prompt(text=make_text(1), negative=make_text(1, length=2, real=(2,), seed=7))
    told = base.encode_prompt(prompt, 2)
    steering = control.steering(base, base.texts(prompt), told, 2, (16, 16))
    steered = [replace(told[branch], steering=(steering[branch],)) for branch in ("cond", "null")]
    x_t, time, _ = make_inputs(base.unet)
    network = Steered(base.unet)
    with torch.no_grad():
        alone = torch.cat([network(x_t, time, each) for each in steered])
        both = network(x_t.repeat(2, 1, 1, 1), time.repeat(2), joined(steered))
    torch.testing.assert_close(both, alone, atol=1e-5, rtol=1e-4)
    assert in_force(steered[0], [0.5]) == steered[0]


def test_a_mask_of_other_proportions_is_brought_to_the_picture_as_its_hint_is(base):
    """A mask painted over the hint stays over it: a square on a wide one is a square, in the middle of what is drawn."""
    mask = torch.zeros(1, 1, 16, 32)
    mask[..., 4:12, 12:20] = 1.0
    control = Control(adapter=trained("t2i_adapter", base), picture=PALETTE, mask=mask)
    kept = control._mask(base, 1, (16, 16))[0, 0]
    assert kept[6:10, 6:10].min() > 0.9 and kept.sum().item() == pytest.approx(16, abs=1)  # of 8x8, at half the size
    cropped = replace(control, fit="crop")._mask(base, 1, (16, 16))[0, 0]
    assert torch.equal(cropped, mask[0, 0, :, 8:24])
    stretched = replace(control, fit="stretch")._mask(base, 1, (16, 16))[0, 0]
    assert torch.equal(stretched, mask[0, 0, :, ::2].clamp(0, 1))
    with pytest.raises(ValueError, match="2 masks for 3 pictures: give one mask, or one a picture"):
        replace(control, mask=mask.expand(2, -1, -1, -1))._mask(base, 3, (16, 16))


def test_an_image_prompt_is_read_where_its_mask_says_and_the_null_branch_reads_none(base):
    mask = torch.zeros(1, 1, 16, 16)
    mask[..., :8] = 1.0
    control = Control(adapter=trained("image_prompt", base), picture=PALETTE, mask=mask)
    told = base.encode_prompt(Prompt(text=make_text(1)), 2)
    steering = control.steering(base, base.texts(Prompt(text=make_text(1))), told, 2, (16, 16))
    x_t, time, _ = make_inputs(base.unet)
    cond, null = (steering[branch].signals(x_t, time).beside[0] for branch in ("cond", "null"))
    queries = torch.randn(2, 2, 16, 8, generator=torch.Generator().manual_seed(0))  # a grid of 4 x 4
    own = (queries, queries)
    plain = attend(queries, own, Signals(), 0)
    change = (attend(queries, own, Signals(beside=(cond,)), 0) - plain).unflatten(1, (4, 4)).abs()
    assert change[:, :, 2:].max() == 0 and change[:, :, :2].max() > 1e-3
    nothing = base_tokens(trained("image_prompt", base).network, torch.zeros(2, 3, 16, 16))
    assert torch.equal(null.keys_values[0][0], nothing.keys_values[0][0])
    assert (cond.keys_values[0][0] - nothing.keys_values[0][0]).abs().max() > 1e-3


LAYERS = 3  # of the base that read; factors of two of them by IP-Adapter's formulas
FACTORS = {
    "linear": (1.0, 1.0),
    "ease in": (1.0, 0.05 + 0.95 * 2 / 3),
    "ease out": (0.05, 0.05 + 0.95 / 3),
    "ease in-out": (0.05, 0.05 + 0.95 * 2 / 3),
    "reverse in-out": (1.0, 0.05 + 0.95 / 3),
    "weak input": (0.2, 1.0),
    "weak middle": (1.0, 0.2),
    "weak output": (1.0, 1.0),
    "strong middle": (0.2, 1.0),
}


def test_a_reference_counts_in_layers_as_its_weight_type_says():
    assert FACTORS.keys() == WEIGHT_TYPES.keys()
    for name, wanted in FACTORS.items():
        assert layer_weights(name, LAYERS)[:2] == pytest.approx(wanted), name
    with pytest.raises(ValueError, match="unknown weight_type 'style transfer': expected one of linear, ease in"):
        layer_weights("style transfer", 6)


def test_values_are_weighted_by_layer_and_linear_leaves_them(base):
    network = trained("image_prompt", base).network
    given = Given(picture=PALETTE, kind=torch.zeros(1))
    plain, eased = (network.told(replace(given, weight_type=name)).beside[0] for name in ("linear", "ease out"))
    factors = layer_weights("ease out", len(plain.keys_values))
    assert factors[0] == 0.05
    for factor, (keys, values), (same, weighted) in zip(factors, plain.keys_values, eased.keys_values, strict=True):
        assert torch.equal(keys, same) and torch.equal(weighted, factor * values)


def test_several_references_become_one(base):
    control = Control(adapter=trained("image_prompt", base), picture=PALETTE)
    alone = drawn(base, control)
    three = torch.cat([PALETTE, -PALETTE, PALETTE.flip(2)])
    for name in COMBINE:
        same = drawn(base, replace(control, picture=PALETTE.expand(3, -1, -1, -1), combine=name))
        torch.testing.assert_close(same, alone, atol=1e-5, rtol=1e-4)  # the same picture thrice is the picture
        told = drawn(base, replace(control, picture=three, combine=name))  # three for two pictures
        torch.testing.assert_close(
            told, drawn(base, replace(control, picture=three.flip(0), combine=name)), atol=1e-5, rtol=1e-4
        )
        assert (told - alone).abs().max() > 1e-4
    network = control.adapter.network
    each = [base_tokens(network, three[i : i + 1]).keys_values[0] for i in range(3)]
    both = network.told(Given(picture=three, kind=torch.zeros(1), combine="concat")).beside[0].keys_values[0]
    for part in range(2):
        torch.testing.assert_close(both[part], torch.cat([one[part] for one in each], 2))
    mean = network.told(Given(picture=three, kind=torch.zeros(1), combine="average")).beside[0].keys_values[0]
    torch.testing.assert_close(mean[1], torch.stack([one[1] for one in each]).mean(0), atol=1e-5, rtol=1e-4)
    with pytest.raises(ValueError, match="3 references for 2 pictures"):
        drawn(base, replace(control, picture=three))
    with pytest.raises(ValueError, match="combined by concat, average, norm average, and not by 'add'"):
        replace(control, combine="add")
    with pytest.raises(ValueError, match="several hints are not combined"):
        drawn(base, replace(control, adapter=trained("t2i_adapter", base), combine="concat"))


def base_tokens(network, picture):
    return network.told(Given(picture=picture, kind=torch.zeros(len(picture)))).beside[0]


def test_kinds_of_a_union_are_told_apart(base, name):
    network = trained(name, base).network
    hint = PALETTE.expand(2, -1, -1, -1)
    x_t, time, _ = make_inputs(base.unet)
    given = [Given(picture=hint, kind=torch.full((2,), kind), text=make_text()) for kind in (0, 1)]
    found = [network.at(x_t, time, network.told(each)) for each in given]
    assert any((found[0].features[point] - found[1].features[point]).abs().max() > 1e-5 for point in found[0].features)


def test_points_are_where_features_are_added(stage):
    x_t, time, picture = make_inputs(stage.unet)
    told = picture + stage.unet.encode_text(make_text())
    for name, point in layout_of(stage.spec.unet_config).points.items():
        side = 16 // point.cell
        shape = (2, side * side, point.width) if point.flat else (2, point.width, side, side)
        with torch.no_grad():
            stage.unet(x_t, time, replace(told, features={name: torch.zeros(shape)}))
    going_down = stage.unet.way_down(x_t, time, told)
    assert {name for name in going_down if name.startswith("skip")} and going_down.keys() <= layout_of(
        stage.spec.unet_config
    ).points.keys()


def test_a_controlnet_reaches_a_networks_fine_level(base):
    """With nothing but what reads the hint there trained, pictures change; a file that says nothing of it has none."""
    config = settings_of("controlnet")
    network = build_adapter("controlnet", config, base.spec.unet_config).requires_grad_(False).begin_as(base.unet)
    made = LoadedAdapter(network=network, spec=AdapterSpec.of(network, base))
    control = Control(adapter=made, picture=PALETTE)
    network.fine.out.weight.normal_(0, 0.1, generator=torch.Generator().manual_seed(0))
    assert set(signals_of(control, base)["cond"]) > {"fine"}
    assert (drawn(base, control) - drawn(base)).abs().max() > 1e-4
    older = build_adapter("controlnet", replace(config, fine_width=0), base.spec.unet_config)
    assert older.fine is None and ADAPTERS["controlnet"].config_cls().fine_width == 0


def test_large_weights_are_kept_in_eight_bits_where_asked(base, tmp_path):
    network = build_adapter("controlnet", replace(settings_of("controlnet"), hint_width=48), base.spec.unet_config)
    for bits, dtype in (("16", torch.float16), ("8", torch.int8)):
        save_adapter(tmp_path / bits, network, AdapterSpec.of(network, base), dtype=dtype)
    assert (tmp_path / "8").stat().st_size < 0.8 * (tmp_path / "16").stat().st_size
    read = load_adapter(tmp_path / "8").network.state_dict()
    for name, weight in network.state_dict().items():
        torch.testing.assert_close(read[name], weight, atol=float(weight.detach().abs().max()) / 200, rtol=0)


def test_files_keep_everything(base, any_name, tmp_path):
    made = trained(any_name, base)
    path = tmp_path / "control.safetensors"
    save_adapter(path, made.network, made.spec, dtype=torch.float32)
    read = load_adapter(path)
    assert read.spec == made.spec and not is_stage_checkpoint(path)
    control = Control(adapter=made, picture=PALETTE)
    assert torch.equal(drawn(base, replace(control, adapter=read)), drawn(base, control))


def test_what_does_not_belong_is_refused(base, name, tmp_path):
    control = Control(adapter=trained(name, base), picture=PALETTE)
    other = replace(base, unet=randomised(base.spec.unet_config, seed=1))
    with pytest.raises(ValueError, match="this control was made for a base64 stage with other weights"):
        drawn(other, control)
    with pytest.raises(ValueError, match="3 hints for 2 pictures"):
        drawn(base, replace(control, picture=PALETTE.expand(3, -1, -1, -1)))
    with pytest.raises(ValueError, match="3 masks for 2 pictures"):
        drawn(base, replace(control, mask=torch.ones(3, 1, 4, 4)))
    with pytest.raises(ValueError, match="reads edges, palette, and no depth"):
        drawn(base, replace(control, kind="depth"))
    noise = torch.rand(1, 3, 32, 32, generator=torch.Generator().manual_seed(0)) * 2 - 1
    with pytest.raises(ValueError, match="thin white lines on black"):
        drawn(base, replace(control, picture=noise, kind="edges"))
    with pytest.raises(ValueError, match="not what the control reads"):
        drawn(base, replace(control, picture=noise))
    with pytest.raises(ValueError, match="strength"):
        replace(control, strength=-1.0)
    with pytest.raises(ValueError, match="start <= end"):
        replace(control, start=0.5, end=0.2)
    with pytest.raises(ValueError, match="a dit network takes no features"):
        build_adapter(name, ADAPTERS[name].config_cls(), DiTConfig(**DiTConfig.tiny))
    (tmp_path / "other.safetensors").write_bytes(b"PK\x03\x04")
    with pytest.raises(ValueError, match="pickle"):
        load_adapter(tmp_path / "other.safetensors")


def clip_of(config, seed=0):
    """A CLIP of random weights that sees as an adapter of this configuration does."""
    torch.manual_seed(seed)
    network = ClipNetwork(ClipConfig(vision=config.vision, vision_embed_dim=config.embed_dim))
    for parameter in network.requires_grad_(False).parameters():
        torch.nn.init.normal_(parameter, std=0.3)
    return Clip(network.eval(), None)


def test_an_embedding_stands_for_the_picture_that_it_is_of(base):
    """With nothing read of the map a picture is its CLIP embedding, of any length; the null branch reads neither."""
    loaded = trained("clip_prompt", base)
    network, config = loaded.network, loaded.spec.config
    clip = clip_of(config)
    network.seeing_as(clip)
    assert replace(config, **sight_of(clip.network.config)) == config
    picture = torch.rand(2, 3, 24, 16, generator=torch.Generator().manual_seed(1)) * 2 - 1
    embeds, kind = clip.project_pixels(picture), torch.zeros(2)
    neither = torch.tensor([[False, True]] * 2)
    seen = network.told(Given(picture=picture, kind=kind, counting=neither))
    given = network.told(Given(picture=7.0 * embeds, kind=kind))
    torch.testing.assert_close(seen.vector, given.vector, atol=1e-5, rtol=1e-4)
    queries = torch.randn(2, 2, 16, 8, generator=torch.Generator().manual_seed(0))
    read = [
        attend(queries, (queries, queries), each, 0)
        for each in (Signals(), replace_vector(seen), replace_vector(given))
    ]
    torch.testing.assert_close(read[1], read[2], atol=1e-5, rtol=1e-4)
    assert (read[1] - read[0]).abs().max() > 1e-3
    null = network.told(Given(picture=embeds, kind=kind, null=True))
    assert null.vector.abs().max() == 0 and all(values.abs().max() == 0 for _, values in null.beside[0].keys_values)


def replace_vector(signals):
    return replace(signals, vector=None)


def test_embeddings_of_another_clip_are_refused(base):
    """And pictures, where the tower is too large to lie in the file; and embeddings, where pictures are read."""
    network = trained("clip_prompt", base)
    ours = Control(adapter=network, picture=torch.randn(1, 16))
    assert (drawn(base, ours) - drawn(base)).abs().max() > 1e-4
    mask = torch.zeros(1, 1, 16, 16)  # nothing is beside the time where a mask says where
    assert torch.equal(drawn(base, replace(ours, mask=mask)), drawn(base))
    with pytest.raises(ValueError, match="768 wide, and this image prompt reads those of the CLIP that it was trained"):
        drawn(base, replace(ours, picture=torch.randn(1, 768)))
    with pytest.raises(ValueError, match="sees pictures itself and reads no CLIP embeddings"):
        drawn(base, replace(ours, adapter=trained("image_prompt", base)))
    config = replace(network.spec.config, tower_layers=0)
    blind = build_adapter("clip_prompt", config, base.spec.unet_config).requires_grad_(False)
    blind = LoadedAdapter(network=blind, spec=AdapterSpec.of(blind, base))
    assert torch.equal(drawn(base, replace(ours, adapter=blind)), drawn(base))
    with pytest.raises(ValueError, match="reads CLIP embeddings, 16 wide, and no pictures: connect image_embed"):
        drawn(base, replace(ours, adapter=blind, picture=PALETTE))
