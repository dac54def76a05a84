"""Is a stage that is kept as its change from another the merged network to the bit, and is every other base refused?"""

from __future__ import annotations

import dataclasses
from pathlib import Path

import pytest
import torch
from safetensors import safe_open
from safetensors.torch import load_file, save_file

from imagen_core import (
    Control,
    Draw,
    InitImage,
    LoraSettings,
    Prompt,
    Stage,
    StageSpec,
    TextEmbeds,
    build_unet,
    find_loras,
    find_stages,
    fingerprint,
    fit_lora,
    inspect_checkpoint,
    load_adapter,
    load_stage,
    read_spec,
    sample_base,
    save_checkpoint,
    with_lora,
)
from imagen_core.checkpoints.int8 import int8_rows, scaled
from imagen_core.checkpoints.readers._changed import DOWN, UP
from imagen_core.checkpoints.readers.change import Change, Factors, Learned, read_change, save_change
from imagen_core.schedules import schedule_from_config
from imagen_core.unets import UViTConfig

CONFIG = UViTConfig(patch_size=4, channels=16, width=32, depth=2, per_head_channels=16, text_embed_dim=12)
WIDER = dataclasses.replace(CONFIG, repaints=True)
SHIPPED = Path(__file__).resolve().parents[2] / "models" / "imagen-mini"
RANK = 40  # one of a layer's two factors is large enough to be kept in int8
DTYPES = (torch.float32, torch.bfloat16)


def stage_of(seed: int, config: UViTConfig = CONFIG, **settings) -> Stage:
    torch.manual_seed(seed)
    unet = build_unet(config).eval().requires_grad_(False)
    for parameter in unet.parameters():
        torch.nn.init.normal_(parameter, std=0.1)
    spec = StageSpec(
        stage="base64", unet_config=config, schedule_config={"name": "cosine"}, prediction_type="x_0", **settings
    )
    return Stage(unet=unet, schedule=schedule_from_config(spec.schedule_config), spec=spec)


def layers_of(stage: Stage) -> dict[str, torch.nn.Module]:
    """A linear layer and a convolution, which get factors."""
    convolution = next(name for name, layer in stage.unet.named_modules() if isinstance(layer, torch.nn.Conv2d))
    names = ("transformer.0.mlp.0", *([convolution] if convolution != "stem" else ["down.0.out_conv"]))
    return {name: stage.unet.get_submodule(name) for name in names}


@pytest.fixture
def folder(tmp_path):
    """base.safetensors, in int8, and ours.safetensors, a change of it."""
    base = stage_of(0)
    save_checkpoint(tmp_path / "base.safetensors", base.unet, spec=base.spec, dtype=torch.int8)
    torch.manual_seed(7)
    factors = {
        name: Factors(torch.randn(layer.weight.shape[0], RANK), 0.1 * torch.randn(RANK, *layer.weight.shape[1:]))
        for name, layer in layers_of(base).items()
    }
    whole = {"stem.weight": 0.1 * torch.randn(16, 7 * 16, 3, 3), "stem.bias": torch.randn(16)}
    spec = dataclasses.replace(base.spec, unet_config=WIDER, defaults={"steps": 3})
    change = Change(
        spec=spec, base="base.safetensors", fingerprint=fingerprint(base), learned=Learned(factors=factors, whole=whole)
    )
    save_change(tmp_path / "ours.safetensors", change)
    return tmp_path


def kept(stored, name) -> torch.Tensor:
    scale = stored.get(f"{name}_scale")
    return stored[name].float() if scale is None else scaled(stored[name], scale, torch.float32)


def merged(folder) -> dict[str, torch.Tensor]:
    """What is to come out, worked out here: numbers as the two files round them."""
    state = load_stage(folder / "base.safetensors").unet.state_dict()
    stored = load_file(folder / "ours.safetensors")
    for key in [key for key in stored if key.endswith(UP)]:
        up, down = (kept(stored, name) for name in (key, key.removesuffix(UP) + DOWN))
        name = key.removesuffix(UP) + ".weight"
        state[name] = state[name] + (up @ down.flatten(1)).view(state[name].shape)
    state["stem.weight"] = scaled(stored["stem.weight"], stored["stem.weight_scale"], torch.float32)
    state["stem.bias"] = stored["stem.bias"].float()
    return state


