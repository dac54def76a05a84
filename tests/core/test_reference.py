"""Does a reference change what is enlarged where it is on, by what is alike in it, and nothing where it is off?"""

from __future__ import annotations

from dataclasses import replace

import pytest
import torch
from test_controls import PALETTE, drawn, stage_of, trained
from test_unets import CONFIGS

from imagen_core import (
    AdapterSpec,
    Control,
    Draw,
    LoadedAdapter,
    Tiling,
    build_adapter,
    load_adapter,
    save_adapter,
    super_resolve,
)
from imagen_core.adapters.reference import ReferenceConfig
from imagen_core.unets.efficient_unet import EfficientUNetConfig

ENLARGING = [name for name, config in CONFIGS.items() if config.pixel_channels == 3]


@pytest.fixture(params=ENLARGING)
def stage(request):
    return stage_of(CONFIGS[request.param])


@pytest.fixture(scope="module")
def plain():
    """One that reads no text."""
    sizes = {"channels": (16, 16), "num_res_blocks": (1, 1), "strides": (1, 2), "num_heads": 2, "patch_size": 2}
    off = {"self_attention": (False, False), "text_cross_attention": (False, False), "text_embed_dim": None}
    return stage_of(EfficientUNetConfig(**sizes, **off))


def enlarged(stage, *controls, small=None, **how):
    small = torch.rand(2, 3, 4, 4, generator=torch.Generator().manual_seed(0)) if small is None else small
    return super_resolve(stage, small, None, Draw(seeds=range(len(small)), steps=1, controls=controls, **how))


def test_off_it_changes_no_bit_and_on_it_does(stage):
    fresh = build_adapter("reference", ReferenceConfig(**ReferenceConfig.tiny), stage.spec.unet_config)
    fresh = LoadedAdapter(network=fresh.requires_grad_(False), spec=AdapterSpec.of(fresh, stage))
    without = drawn(stage)
    assert torch.equal(drawn(stage, Control(adapter=fresh, picture=PALETTE)), without)
    control = Control(adapter=trained("reference", stage), picture=PALETTE)
    assert torch.equal(drawn(stage, replace(control, strength=0.0)), without)
    half, full = (drawn(stage, replace(control, strength=strength)) for strength in (0.5, 1.0))
    assert (full - without).abs().max() > 1e-4 and (half - full).abs().max() > 1e-5
    other = drawn(stage, replace(control, picture=torch.rand(1, 3, 13, 22, generator=torch.Generator().manual_seed(3))))
    assert (other - full).abs().max() > 1e-5  # of any size


def test_a_batch_is_each_alone_and_two_references_are_read_as_one(stage):
    two = torch.cat([PALETTE, -PALETTE])
    control = Control(adapter=trained("reference", stage), picture=two)
    both = drawn(stage, control)
    for row in range(2):
        alone = drawn(stage, replace(control, picture=two[row : row + 1]))
        torch.testing.assert_close(both[row], alone[row], atol=1e-5, rtol=1e-4)
    together = drawn(stage, replace(control, combine="concat"))
    torch.testing.assert_close(
        together, drawn(stage, replace(control, picture=two.flip(0), combine="concat")), atol=1e-5, rtol=1e-4
    )
    assert (together - both).abs().max() > 1e-5
    with pytest.raises(ValueError, match="combined by concat alone"):
        drawn(stage, replace(control, combine="average"))


def test_a_place_reads_the_texture_of_what_is_like_it(plain):
    network = trained("reference", plain).network
    network.sharpness.fill_(9.0)
    picture = torch.rand(1, 3, 32, 32, generator=torch.Generator().manual_seed(0)) * 2 - 1
    seen = network.alike(network._blurred(picture))
    read = network._read(seen, picture, together=False)
    own, width = network.texture(picture), seen.shape[1]
    torch.testing.assert_close(read[:, width:-1], own, atol=0.02, rtol=0.02)  # each place its own
    assert read[:, -1].min() > 0.99
    moved = network._read(seen, picture.roll(8, 3), together=False)  # found again where it went
    assert (moved[:, width:-1] - own).abs()[..., 1:-1].median() < 0.05


def test_it_belongs_to_stages_that_enlarge_and_to_its_own(plain, tmp_path):
    base = next(config for config in CONFIGS.values() if not config.pixel_channels)
    with pytest.raises(ValueError, match="choose a stage that enlarges, such as sr256"):
        build_adapter("reference", ReferenceConfig(**ReferenceConfig.tiny), base)
    made = trained("reference", plain)
    save_adapter(tmp_path / "reference.safetensors", made.network, made.spec, dtype=torch.float32)
    loaded = load_adapter(tmp_path / "reference.safetensors")
    control = Control(adapter=made, picture=PALETTE)
    torch.testing.assert_close(enlarged(plain, replace(control, adapter=loaded)), enlarged(plain, control))
    torch.manual_seed(8)
    other = stage_of(plain.spec.unet_config)
    for parameter in other.unet.parameters():
        parameter.data.add_(torch.randn_like(parameter))
    with pytest.raises(ValueError, match="this control"):
        enlarged(other, control)


def test_it_is_read_in_tiles_as_in_one_piece(plain):
    small = torch.rand(1, 3, 16, 16, generator=torch.Generator().manual_seed(0)) * 2 - 1
    control = Control(adapter=trained("reference", plain), picture=PALETTE)
    whole = enlarged(plain, control, small=small)
    assert torch.equal(enlarged(plain, control, small=small, tiling=Tiling(size=64, overlap=32)), whole)
    tiling = Tiling(size=32, overlap=0)
    cut, without = (enlarged(plain, *each, small=small, tiling=tiling) for each in ((control,), ()))
    assert cut.shape == whole.shape and (cut - without).abs().max() > 1e-4
