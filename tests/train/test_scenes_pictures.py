"""Do pictures show what their labels say, whole, standing firmly, and the same in any window?"""

from dataclasses import replace
from functools import lru_cache
from random import Random

import pytest
import torch

from imagen_train.scenes import describe_scenes, render, sample_scenes, scene_from_names
from imagen_train.scenes import vocabulary as words
from imagen_train.scenes.camera import directions, eye, pixel_centers, project
from imagen_train.scenes.depth import FAR, NEAR, nearness
from imagen_train.scenes.packing import pack
from imagen_train.scenes.sdf import BOTTOM, BOUND, HALF_WIDTH, TOP, distance, normal, resting_heights
from imagen_train.scenes.surfaces import find_hits
from imagen_train.scenes.vocabulary import MAX_THINGS, SHAPES

FORMS = range(len(SHAPES))


@pytest.fixture(scope="module")
def batch():
    return sample_scenes(2500, seed=0)


@pytest.fixture(scope="module")
def packed(batch):
    return pack(batch.scenes, batch.seeds)


# How it stands


@lru_cache
def points_inside(shape: int) -> torch.Tensor:
    """A grid's points (3, n) within a hair of the surface, on the inner side."""
    grid = torch.linspace(-1.3, 1.3, 66)
    points = torch.stack(torch.meshgrid(grid, grid, grid, indexing="ij")).flatten(1)
    gap = distance(shape, *points)
    return points[:, (gap <= 0) & (gap > -0.06)]


def seen_extent(packed, thing: int) -> torch.Tensor:
    """Frame coordinates (2, n) of points at the thing's surface."""
    local = points_inside(int(packed.shape[thing]))
    cosine, sine = packed.yaw[:, thing]
    turned = torch.stack((cosine * local[0] + sine * local[2], local[1], cosine * local[2] - sine * local[0]))
    return project(turned * packed.radius[thing] + packed.center[:, thing, None])


def test_nothing_is_clipped_by_the_frame(packed):
    for thing in (packed.shape >= 0).nonzero()[:, 0].tolist()[:1500]:
        assert seen_extent(packed, thing).abs().max() < 0.985


def test_relations_are_seen(batch, packed):
    u, v = project(packed.center).view(2, -1, MAX_THINGS).unbind(0)
    for index, scene in enumerate(batch.scenes):
        step_u, step_v = u[index, 1] - u[index, 0], v[index, 1] - v[index, 0]
        clear = {"left": step_u > 0.3, "right": step_u < -0.3, "above": step_v < -0.3, "below": step_v > 0.3}
        assert clear.get(scene.layout_name, True), batch.captions[index]
        if scene.layout_name == "trio":
            assert u[index, 0] < u[index, 1] < u[index, 2]


def test_everything_stands_on_the_floor_or_on_its_neighbor(batch, packed):
    low = packed.center[1] - packed.radius * torch.tensor(BOTTOM)[packed.shape]
    low = low.view(-1, MAX_THINGS)
    for index, scene in enumerate(batch.scenes):
        upper = {"above": 0, "below": 1}.get(scene.layout_name)
        for slot in range(len(scene.things)):
            assert abs(low[index, slot]) < 1e-5 or slot == upper


def test_sizes_are_seen(batch, packed):
    size, layout = batch.labels["size"], batch.labels["layout"]
    radius = packed.radius.view(-1, MAX_THINGS)[:, 0]
    for name in ("one", "two", "three", "left"):
        in_layout = layout == words.LAYOUTS.index(name)
        means = [radius[in_layout & (size == value)].mean() for value in range(3)]
        assert means[0] * 1.2 < means[1] and means[1] * 1.1 < means[2]


@pytest.mark.parametrize("shape", FORMS, ids=SHAPES)
def test_extents_are_those_of_the_form(shape):
    grid = torch.linspace(-1.3, 1.3, 105)
    y, x, z = (axis.reshape(-1) for axis in torch.meshgrid(grid, grid, grid, indexing="ij"))
    inside = distance(shape, x, y, z) <= 0
    x, y, z = x[inside], y[inside], z[inside]
    assert abs(-y.min() - BOTTOM[shape]) < 0.03 and abs(y.max() - TOP[shape]) < 0.03
    assert (x * x + z * z).sqrt().max() <= HALF_WIDTH[shape] + 0.01
    assert (x * x + y * y + z * z).sqrt().max() <= BOUND[shape]