@pytest.mark.parametrize("dtype", DTYPES)
def test_it_is_the_merged_network_to_the_bit(folder, dtype):
    stage, expected = load_stage(folder / "ours.safetensors", dtype=dtype), merged(folder)
    assert stage.spec.inputs == ("text", "known", "mask") and stage.spec.defaults == {"steps": 3}
    found = stage.unet.state_dict()
    assert found.keys() == expected.keys()
    for key, tensor in expected.items():
        assert torch.equal(found[key], tensor.to(dtype)), key
    small = load_stage(folder / "ours.safetensors", eight_bits=True, dtype=dtype)
    values, scale = int8_rows(expected["transformer.0.mlp.0.weight"])
    near = {torch.float32: 1e-6, torch.bfloat16: 0.02}[dtype]
    layer = small.unet.get_submodule("transformer.0.mlp.0")
    assert layer.weight.dtype == dtype
    torch.testing.assert_close(layer.weight.float(), scaled(values, scale, torch.float32), atol=near, rtol=near)


def test_it_is_listed_as_a_stage_described_without_its_base_and_no_lora(folder):
    path = folder / "ours.safetensors"
    assert path in find_stages(folder) and not list(find_loras(folder))
    (folder / "base.safetensors").unlink()
    found = inspect_checkpoint(path)
    assert found["kind"] == "Imagen stage as a change of another" and found["naming"] == "change of base.safetensors"
    assert found["files"] == ["ours.safetensors"] and found["network"]["repaints"]
    assert read_spec(path).stage == "base64" and path in find_stages(folder)
    change = read_change(path)
    assert change.base == "base.safetensors" and change.learned.factors["transformer.0.mlp.0"].up.shape == (128, RANK)


TEXT = TextEmbeds(embeds=torch.ones(1, 2, 12), mask=torch.ones(1, 2, dtype=torch.bool))


def half_hidden() -> InitImage:
    """A picture whose right half is to be drawn."""
    mask = torch.zeros(1, 1, 32, 32)
    mask[..., 16:] = 1.0
    return InitImage(pixels=torch.rand(1, 3, 32, 32) * 2 - 1, mask=mask)


def test_it_repaints(folder):
    stage, init = load_stage(folder / "ours.safetensors"), half_hidden()
    drawn = sample_base(stage, Prompt(text=TEXT), Draw(seeds=(0,), steps=2, init=init), height=32, width=32)
    assert torch.equal(drawn * (1 - init.mask), init.pixels * (1 - init.mask))


def test_it_takes_the_loras_of_its_base_and_its_own_and_no_others(folder):
    base, stage = load_stage(folder / "base.safetensors"), load_stage(folder / "ours.safetensors")
    settings = LoraSettings(rank=2, steps=2, batch_size=1)
    learn = lambda on: fit_lora(on, half_hidden().pixels, [Prompt(text=TEXT)], settings)
    lora = learn(base)
    assert "stem" in lora.changes
    before, after = stage.unet.state_dict(), with_lora(stage, lora, 0.5).unet.state_dict()
    for name, change in lora.changes.items():
        moved, delta = after[f"{name}.weight"] - before[f"{name}.weight"], change.delta(0.5)
        if name == "stem":
            assert not moved[:, 48:].any(), (
                "what stays of the picture, 4 channels of 16 pixels a patch, enters as before"
            )
            moved = moved[:, :48]
        torch.testing.assert_close(moved, delta, atol=1e-6, rtol=1e-5)
    with pytest.raises(ValueError, match="this LoRA was made for a base64 stage with other weights than these"):
        with_lora(stage, learn(stage_of(3)))
    assert with_lora(with_lora(stage, lora), lora).spec.change_of == stage.spec.change_of
    with pytest.raises(ValueError, match="a stage that repaints learns no LoRA, but takes those of its base"):
        learn(stage)
    save_checkpoint(folder / "whole.safetensors", stage.unet, spec=stage.spec)
    alone = with_lora(load_stage(folder / "whole.safetensors"), lora, 0.5).unet.state_dict()
    assert all(torch.equal(alone[key], value) for key, value in after.items()), "without its base beside it, too"
    own = dataclasses.replace(lora, base=fingerprint(stage), changes={})
    assert with_lora(stage, own).spec.inputs == stage.spec.inputs
    with pytest.raises(ValueError, match="this LoRA was made for another network"):
        with_lora(base, own)


@pytest.mark.parametrize("name", ["control", "controlnet"])
def test_the_shipped_one_is_steered_by_the_controls_of_its_base(name):
    """Off, it draws its own picture to the bit; on, another whose kept half stays."""
    stage = load_stage(SHIPPED / "things64_inpaint.safetensors")
    adapter = load_adapter(SHIPPED / f"{name}.safetensors")
    hint = -torch.ones(1, 3, 64, 64)
    hint[..., 20:44, 20:44] = 1.0
    mask = torch.zeros(1, 1, 64, 64)
    mask[..., 32:] = 1.0
    init, text = InitImage(pixels=torch.zeros(1, 3, 64, 64), mask=mask), TextEmbeds.null(1, 384)

    def drawn(*strengths: float) -> torch.Tensor:
        controls = [Control(adapter=adapter, picture=hint, kind="edges", strength=strength) for strength in strengths]
        draw = Draw(seeds=(0,), steps=2, init=init, controls=controls)
        return sample_base(stage, Prompt(text=text), draw, height=64, width=64)

    plain, steered = drawn(), drawn(1.0)
    assert torch.equal(drawn(0.0), plain) and not torch.equal(steered, plain)
    assert torch.equal(steered * (1 - mask), init.pixels * (1 - mask))


