"""How good are the pictures? How far are they from renders (Frechet), and does super-resolution beat bicubic?

Shapes: b pictures, c channels, h w pixels, n samples, d features.
"""

from __future__ import annotations

import numpy as np
import torch
from torch import Tensor
from torch.nn import functional as F

from .classifier import Classifier

Figure = dict[str, float | int | None]


def frechet_distance(a: Tensor, b: Tensor) -> float:
    """Frechet distance of two sets of features (n d), each as a Gaussian (Heusel et al. 2017, Eq. 6), in float64."""
    if min(len(a), len(b)) < 2 or a.shape[1] != b.shape[1]:
        raise ValueError(f"features must be (n d) with n of at least 2 and one d, got {a.shape} and {b.shape}")
    a, b = a.double(), b.double()
    cov_a, cov_b = a.T.cov(), b.T.cov()
    root = _sqrt(cov_a)
    # tr sqrt(A B) = tr sqrt(sqrt(A) B sqrt(A)), which is symmetric
    cross = torch.linalg.eigvalsh(root @ cov_b @ root).clamp_min(0).sqrt().sum()
    return ((a.mean(0) - b.mean(0)).square().sum() + cov_a.trace() + cov_b.trace() - 2 * cross).clamp_min(0).item()


def _sqrt(matrix: Tensor) -> Tensor:
    """Square root of a symmetric positive matrix."""
    values, vectors = torch.linalg.eigh(matrix)
    return (vectors * values.clamp_min(0).sqrt()) @ vectors.T


def psnr(a: Tensor, b: Tensor) -> Tensor:
    """Peak signal-to-noise ratio (b,) in dB of pictures (b c h w) in [-1, 1]: the peak is 2."""
    return 10 * torch.log10(4.0 / (a - b).square().flatten(1).mean(1).clamp_min(1e-12))


@torch.inference_mode()
def feature_distance(model: Classifier, a: Tensor, b: Tensor) -> Tensor:
    """How different two sets of pictures (b c h w) look to the classifier's early and late maps: (b,), 0 for equal.

    Per place, maps are scaled to unit length, then the squared differences are averaged, as LPIPS does (Zhang et al.
    2018, Eq. 1, with equal weights). Blur costs more than in PSNR, a small shift of texture less.
    """
    pairs = zip(model.maps(a), model.maps(b), strict=True)
    return torch.stack([_unit_difference(x, y) for x, y in pairs]).mean(0)


def _unit_difference(x: Tensor, y: Tensor) -> Tensor:
    return (F.normalize(x, dim=1) - F.normalize(y, dim=1)).square().sum(1).flatten(1).mean(1)


@torch.inference_mode()
def edge_width(pictures: Tensor, truth: Tensor, *, reach: int = 6, least: float = 0.5) -> Tensor:
    """How many pixels wide the edges of pictures (b 3 h w) are where `truth` has clear ones: (b,), each a median.

    Per place, the contrast within `reach` pixels over the steepest slope there: an ideal step has 1, a linear ramp its
    length. Clear: where the truth's own slope is that of a step of at least `least` of its greatest contrast. NaN where
    the truth has no clear edge.
    """
    found = []
    for picture, true in zip(_luma(pictures), _luma(truth), strict=True):
        slope, most = _slope(true), true.amax() - true.amin()
        clear = (slope >= least * most) & (slope > 0)
        steepest, contrast = _spread(_slope(picture), reach)[0], _spread(picture, reach)
        widths = (contrast[0] - contrast[1])[clear] / steepest[clear].clamp_min(1e-6)
        found.append(widths.median() if widths.numel() else widths.new_tensor(float("nan")))
    return torch.stack(found)


def _luma(pictures: Tensor) -> Tensor:
    """(b 3 h w) -> (b h w), ITU-R BT.601."""
    return (pictures * pictures.new_tensor([0.299, 0.587, 0.114]).view(3, 1, 1)).sum(1)


def _slope(plane: Tensor) -> Tensor:
    """The difference to the next pixel (h w): the larger of the two directions'."""
    across = F.pad((plane[:, 1:] - plane[:, :-1]).abs(), (0, 1))
    down = F.pad((plane[1:] - plane[:-1]).abs(), (0, 0, 0, 1))
    return torch.maximum(across, down)


def _spread(plane: Tensor, reach: int) -> tuple[Tensor, Tensor]:
    """Largest and smallest value (h w) within `reach` pixels."""
    side = 2 * reach + 1
    largest, negative = (F.max_pool2d(each[None, None], side, 1, reach)[0, 0] for each in (plane, -plane))
    return largest, -negative


def bicubic(low_res: Tensor, factor: int = 4) -> Tensor:
    """What super-resolution has to beat: (b c h w) -> (b c factor*h factor*w) in [-1, 1]."""
    grown = F.interpolate(low_res, scale_factor=factor, mode="bicubic", align_corners=False)
    return grown.clamp(-1, 1)


def lanczos(low_res: Tensor, factor: int = 4) -> Tensor:
    """The other rival of super-resolution, Pillow's Lanczos: (b c h w) -> (b c factor*h factor*w) in [-1, 1]."""
    from PIL import Image

    b, c, h, w = low_res.shape
    grown = [
        torch.from_numpy(np.array(Image.fromarray(plane.numpy()).resize((w * factor, h * factor), Image.LANCZOS)))
        for plane in low_res.detach().cpu().float().reshape(b * c, h, w)
    ]
    return torch.stack(grown).view(b, c, h * factor, w * factor).clamp(-1, 1).to(low_res)
