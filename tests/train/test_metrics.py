"""Do the metrics measure what they say? Closed forms, and judges that are right or wrong on purpose."""

from __future__ import annotations

from random import Random

import pytest
import torch
from torch import Tensor

from imagen_train.classifier import HEADS, Classifier, picture_targets
from imagen_train.metrics import (
    FOUR,
    STATED,
    bicubic,
    edge_width,
    feature_distance,
    frechet_distance,
    judge_alignment,
    psnr,
    share,
)
from imagen_train.scenes import SceneBatch, describe_scenes, sample_scenes
from imagen_train.scenes.scene import Scene, Thing
from imagen_train.scenes.vocabulary import LAYOUTS

RED_SPHERE, BLUE_CUBE = Thing(0, 0), Thing(5, 1)


def _perfect(batch: SceneBatch) -> dict[str, Tensor]:
    return dict(zip(HEADS, picture_targets(batch.scenes).unbind(1), strict=True))


def _pairs(layout: str, *, stated: bool, count: int = 300) -> SceneBatch:
    """Scenes of two things whose captions state all four of colors and shapes; `stated`: and the order."""
    scene = Scene(LAYOUTS.index(layout), 0, (RED_SPHERE, BLUE_CUBE))
    batch = describe_scenes([scene] * count, Random(0))
    rows = [
        i
        for i in range(count)
        if all(batch.stated[name][i] for name in FOUR) and bool(batch.stated["layout"][i]) == stated
    ]
    first = rows[0]
    return batch[first : first + 1]


def test_a_perfect_picture_is_right_in_everything():
    batch = sample_scenes(400, seed=3, held_out=True)
    figures = judge_alignment(_perfect(batch), batch)
    assert set(figures) == {*STATED, "order", "bound", "all"}
    assert all(figure["accuracy"] == 1.0 and figure["se"] == 0.0 and figure["n"] > 20 for figure in figures.values())
    assert figures["backdrop"]["n"] == int(batch.stated["backdrop"].sum())


def test_chance_is_far_from_right():
    batch = sample_scenes(400, seed=4)
    generator = torch.Generator().manual_seed(0)
    seen = {name: torch.randint(count, (400,), generator=generator) for name, count in HEADS.items()}
    figures = judge_alignment(seen, batch)
    assert figures["color_1"]["accuracy"] < 0.2 and figures["bound"]["accuracy"] < 0.05


@pytest.mark.parametrize("layout", ["left", "right", "above", "below"])
def test_swapped_things_are_wrong_when_the_order_is_stated(layout):
    batch = _pairs(layout, stated=True)
    other = Scene(batch.scenes[0].layout, 0, (BLUE_CUBE, RED_SPHERE))
    seen = dict(zip(HEADS, picture_targets([other]).unbind(1), strict=True))
    figures = judge_alignment(seen, batch)
    assert figures["layout"]["accuracy"] == 1.0  # two things side by side (or stacked) they are
    assert [figures[name]["accuracy"] for name in ("order", "color_1", "shape_2", "bound")] == [0.0] * 4
    assert judge_alignment(_perfect(batch), batch)["order"]["accuracy"] == 1.0


def test_either_order_is_right_when_none_is_stated():
    batch = _pairs("left", stated=False)
    for scene in (batch.scenes[0], Scene(batch.scenes[0].layout, 0, (BLUE_CUBE, RED_SPHERE))):
        seen = dict(zip(HEADS, picture_targets([scene]).unbind(1), strict=True))
        figures = judge_alignment(seen, batch)
        assert figures["bound"]["accuracy"] == 1.0
        assert figures["layout"]["n"] == figures["order"]["n"] == 0


def test_unstated_attributes_never_count():
    batch = sample_scenes(300, seed=6)
    seen = _perfect(batch)
    for name, label in (("backdrop", "backdrop"), ("color_1", "color_1"), ("size_1", "size")):
        if name == "backdrop":
            seen[name] = seen[name].where(batch.stated[label], 11 - seen[name])
    assert judge_alignment(seen, batch)["backdrop"]["accuracy"] == 1.0


def test_share_closed_form():
    assert share([True, True, True, False]) == {"accuracy": 0.75, "n": 4, "se": pytest.approx((0.1875 / 4) ** 0.5)}
    assert share([]) == {"accuracy": None, "n": 0, "se": None}


def test_frechet_distance_closed_form():
    generator = torch.Generator().manual_seed(0)
    x = torch.randn(4000, 6, generator=generator)
    assert frechet_distance(x, x) == pytest.approx(0, abs=1e-6)
    assert frechet_distance(x, x + 2) == pytest.approx(6 * 4, rel=1e-6)
    y = 3 * torch.randn(4000, 6, generator=generator)  # N(0, 1) to N(0, 9): (3 - 1)^2 a dimension
    assert frechet_distance(x, y) == pytest.approx(6 * 4, rel=0.05)
    assert frechet_distance(x, y) == pytest.approx(frechet_distance(y, x), rel=1e-9)
    few = torch.randn(5, 6, generator=generator)  # fewer samples than dimensions: singular, still finite
    assert 0 <= frechet_distance(few, x) < 100
    with pytest.raises(ValueError, match="at least 2"):
        frechet_distance(x[:1], x)


@pytest.mark.parametrize("width", [1, 2, 5])
def test_the_edge_width_of_a_ramp_is_its_length(width):
    step = torch.where(torch.arange(40) < 20, -0.8, 0.7).expand(1, 3, 24, 40)
    ramp = -0.8 + 1.5 * ((torch.arange(40) - 19) / width).clamp(0, 1).expand(1, 3, 24, 40)
    assert torch.allclose(edge_width(ramp, step), torch.tensor([float(width)]))
    turned = edge_width(ramp.transpose(2, 3), step.transpose(2, 3))
    assert torch.allclose(turned, torch.tensor([float(width)]))


def test_a_picture_without_edges_has_no_edge_width():
    assert edge_width(torch.zeros(1, 3, 16, 16), torch.zeros(1, 3, 16, 16)).isnan().all()


def test_psnr_closed_form():
    truth = torch.zeros(2, 3, 4, 4)
    assert psnr(truth + torch.tensor([0.2, 0.02]).view(2, 1, 1, 1), truth).tolist() == pytest.approx([20.0, 40.0])


def test_bicubic_keeps_flat_and_size():
    assert torch.allclose(bicubic(torch.full((1, 3, 4, 6), 0.5)), torch.full((1, 3, 16, 24), 0.5), atol=1e-6)


def test_feature_distance_grows_with_blur_and_is_zero_for_equal():
    torch.manual_seed(0)
    model, truth = Classifier().eval(), torch.rand(2, 3, 64, 64) * 2 - 1
    small = torch.nn.functional.avg_pool2d(truth, 2)
    blurred, more = bicubic(small, 2), bicubic(torch.nn.functional.avg_pool2d(truth, 8), 8)
    near, far = feature_distance(model, blurred, truth), feature_distance(model, more, truth)
    assert (feature_distance(model, truth, truth) == 0).all() and (near > 0).all() and (far > near).all()
