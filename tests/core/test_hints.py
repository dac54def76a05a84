"""Are edges Canny's, palettes means, and do hints come to another size without losing borders or lines?"""

from __future__ import annotations

import pytest
import torch
from skimage.feature import canny
from torch.nn import functional as F

from imagen_core import HINTS
from imagen_core.hints import fitted, kind_of, strokes_to_lines
from imagen_core.hints._base import luminance
from imagen_core.hints.depth import Depth
from imagen_core.hints.edges import Edges
from imagen_core.hints.palette import Palette
from imagen_core.hints.scribble import Scribble
from imagen_core.hints.segments import Segments
from imagen_core.hints.tile import Tile


def shapes(height=48, width=64, seed=0):
    """A disc and a box on a slope, with some noise: (1 3 h w) in [-1, 1]."""
    y, x = torch.meshgrid(torch.arange(height) / height, torch.arange(width) / width, indexing="ij")
    picture = torch.stack([x, y, 0.5 * x + 0.2])
    picture[:, (x - 0.3) ** 2 + (y - 0.4) ** 2 < 0.04] = 0.9
    picture[:, (x > 0.6) & (x < 0.9) & (y > 0.5) & (y < 0.8)] = 0.1
    noise = torch.randn(picture.shape, generator=torch.Generator().manual_seed(seed))
    return (picture + 0.02 * noise).clamp(0, 1)[None] * 2 - 1


@pytest.mark.parametrize(("sigma", "low", "high"), [(1.0, 0.1, 0.2), (2.0, 0.04, 0.12), (0.7, 0.2, 0.2)])
def test_edges_are_scikit_images(sigma, low, high):
    picture = shapes()
    ours = Edges(sigma=sigma, low=low, high=high).found(picture)[0, 0].numpy()
    grey = luminance(picture)[0, 0].double().numpy()
    theirs = canny(grey, sigma=sigma, low_threshold=low, high_threshold=high)
    assert theirs.sum() > 50
    assert (ours != theirs).sum() <= 2  # ties that float32 and float64 break otherwise


def test_edges_of_a_batch_are_each_alone():
    both = torch.cat([shapes(), shapes(seed=1).flip(3)])
    assert torch.equal(Edges()(both)[1:], Edges()(both[1:]))


@pytest.mark.parametrize("name", HINTS)
def test_a_hint_is_a_picture_that_is_known_for_what_it_is(name):
    hint = HINTS[name]()(shapes())
    assert hint.shape == (1, 3, 48, 64) and hint.min() >= -1 and hint.max() <= 1
    assert HINTS[name]().fits(hint)
    varied = HINTS[name]().varied(torch.Generator().manual_seed(0))(shapes())
    assert varied.shape == hint.shape and HINTS[name]().fits(varied)
    assert HINTS[name]()(torch.zeros(2, 3, 5, 3)).shape == (2, 3, 5, 3)


def test_what_is_no_hint_is_refused():
    for name in ("edges", "soft_edges", "scribble", "palette", "segments"):
        with pytest.raises(ValueError, match=f"\\({name}\\): make one"):
            kind_of(shapes(), [name], None)
    assert kind_of(Palette()(shapes()), ["edges", "palette"], None) == "palette"
    assert kind_of(Edges()(shapes()), ["edges", "palette"], None) == "edges"
    assert kind_of(shapes(), ["normals"], "normals") == "normals"


def test_thick_lines_are_a_scribble_where_a_control_reads_both():
    kinds = ["edges", "palette", "scribble", "segments"]
    for name in kinds:
        assert kind_of(HINTS[name]()(shapes(64, 64)), kinds, None) == name
        assert kind_of(HINTS[name]()(shapes(64, 64)), kinds[::-1], None) == name
    strokes = torch.zeros(1, 1, 512, 512)
    strokes[..., 100:120, 60:400] = 1.0
    strokes[..., 100:400, 200] = 1.0  # one pixel thin, of eight
    sketch = strokes_to_lines(strokes, 64)
    assert sketch.shape == (1, 3, 64, 64) and set(sketch.unique().tolist()) == {-1.0, 1.0}
    assert (sketch[0, 0, 13:50, 25] == 1).all() and kind_of(sketch, kinds, None) == "scribble"
    assert kind_of(sketch, ["edges", "palette"], None) == "edges"  # the nearest that it reads
    assert strokes_to_lines(strokes, 0).shape == (1, 3, 512, 512)


