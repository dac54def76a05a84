"""Do the sampling nodes draw, report, stop and refuse as a user would expect, on tiny real networks?"""

import pytest
import torch
from pack import CORE, NODES
from tiny_stages import TEXT_DIM, tiny_prompt, tiny_stage

from imagen_host import runtime


def stage(tmp_path, kind):
    """A tiny stage by way of its file, as the loader node gets one."""
    made = tiny_stage(kind)
    path = tmp_path / f"{kind}.safetensors"
    CORE.save_checkpoint(path, made.unet, spec=made.spec)
    return CORE.load_stage(path)


@pytest.fixture
def base(tmp_path):
    return stage(tmp_path, "base64")


@pytest.fixture
def sr256(tmp_path):
    return stage(tmp_path, "sr256")


@pytest.fixture
def text():
    return tiny_prompt()


BASE = {"seed": 3, "steps": 3, "guidance_scale": 2.0, "sampler": "dpmpp_2m", "width": 16, "height": 16, "batch_size": 2}
SUPER = {"aug_level": 0.1, "factor": 4, "seed": 3, "steps": 2, "guidance_scale": 1.0, "sampler": "dpmpp_2m"}


def draw(base, text, **changes):
    return NODES["ImagenBaseSample64"]().sample(base, text, **{**BASE, **changes})[0]


def enlarge(sr, image, **changes):
    return NODES["ImagenSuperRes"]().sample(sr, image, **{**SUPER, **changes})[0]


def levels(image):
    return (image * 255).round()


def test_base_draws_an_image_as_the_host_means_it(base, text):
    image = draw(base, text)
    assert image.shape == (2, 16, 16, 3) and image.dtype == torch.float32
    assert image.min() >= 0.0 and image.max() <= 1.0


def test_same_seed_same_pixels(base, text):
    assert torch.equal(draw(base, text), draw(base, text))
    assert not torch.equal(draw(base, text), draw(base, text, seed=9))


@pytest.mark.parametrize("sampler", [name for name, each in sorted(CORE.SAMPLERS.items()) if not each.jumps])
def test_an_image_of_a_batch_is_the_image_alone(base, text, sampler):
    batch = draw(base, text, sampler=sampler)
    alone = draw(base, text, sampler=sampler, batch_size=1, seed=BASE["seed"] + 1)
    assert (levels(batch[1]) - levels(alone[0])).abs().max() <= 1


def test_super_resolution_of_a_batch_is_each_alone(sr256):
    small = torch.rand(2, 8, 6, 3)
    both = enlarge(sr256, small)
    assert both.shape == (2, 32, 24, 3)
    alone = enlarge(sr256, small[1:], seed=SUPER["seed"] + 1)
    assert (levels(both[1]) - levels(alone[0])).abs().max() <= 1


def test_tiles_that_cover_the_picture_change_nothing_and_count_as_progress(sr256):
    small = torch.rand(1, 16, 16, 3)
    whole = enlarge(sr256, small)
    assert torch.equal(enlarge(sr256, small, tile_size=64, overlap=32), whole)
    seen = []
    with runtime.use(runtime.Runtime(on_progress=lambda node, value, total, preview: seen.append((value, total)))):
        assert enlarge(sr256, small, tile_size=32, overlap=0).shape == whole.shape
    assert seen == [(1, 8), (2, 8), (3, 8), (4, 8), (4, 8), (5, 8), (6, 8), (7, 8), (8, 8), (8, 8)]


@pytest.mark.parametrize("shape", [(1, 1, 1, 3), (1, 3, 70, 3), (1, 8, 8, 4), (1, 8, 8, 1)])
def test_super_resolution_takes_any_picture(sr256, shape):
    assert enlarge(sr256, torch.rand(shape)).shape == (1, shape[1] * 4, shape[2] * 4, 3)


def test_a_picture_too_large_to_hold_is_refused_before_any_work(sr256):
    with pytest.raises(ValueError, match="24 megapixels.*Imagen Resize"):
        enlarge(sr256, torch.zeros(1, 300, 5000, 3))


def test_nan_pixels_are_refused_with_a_reason(sr256):
    with pytest.raises(ValueError, match="NaN"):
        enlarge(sr256, torch.full((1, 4, 4, 3), float("nan")))


def test_stages_in_the_wrong_node_are_refused_with_a_reason(base, sr256, text):
    with pytest.raises(ValueError, match="sr256.*base64"):
        draw(sr256, text)
    with pytest.raises(ValueError, match="sr256 or sr1024"):
        enlarge(base, torch.rand(1, 4, 4, 3))


