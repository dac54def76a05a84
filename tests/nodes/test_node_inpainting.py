"""Do the sampling nodes redraw a picture, or a part of it, as a user of masks and strength would expect?"""

import pytest
import torch
from pack import CORE, NODES
from tiny_stages import tiny_prompt, tiny_stage

from imagen_host import runtime


@pytest.fixture
def text():
    return tiny_prompt()


BASE = {"seed": 3, "steps": 4, "guidance_scale": 2.0, "sampler": "dpmpp_2m", "width": 16, "height": 16, "batch_size": 2}
SUPER = {"aug_level": 0.1, "factor": 4, "seed": 3, "steps": 3, "guidance_scale": 1.0, "sampler": "dpmpp_2m"}


def draw(text, schedule="cosine", **changes):
    return NODES["ImagenBaseSample64"]().sample(tiny_stage("base64", schedule), text, **{**BASE, **changes})[0]


def enlarge(image, **changes):
    return NODES["ImagenSuperRes"]().sample(tiny_stage("sr256"), image, **{**SUPER, **changes})[0]


def levels(image):
    return (image * 255).round()


def picture(height, width, batch=1):
    return torch.rand(batch, height, width, 3, generator=torch.Generator().manual_seed(2))


def right_half(height, width):
    return (torch.arange(width) >= width // 2).float().expand(1, height, width).contiguous()


@pytest.mark.parametrize("sampler", [name for name, each in sorted(CORE.SAMPLERS.items()) if not each.jumps])
@pytest.mark.parametrize("resample", [1, 3])
def test_what_the_mask_leaves_black_comes_back_unchanged(text, sampler, resample):
    photo = picture(16, 16)
    image = draw(text, sampler=sampler, init_image=photo, mask=right_half(16, 16), strength=1.0, resample=resample)
    assert torch.equal(levels(image[:, :, :8]), levels(photo[:, :, :8]).expand(2, -1, -1, -1))
    assert (levels(image[:, :, 8:]) - levels(photo[:, :, 8:])).abs().mean() > 5


def test_super_resolution_keeps_the_full_size_picture(text):
    photo = picture(48, 64)
    image = enlarge(picture(12, 16), init_image=photo, mask=right_half(48, 64), strength=1.0)
    assert image.shape == (1, 48, 64, 3)
    assert torch.equal(levels(image[:, :, :32]), levels(photo[:, :, :32]))
    assert not torch.equal(levels(image[:, :, 32:]), levels(photo[:, :, 32:]))


def test_a_large_photograph_and_its_mask_are_cut_and_shrunk(text):
    photo = picture(4, 4).repeat_interleave(20, 1).repeat_interleave(20, 2)  # 80 x 80, flat squares
    wide = torch.cat([torch.zeros(1, 80, 30, 3), photo, torch.zeros(1, 80, 30, 3)], 2)
    mask = torch.zeros(1, 80, 140)
    mask[:, 40:, 70:] = 1.0  # the lower right quarter of what is left
    image = draw(text, init_image=wide, mask=mask, batch_size=1)
    expected = picture(4, 4).repeat_interleave(4, 1).repeat_interleave(4, 2)
    assert torch.equal(levels(image[:, :8]), levels(expected[:, :8]))
    assert torch.equal(levels(image[:, :, :8]), levels(expected[:, :, :8]))


def test_a_mask_in_load_images_form_without_a_batch(text):
    """Some mask nodes hand out (h w)."""
    one = draw(text, init_image=picture(16, 16), mask=right_half(16, 16)[0])
    assert torch.equal(one, draw(text, init_image=picture(16, 16), mask=right_half(16, 16)))


def test_strength_decides_how_far_the_result_departs(text):
    photo = torch.full((1, 16, 16, 3), 0.8)
    distances = [
        (draw(text, init_image=photo, strength=strength, steps=20) - photo).abs().mean() for strength in (0.1, 0.4, 1.0)
    ]
    assert distances == sorted(distances)
    assert torch.equal(draw(text, init_image=photo, strength=1.0), draw(text))


def test_an_image_of_a_batch_is_the_image_alone(text):
    settings = {"init_image": picture(16, 16), "mask": right_half(16, 16), "resample": 2, "sampler": "ddpm"}
    batch = draw(text, **settings)
    alone = draw(text, batch_size=1, seed=BASE["seed"] + 1, **settings)
    assert (levels(batch[1]) - levels(alone[0])).abs().max() <= 1


def test_a_batch_of_pictures_is_redrawn_each(text):
    photos = picture(16, 16, batch=2)
    image = draw(text, init_image=photos, mask=right_half(16, 16))
    assert torch.equal(levels(image[:, :, :8]), levels(photos[:, :, :8]))
    with pytest.raises(ValueError, match="2 pictures in init_image for a batch of 3"):
        draw(text, init_image=photos, batch_size=3)


def test_a_lone_or_empty_mask_is_refused_with_a_reason(text):
    with pytest.raises(ValueError, match="connect a picture to init_image"):
        draw(text, mask=right_half(16, 16))
    with pytest.raises(ValueError, match="black everywhere"):
        draw(text, init_image=picture(16, 16), mask=torch.zeros(1, 64, 64))  # what Load Image makes of an opaque file


def test_progress_counts_resampled_steps_and_stops_among_them(text):
    seen = []

    def stop_at_the_ninth(node, value, total, preview):
        seen.append((value, total))
        if value == 9:
            host.interrupt()

    host = runtime.Runtime(on_progress=stop_at_the_ninth)
    settings = {"init_image": picture(16, 16), "mask": right_half(16, 16), "strength": 1.0, "resample": 4}
    with runtime.use(host), pytest.raises(runtime.Interrupted):
        draw(text, **settings)
    assert seen == [(call, 13) for call in range(1, 10)]


def test_a_named_spacing_fixes_the_number_of_steps(text):
    seen = []
    with runtime.use(runtime.Runtime(on_progress=lambda *progress: seen.append(progress[1:3]))):
        draw(text, "discrete", sampler="ddpm", spacing="smart27", steps=4, batch_size=1)
    assert seen == [(call, 27) for call in range(1, 28)]


def test_a_named_spacing_of_a_continuous_checkpoint_is_refused_with_a_reason(text):
    with pytest.raises(ValueError, match="smart27 counts timesteps.*uniform, logsnr, karras"):
        draw(text, spacing="smart27")


@pytest.mark.parametrize("spacing", ["uniform", "logsnr", "karras"])
def test_auto_spacing_is_the_samplers_own(text, spacing):
    same = torch.equal(draw(text, spacing=spacing), draw(text))
    assert same == (spacing == "logsnr")