def test_a_scribbles_pen_strays_as_far_as_it_is_told():
    picture = shapes(64, 64)
    exact = Scribble()(picture)
    assert torch.equal(Scribble(wobble=0.0, seed=7)(picture), exact)
    strayed = Scribble(wobble=1.0, seed=7)(picture)
    assert torch.equal(Scribble(wobble=1.0, seed=7)(picture), strayed) and not torch.equal(strayed, exact)
    assert not torch.equal(Scribble(wobble=1.0, seed=8)(picture), strayed)
    near = F.max_pool2d(exact, 9, stride=1, padding=4)  # four deviations
    assert strayed.max() == 1 and (strayed <= near).all()
    assert 0.6 < (strayed > 0).sum() / (exact > 0).sum() < 1.4


def test_what_is_known_to_lie_there_is_outlined_where_no_edge_is():
    plain = torch.zeros(1, 3, 64, 64)
    regions = torch.zeros(1, 64, 64, dtype=torch.long)
    regions[:, 20:40, 10:50] = 1
    for name, kind in HINTS.items():
        hint = kind()
        assert torch.equal(hint.known(plain, regions), hint(plain)) != kind.reads_regions, name
    drawn = Scribble(pen=1.0).known(plain, regions)[0, 0] > 0
    assert drawn[19, 10:50].all() and drawn[20:40, 49].all() and not drawn[25:35, 15:45].any()


def test_a_palette_of_other_cells_is_told_with_what_to_do():
    picture = torch.rand(1, 3, 80, 80, generator=torch.Generator().manual_seed(0)) * 2 - 1

    def painted(cells):
        return fitted(picture[..., :cells, :cells], (80, 80), resizing="blocks")

    for cells in (5, 16):
        with pytest.raises(ValueError, match=f"a palette of {cells} cells a side, .* set cells of Imagen Palette to 8"):
            kind_of(painted(cells), ["edges", "palette"], None)
    assert kind_of(painted(4), ["palette"], None) == "palette"
    with pytest.raises(ValueError, match=r"expected|not what the control reads, flat cells"):
        kind_of(picture, ["palette"], None)


def test_a_palette_is_the_mean_of_each_cell():
    picture = shapes(64, 64)
    cells = picture.unfold(2, 8, 8).unfold(3, 8, 8).mean((4, 5))
    torch.testing.assert_close(Palette().means(picture), cells, atol=1e-6, rtol=0)
    assert torch.equal(Palette()(picture)[0, :, 8:16, 16:24].flatten(1).std(1), torch.zeros(3))


def test_segments_are_regions_whatever_their_colours():
    picture = torch.full((1, 3, 64, 64), -0.5)
    picture[:, 0, 8:40, 8:40] = 0.9  # a large red box and a small blue one, shaded, on grey
    picture[:, 2, 44:58, 40:58] = 0.9
    picture += torch.linspace(-0.2, 0.2, 64)
    boxes = torch.zeros(64, 64, dtype=torch.long)
    boxes[8:40, 8:40], boxes[44:58, 40:58] = 1, 2
    found = Segments(groups=3).regions(picture)[0]
    assert (found == boxes).float().mean() > 0.99
    recolored = Segments(groups=3).regions(-picture[:, [1, 2, 0]])[0]
    assert (recolored == boxes).float().mean() > 0.99
    hint = Segments(groups=3)(picture)
    assert len(hint.flatten(2)[0].mT.unique(dim=0)) == 3 and (hint[..., 0, 0] == -1).all()
    assert not Segments().fits(shapes()) and kind_of(hint, ["edges", "scribble", "segments"], None) == "segments"
    both = torch.cat([picture, shapes(64, 64)])
    assert torch.equal(Segments().regions(both)[1:], Segments().regions(both[1:]))


