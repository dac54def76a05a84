"""Does a seed draw the same picture whatever else is in the batch?"""

import pytest
import torch

from imagen_core.noise import BatchNoise


def test_alone_and_in_a_batch_are_the_same():
    batch, alone = BatchNoise([7, 8, 9]), BatchNoise([8])
    for shape in ((3, 5, 4), (3, 16, 16), (1, 2, 2)):
        drawn = batch(shape)
        assert drawn.shape == (3, *shape)
        assert drawn.dtype == torch.float32
        assert torch.equal(drawn[1:2], alone(shape))


def test_again_with_the_seed_but_not_within_a_stream():
    first, second = BatchNoise([1, 1]), BatchNoise([1, 1])
    a, b = first((3, 8, 8)), first((3, 8, 8))
    assert torch.equal(a, second((3, 8, 8)))
    assert torch.equal(a[0], a[1])
    assert not torch.equal(a, b)


def test_leaves_global_randomness_alone():
    before = torch.get_rng_state()
    BatchNoise([3])((3, 8, 8))
    assert torch.equal(before, torch.get_rng_state())


def test_takes_the_seeds_that_hosts_give():
    assert len(BatchNoise([0, 2**64 - 1])) == 2
    with pytest.raises(ValueError, match="seed"):
        BatchNoise([])