def test_a_prompt_from_another_encoder_is_refused(base):
    embeds = CORE.TextEmbeds(embeds=torch.randn(1, 5, TEXT_DIM + 1), mask=torch.ones(1, 5, dtype=torch.bool))
    with pytest.raises(ValueError, match="text encoder that belongs"):
        draw(base, CORE.Prompt(text=embeds))


def test_every_step_reports_a_preview(base, text):
    seen = []
    host = runtime.Runtime(preview=True, on_progress=lambda *progress: seen.append(progress))
    with runtime.use(host):
        draw(base, text, steps=4)
    assert [(value, total) for _, value, total, _ in seen] == [(1, 4), (2, 4), (3, 4), (4, 4)]
    assert all(picture.size == (512, 512) for _, _, _, (_, picture, _) in seen)


def test_no_preview_is_made_where_nobody_looks(base, text):
    seen = []
    with runtime.use(runtime.Runtime(on_progress=lambda *progress: seen.append(progress))):
        draw(base, text)
    assert {preview for *_, preview in seen} == {None}


def test_it_stops_within_a_step(base, text):
    seen = []

    def stop_at_the_second(node, value, total, preview):
        seen.append(value)
        if value == 2:
            host.interrupt()

    host = runtime.Runtime(on_progress=stop_at_the_second)
    with runtime.use(host), pytest.raises(runtime.Interrupted):
        draw(base, text, steps=9)
    assert seen == [1, 2]


@pytest.mark.parametrize("method", ["none", "static", "dynamic"])
def test_thresholds_change_a_strongly_guided_picture_only_by_choice(base, text, method):
    threshold = NODES["ImagenThreshold"]().make(method, 99.5, 0.0)[0]
    image = draw(base, text, guidance_scale=30.0, threshold=threshold)
    assert torch.isfinite(image).all()


@pytest.mark.parametrize("method", NODES["ImagenGuidance"].INPUT_TYPES()["required"]["method"][0])
def test_guidance_node_keeps_the_samplers_scale(base, text, method):
    node = NODES["ImagenGuidance"]
    defaults = {key: spec[1]["default"] for key, spec in node.INPUT_TYPES()["required"].items()}
    guidance = node().make(**{**defaults, "method": method})[0]
    assert torch.equal(draw(base, text, guidance_scale=1.0, guidance=guidance), draw(base, text, guidance_scale=1.0))
    assert not torch.equal(
        draw(base, text, guidance_scale=4.0, guidance=guidance), draw(base, text, guidance_scale=1.0)
    )


def test_a_weaker_stage_guides_beside_the_prompt(base, text, tmp_path):
    """Autoguidance: off at 1, its own pull without the prompt's, and a stage as weak as the drawn one changes nothing."""
    node = NODES["ImagenGuidance"]
    widgets = {key: spec[1]["default"] for key, spec in node.INPUT_TYPES()["required"].items()}
    weak = tiny_stage("base64", "linear")
    weak.unet.head.weight.mul_(1.5)

    def drawn(scale, stage=weak, **changes):
        guidance = node().make(**widgets, weak=stage, weak_scale=scale)[0]
        return draw(base, text, guidance=guidance, **changes)

    assert torch.equal(drawn(1.0), draw(base, text))
    assert (drawn(2.0) - draw(base, text)).abs().max() > 1e-3
    alone = drawn(2.0, guidance_scale=1.0)
    assert (alone - draw(base, text, guidance_scale=1.0)).abs().max() > 1e-3
    assert (levels(drawn(3.0, base)) - levels(draw(base, text))).abs().max() <= 1
    both, second = drawn(2.0), drawn(2.0, batch_size=1, seed=BASE["seed"] + 1)
    assert (levels(both[1]) - levels(second[0])).abs().max() <= 1


def test_a_weaker_stage_of_another_kind_is_refused(base, sr256, text):
    guidance = NODES["ImagenGuidance"]().make("apg", 0.0, 1.0, 0.0, 0.0, 0.0, 0.0, weak=sr256)[0]
    with pytest.raises(ValueError, match="this is sr256"):
        draw(base, text, guidance=guidance)


def test_resize_keeps_proportions():
    assert NODES["ImagenResize"]().resize(torch.rand(1, 300, 500, 4), 64)[0].shape == (1, 38, 64, 3)
    assert NODES["ImagenResize"]().resize(torch.rand(1, 5000, 1, 3), 64)[0].shape == (1, 64, 1, 3)
