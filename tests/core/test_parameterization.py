"""Do eps, v and x_0 turn into one another and back?"""

from itertools import permutations

import pytest
import torch

from imagen_core import parameterization
from imagen_core.parameterization import (
    PREDICTION_TYPES,
    diffuse,
    output_to_x_0,
    per_image,
    training_target,
)
from imagen_core.schedules.cosine import CosineSchedule

GENERATOR = torch.Generator().manual_seed(0)
X_0, EPS = torch.randn(2, 5, 3, 4, 4, generator=GENERATOR, dtype=torch.float64)
T = torch.tensor([0.05, 0.3, 0.5, 0.7, 0.95], dtype=torch.float64)
ALPHA, SIGMA = (per_image(values, X_0) for values in CosineSchedule().alpha_sigma(T))
X_T = diffuse(X_0, EPS, ALPHA, SIGMA)
VALUES = {"eps": EPS, "v": ALPHA * EPS - SIGMA * X_0, "x_0": X_0}


@pytest.mark.parametrize(("a", "b"), permutations(PREDICTION_TYPES, 2))
def test_a_to_b_and_back(a, b):
    there = getattr(parameterization, f"{a}_to_{b}")
    back = getattr(parameterization, f"{b}_to_{a}")
    torch.testing.assert_close(there(VALUES[a], X_T, ALPHA, SIGMA), VALUES[b])
    torch.testing.assert_close(back(there(VALUES[a], X_T, ALPHA, SIGMA), X_T, ALPHA, SIGMA), VALUES[a])


@pytest.mark.parametrize("prediction_type", PREDICTION_TYPES)
def test_what_a_network_should_put_out_is_read_as_x_0(prediction_type):
    target = training_target(prediction_type, X_0, EPS, ALPHA, SIGMA)
    torch.testing.assert_close(target, VALUES[prediction_type])
    torch.testing.assert_close(output_to_x_0(prediction_type, target, X_T, ALPHA, SIGMA), X_0)


def test_scalars_broadcast_and_keep_float32():
    x_t = diffuse(X_0.float(), EPS.float(), 0.6, 0.8)
    assert x_t.dtype == torch.float32
    torch.testing.assert_close(output_to_x_0("eps", EPS.float(), x_t, 0.6, 0.8), X_0.float())


def test_unknown_prediction_type():
    with pytest.raises(ValueError, match="'epsilon'.*eps, v, x_0"):
        output_to_x_0("epsilon", EPS, X_T, ALPHA, SIGMA)
    with pytest.raises(ValueError, match="eps, v, x_0"):
        training_target("x0", X_0, EPS, ALPHA, SIGMA)