@pytest.mark.parametrize("shape", FORMS, ids=SHAPES)
def test_distances_never_overstate(shape):
    generator = torch.Generator().manual_seed(shape)
    points = torch.randn(3, 500, generator=generator)
    way = torch.nn.functional.normalize(torch.randn(3, 500, generator=generator), dim=0)
    start, end = distance(shape, *points), distance(shape, *(points + 0.05 * way))
    assert ((start - end).abs() <= 0.05 * 1.08).all()
    assert torch.allclose(normal(shape, *points).norm(dim=0), torch.ones(500), atol=0.02)


def test_resting_heights_of_simple_forms():
    sphere, cube, cylinder = (SHAPES.index(name) for name in ("sphere", "cube", "cylinder"))
    rest = resting_heights()
    assert rest[sphere, cube] == pytest.approx(1.74, abs=0.03)
    assert rest[cube, cylinder] == pytest.approx(1.54, abs=0.03)


# What is seen


def test_project_is_the_way_back_from_directions():
    u, v = torch.tensor([-0.9, 0.0, 0.4]), torch.tensor([0.7, 0.0, -0.8])
    assert torch.allclose(project(eye() + 7 * directions(u, v)), torch.stack((u, v)), atol=1e-5)


def test_depth_is_that_of_the_floor_the_wall_and_of_things_before_them(batch):
    near = nearness(batch[:2], 32)
    assert near.shape == (2, 32, 32) and near.min() >= 0 and near.max() <= 1
    packed, across = pack(batch.scenes[:2], batch.seeds[:2]), pixel_centers(0, 32, 32)
    u, v = across.repeat(64), (-across).repeat_interleave(32).repeat(2)
    scene = torch.arange(2).repeat_interleave(32 * 32)
    hits = find_hits(packed, scene, directions(u, v), 0.002)
    seen = torch.zeros(2 * 32 * 32, dtype=torch.bool)
    seen[hits.ray] = True
    empty = near[0].clone()  # of the backdrop alone, the same in every scene
    empty[seen.view(2, 32, 32)[0]] = near[1][seen.view(2, 32, 32)[0]]
    both = ~seen.view(2, 32, 32).any(0)
    torch.testing.assert_close(near[0][both], near[1][both])
    assert (empty[-1] > 0.9).all() and (empty[0] < 0.1).all()  # the floor at the lower border, the wall at the upper
    expected = (1 / hits.reach - 1 / FAR) / (1 / NEAR - 1 / FAR)
    behind = torch.minimum(near[0], near[1]).repeat(2, 1, 1).flatten()[hits.ray]
    torch.testing.assert_close(near.flatten()[hits.ray], expected, atol=0.01, rtol=0)
    assert (expected >= behind - 0.01).all()


def test_picture_format(batch):
    picture = render(batch[:2], 32)
    assert picture.shape == (2, 3, 32, 32) and picture.dtype == torch.float32
    assert picture.min() >= -1 and picture.max() <= 1 and picture.std() > 0.1


@pytest.mark.parametrize("supersample", [1, 2, 3])
def test_a_window_is_cut_out_of_the_whole(batch, supersample):
    whole = render(batch[:6], 64, supersample=supersample)
    part = render(batch[:6], 64, supersample=supersample, window=(11, 20, 37, 25))
    assert part.shape == (6, 3, 25, 37)
    assert torch.allclose(part, whole[:, :, 20:45, 11:48], atol=1e-3)


@pytest.mark.parametrize("window", [(-1, 0, 8, 8), (0, 0, 0, 8), (60, 0, 8, 8)])
def test_windows_outside_the_frame_are_refused(batch, window):
    with pytest.raises(ValueError, match="window"):
        render(batch[:1], 64, window=window)


