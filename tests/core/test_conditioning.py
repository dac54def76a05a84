"""Do signals of any kind join, repeat and part along the batch, and do networks take them in where they say?"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import fields, is_dataclass, replace

import pytest
import torch
from test_unets import CONFIGS, make_inputs, make_text, randomised
from torch import nn

from imagen_core.conditioning import Signals, Tokens, joined, part_of, repeated
from imagen_core.steering import Steering
from imagen_core.unets.attention import is_text_attention


def tokens(count, length, seed=0, mask=False, weight=1.0):
    generator = torch.Generator().manual_seed(seed)
    pairs = torch.randn(2, 2, count, 3, length, 4, generator=generator)  # layers, (keys, values), b n l k
    real = torch.arange(length) < torch.arange(1, count + 1)[:, None] if mask else None
    return Tokens(keys_values=tuple((keys, values) for keys, values in pairs), mask=real, weight=weight)


def everything(count, seed=0):
    """Signals with something in every field, which a new field must be added to."""
    generator = torch.Generator().manual_seed(seed)
    told = Signals(
        vector=torch.randn(count, 5, generator=generator),
        aug_level=torch.rand(count, generator=generator),
        tokens=tokens(count, 4, seed),
        beside=(tokens(count, 2, seed + 1), tokens(count, 3, seed + 2, mask=True, weight=0.5)),
        pixels=torch.randn(count, 3, 6, 6, generator=generator),
        features={"skip.1": torch.randn(count, 8, 3, 3, generator=generator)},
        steering=(
            Steering(
                adapter=nn.Identity(),
                told=Signals(features={"stem": torch.randn(count, 2, 4, 4, generator=generator)}),
                strength=torch.rand(count, generator=generator),
                mask=torch.rand(count, 1, 4, 4, generator=generator),
            ),
        ),
    )
    empty = Signals()
    assert all(getattr(told, each.name) is not getattr(empty, each.name) for each in fields(Signals))
    return told


def tensors(value):
    if isinstance(value, torch.Tensor):
        return [value]
    if isinstance(value, Mapping):
        return [tensor for each in value.values() for tensor in tensors(each)]
    if isinstance(value, tuple):
        return [tensor for each in value for tensor in tensors(each)]
    return (
        [tensor for each in fields(value) for tensor in tensors(getattr(value, each.name))]
        if is_dataclass(value)
        else []
    )


def assert_same(a, b):
    assert len(tensors(a)) == len(tensors(b)) > 10
    assert all(torch.equal(one, other) for one, other in zip(tensors(a), tensors(b), strict=True))


def test_what_is_joined_is_parted_again():
    first, second = everything(2, seed=1), everything(3, seed=9)
    both = joined([first, second])
    assert all(len(tensor) == 5 for tensor in tensors(both))
    assert_same(part_of(both, slice(0, 2)), first)
    assert_same(part_of(both, slice(2, 5)), second)
    assert joined([first]) is first


def test_repeating_keeps_each_images_copies_side_by_side():
    told = everything(2)
    assert_same(part_of(repeated(told, 3), slice(0, 6, 3)), told)
    assert_same(part_of(repeated(told, 3), slice(2, 6, 3)), told)


def test_shorter_tokens_are_padded_with_masked_ones():
    both = joined([tokens(1, 5), tokens(2, 2)])
    assert both.mask.tolist() == [[True] * 5, [True, True, False, False, False], [True, True, False, False, False]]
    assert both.keys_values[1][0].shape == (3, 3, 5, 4) and both.keys_values[1][0][1:, :, 2:].abs().max() == 0
    assert joined([tokens(1, 5), tokens(2, 5)]).mask is None
    masked = joined([tokens(2, 5, mask=True), tokens(1, 5)])
    assert masked.mask.sum(1).tolist() == [1, 2, 5]


def test_branches_that_are_told_different_kinds_are_refused():
    for other in (Signals(), replace(everything(2), features={}), replace(everything(2), beside=())):
        with pytest.raises((ValueError, KeyError)):
            joined([everything(2), other])


def test_signals_add_up():
    a, b = Signals(vector=torch.ones(2, 3), pixels=torch.zeros(2, 3, 4, 4)), Signals(vector=torch.ones(2, 3))
    both = a + b + Signals(pixels=torch.ones(2, 1, 4, 4), features={"middle": torch.ones(2, 8, 2, 2)})
    assert both.vector.unique().tolist() == [2.0] and both.pixels.shape == (2, 4, 4, 4)
    assert (both + Signals(features={"middle": torch.ones(2, 8, 2, 2)})).features["middle"].unique().tolist() == [2.0]
    assert a + Signals() == a


class Asked(dict):
    """Features that nobody has, and that remember which were asked for."""

    def __init__(self):
        super().__init__()
        self.names = []

    def get(self, name, default=None):
        self.names.append(name)
        return super().get(name, default)


@pytest.fixture(params=CONFIGS, scope="module")
def unet(request):
    return randomised(CONFIGS[request.param])


@pytest.fixture
def run(unet):
    x_t, time, picture = make_inputs(unet)
    told = picture + unet.encode_text(make_text())
    return lambda **more: unet(x_t, time, replace(told, **more))


def test_a_vector_is_told_beside_the_time(unet, run):
    told = unet.encode_text(make_text())
    assert torch.equal(run(vector=told.vector + torch.zeros_like(told.vector)), run())
    assert (run(vector=told.vector + 0.5) - run()).abs().max() > 1e-5


def test_every_named_feature_is_added_where_it_is_named(run):
    asked, plain = Asked(), run()
    seen = {}

    class Shapes(Asked):
        def get(self, name, default=None):
            return Seen(name)

    class Seen:
        def __init__(self, name):
            self.name = name

        def to(self, dtype):
            return self

        def __radd__(self, x):
            seen[self.name] = x.shape
            return x

    assert torch.equal(run(features=asked), plain)
    run(features=Shapes())
    assert set(asked.names) == set(seen) and {"middle", "down.0", "skip.0"} <= set(seen)
    for name, shape in seen.items():
        assert torch.equal(run(features={name: torch.zeros(shape)}), plain), name
        changed = (run(features={name: torch.randn(shape)}) - plain).abs().max() > 1e-6  # constants a norm takes out
        # The coarsest level's output of an Efficient U-Net goes straight on, and is no skip.
        assert changed or name == max((n for n in seen if n.startswith("skip")), key=lambda n: int(n[5:])), name


def test_what_is_read_beside_the_text_is_weighted_and_added(unet, run):
    """Decoupled attention's closed form: linear in the weight, nothing at 0, and padding does not count."""
    layers = sorted((m for m in unet.modules() if is_text_attention(m)), key=lambda m: m.text_index)
    generator = torch.Generator().manual_seed(5)
    text = unet.encode_text(make_text()).tokens
    assert len(layers) == len(text.keys_values) > 0
    pairs = tuple(
        tuple(torch.randn(2, *part.shape[1:2], 3, part.shape[-1], generator=generator) for part in pair)
        for pair in text.keys_values
    )
    beside = Tokens(keys_values=pairs)
    assert torch.equal(run(beside=(replace(beside, weight=0.0),)), run())
    assert (run(beside=(beside,)) - run()).abs().max() > 1e-6
    twice = run(beside=(replace(beside, weight=0.5), replace(beside, weight=0.5)))
    torch.testing.assert_close(twice, run(beside=(beside,)), rtol=1e-4, atol=1e-5)
    longer = beside.padded_to(5)
    torch.testing.assert_close(run(beside=(longer,)), run(beside=(beside,)), rtol=1e-4, atol=1e-5)