def test_depth_is_scaled_by_its_own_nearest_and_farthest_and_can_be_turned_round():
    ramp = torch.linspace(-0.2, 0.4, 64).expand(1, 3, 64, 64)
    hint = Depth()(ramp)
    assert hint[0, 0, 0, 0] == -1 and hint[0, 0, 0, -1] == 1 and (hint.diff(dim=3) >= 0).all()
    torch.testing.assert_close(Depth(inverted=True)(ramp), -hint, atol=1e-5, rtol=0)
    stray = ramp.clone()
    stray[..., 0, 0] = 1.0
    torch.testing.assert_close(Depth()(stray)[..., 1:, :], hint[..., 1:, :], atol=0.05, rtol=0)
    depths = torch.stack([ramp[0, 0], torch.full((64, 64), 0.7)])
    told = Depth().of_depths(depths)
    torch.testing.assert_close(told[:1], hint, atol=1e-5, rtol=0)
    assert (told[1] == -1).all()  # of a plain picture nothing is near
    assert [Depth(bend=bend)(ramp).mean() < hint.mean() for bend in (1.4, 0.7)] == [True, False]
    assert Depth().fits(hint) and not Depth().fits(shapes()) and kind_of(hint, ["edges", "depth"], None) == "depth"
    with pytest.raises(ValueError, match="a share of 0.5 of the pixels"):
        Depth(near=0.5)


def test_a_tile_keeps_a_slope():
    slope = torch.linspace(-1, 1, 64).expand(1, 3, 64, 64)
    torch.testing.assert_close(Tile()(slope)[..., 8:-8], slope[..., 8:-8], atol=1e-5, rtol=0)


def test_borders_are_kept_unless_asked_otherwise():
    wide = torch.full((1, 3, 32, 64), -1.0)
    wide[..., 0] = 1.0  # a line at the left border
    stretched, padded, cropped = (
        fitted(wide, (16, 16), how=how, resizing="lines") for how in ("stretch", "pad", "crop")
    )
    assert (stretched[..., 0] == 1).all() and (padded[..., 0] == 1).all() and (cropped == -1).all()
    tall = fitted(wide.mT, (16, 16), resizing="lines")
    assert (tall[..., 0, :] == 1).all()
    with pytest.raises(ValueError, match="pad, crop, stretch"):
        fitted(wide, (16, 16), how="squeeze")


def test_thin_lines_outlive_shrinking_and_cells_stay_flat():
    lines = torch.full((1, 3, 128, 128), -1.0)
    lines[:, :, 40] = 1.0
    assert (fitted(lines, (16, 16), resizing="lines")[:, :, 5] == 1).all()
    flat = Segments()(shapes(64, 64))
    colors = {tuple(color) for color in flat.flatten(2)[0].mT.tolist()}
    for side in (24, 100):
        sized = fitted(flat, (side, side), resizing="flat").flatten(2)[0].mT.tolist()
        assert {tuple(color) for color in sized} <= colors
    grown = fitted(Palette().means(shapes(64, 64)), (64, 64), resizing="blocks")
    assert torch.equal(grown, Palette()(shapes(64, 64)))


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (lambda: Edges(low=0.3, high=0.1), "low <= high"),
        (lambda: Edges(sigma=-1.0), "sigma"),
        (lambda: Palette(cells=0), "cells"),
        (lambda: Tile(shrink=0.5), "shrunk"),
        (lambda: Segments(groups=1), "1 groups"),
    ],
)
def test_impossible_settings_are_named(make, message):
    with pytest.raises(ValueError, match=message):
        make()