def test_chunks_do_not_show(batch):
    whole = render(batch[:1], 800, supersample=1)  # more rays than one chunk holds
    band = render(batch[:1], 800, supersample=1, window=(0, 640, 800, 30))
    assert torch.allclose(whole[:, :, 640:670], band, atol=2e-3)


def test_a_small_picture_is_the_shrunken_large_one(batch):
    small, large = render(batch[:10], 48, supersample=4), render(batch[:10], 192)
    error = (small - torch.nn.functional.avg_pool2d(large, 4)).abs()
    assert error.mean() < 0.01 and error.quantile(0.99) < 0.12


def test_edge_supersampling_is_worth_full_supersampling(batch):
    full = torch.nn.functional.avg_pool2d(render(batch[:10], 128, supersample=1), 2)
    error = (render(batch[:10], 64, supersample=2) - full).abs()
    assert error.quantile(0.998) < 0.06 and error.mean() < 0.002


def seen_things(packed, side: int) -> torch.Tensor:
    """The thing (b, side, side) at every pixel's center, counted over the batch; -1 is background."""
    centers = pixel_centers(0, side, side)
    u, v = centers.repeat(side), (-centers).repeat_interleave(side)
    scene = torch.arange(len(packed)).repeat_interleave(side * side)
    hits = find_hits(packed, scene, directions(u, v).repeat(1, len(packed)), tolerance=0.006)
    things = torch.full_like(scene, -1)
    things[hits.ray] = hits.thing
    return things.view(-1, side, side)


def test_every_thing_is_seen_where_its_label_says(batch):
    part = batch[:200]
    packed = pack(part.scenes, part.seeds)
    things = seen_things(packed, 48)
    columns = torch.arange(48).expand(48, 48)
    for index, scene in enumerate(part.scenes):
        seen = [things[index] == index * MAX_THINGS + slot for slot in range(len(scene.things))]
        assert all(mask.sum() >= 12 for mask in seen), part.captions[index]
        edges = torch.cat((things[index][0], things[index][-1], things[index][:, 0], things[index][:, -1]))
        assert (edges < 0).all(), part.captions[index]
        if scene.layout_name in ("left", "right"):
            first, second = (columns[mask].float().mean() for mask in seen)
            assert (first < second) == (scene.layout_name == "left")


@pytest.mark.parametrize("backdrop", ["sunset", "night", "blue", "black"])
def test_a_gray_thing_stays_gray(backdrop):
    batch = describe_scenes([scene_from_names("one", backdrop, ["gray sphere"])], Random(1))
    seen = seen_things(pack(batch.scenes, batch.seeds), 64)[0] >= 0
    color = (render(batch, 64)[0][:, seen].mean(1) + 1) / 2
    assert color.max() - color.min() < 0.035


@pytest.mark.parametrize("color", ["white", "gray", "black", "red", "pink"])
def test_a_thing_stands_out_on_its_own_color(color):
    batch = describe_scenes([scene_from_names("one", color, [f"{color} cube"])], Random(2))
    seen = seen_things(pack(batch.scenes, batch.seeds), 64)[0] >= 0
    picture = render(batch, 64, supersample=1)[0]
    across = seen[:, 3:] != seen[:, :-3]
    steps = (picture[:, :, 3:] - picture[:, :, :-3]).abs().amax(0)[across]
    assert (steps > 0.04).float().mean() > 0.75


def test_every_letter_differs_from_every_other():
    alphabet = "ABCDEFGHIJKLMNOPQRSTUVWXYZ"
    scenes = [scene_from_names("sign", "white", ["blue sign"], 2 * letter) for letter in alphabet]
    batch = replace(describe_scenes(scenes, Random(0)), seeds=torch.zeros(26, dtype=torch.long))  # one pose for all
    letters = render(batch, 48, supersample=1, window=(8, 8, 32, 19)).flatten(1)
    apart = torch.cdist(letters, letters) + 1e3 * torch.eye(26)
    assert apart.min() > 1.0


def test_words_too_long_for_a_sign_are_refused():
    scene = scene_from_names("sign", "white", ["blue sign"], "TOOLONG")
    with pytest.raises(ValueError, match="at most 6"):
        pack([scene], torch.zeros(1, dtype=torch.long))