def test_a_missing_and_another_base_are_one_sentence_each(folder):
    path, base = folder / "ours.safetensors", folder / "base.safetensors"
    other = stage_of(1)
    save_checkpoint(base, other.unet, spec=other.spec)
    message = f"{path} is kept as a change of base.safetensors, and the one beside it is another: put the one there"
    with pytest.raises(ValueError) as caught:
        load_stage(path)
    assert str(caught.value).startswith(message)
    wider = stage_of(0, dataclasses.replace(CONFIG, depth=3))
    save_checkpoint(base, wider.unet, spec=wider.spec)
    with pytest.raises(ValueError, match="and the one beside it is another"):
        load_stage(path)
    base.write_bytes(path.read_bytes())
    with pytest.raises(ValueError, match="beside it is no whole Imagen stage: put the one there"):
        load_stage(path)
    base.unlink()
    with pytest.raises(ValueError) as caught:
        load_stage(path)
    assert str(caught.value) == (
        f"{path} is kept as a change of base.safetensors, which is not beside it: put base.safetensors into {folder}, "
        "or choose another checkpoint"
    )


def rewritten(folder, metadata=(), **tensors):
    """The change with other metadata and tensors; None takes one away."""
    path = folder / "ours.safetensors"
    with safe_open(path, "pt") as file:
        facts = file.metadata()
    unscaled = {f"{key}_scale": None for key, value in tensors.items() if value is None or value.dtype != torch.int8}
    weights = {key: value for key, value in (load_file(path) | unscaled | tensors).items() if value is not None}
    save_file(weights, path, metadata=facts | dict(metadata))
    return path


LAYER = "transformer.0.mlp.0"


@pytest.mark.parametrize(
    ("tensors", "words"),
    [
        ({LAYER + UP: torch.full((128, RANK), float("nan")).half()}, (LAYER + UP, "NaN")),
        ({LAYER + DOWN: torch.full((RANK, 32), float("inf")).half()}, (LAYER + DOWN, "NaN")),
        ({LAYER + UP: torch.full((128, RANK), 6e4), LAYER + DOWN: torch.full((RANK, 32), 1e38)}, (LAYER, "NaN")),
        ({LAYER + DOWN: torch.ones(RANK, 31)}, (LAYER + DOWN, "(128, 31)", "(128, 32)")),
        ({LAYER + DOWN: torch.ones(RANK + 1, 32)}, (LAYER + DOWN, "no two factors")),
        ({LAYER + UP: torch.ones(())}, (LAYER + UP, "no two factors")),
        ({LAYER + DOWN: None}, (LAYER + DOWN, "lacks")),
        ({"nowhere" + UP: torch.ones(2, 1), "nowhere" + DOWN: torch.ones(1, 2)}, ("nowhere", "no such layer")),
        ({LAYER + UP: torch.ones(128, RANK, dtype=torch.int64)}, (LAYER + UP, "I64")),
        ({LAYER + ".weight": torch.ones(128, 32)}, (LAYER, "stored whole besides")),
        ({"zz.weight": torch.ones(2)}, ("zz.weight", "unexpected")),
        ({"stem.weight": torch.ones(16, 5, 3, 3, dtype=torch.int8)}, ("stem.weight", "(16, 5, 3, 3)")),
    ],
)
def test_hostile_factors_are_refused_by_name(folder, tensors, words):
    path = rewritten(folder, **tensors)
    with pytest.raises(ValueError) as caught:
        load_stage(path)
    message = str(caught.value)
    assert str(folder) in message and "\n" not in message and all(word in message for word in words), message


@pytest.mark.parametrize("name", ["../base.safetensors", "/etc/passwd", "..", "", "a\\b", "c:d", "a\nb", "a" * 300])
def test_a_base_outside_of_the_folder_is_never_looked_at(folder, name):
    with pytest.raises(ValueError, match="metadata 'base_file' is .*, expected a file's name"):
        load_stage(rewritten(folder, {"base_file": name}))


@pytest.mark.parametrize(
    ("facts", "words"),
    [
        ({"base": "{}"}, "'base' is no fingerprint"),
        ({"format_version": "2"}, "update the pack"),
        ({"unet": "[]"}, "metadata 'unet'"),
    ],
)
def test_metadata_that_lies_is_refused(folder, facts, words):
    with pytest.raises(ValueError, match=words):
        load_stage(rewritten(folder, facts))
