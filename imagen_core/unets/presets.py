"""Which settings did the paper's three networks have? (Imagen, arXiv 2205.11487, appendices F.1 to F.3.)

Parameters, published and as built from the published settings:
- base64   2 B     2.40 B   the network without its text projections has 2.10 B; keys and values straight from T5-XXL's
                            4096 channels in each of 23 attention layers are the rest.
- sr256    600 M   488 M    } F.2 and F.3 differ in nothing but self-attention at the coarsest level, 8 M here, so no
- sr1024   400 M   480 M    } reading of them gives both numbers. These settings are taken as printed, each within 21 %.
"""

from __future__ import annotations

from ._base import UNetConfig
from .base_unet import BaseUNetConfig
from .efficient_unet import EfficientUNetConfig

PRESETS: dict[str, UNetConfig] = {  # the defaults of either class are the paper's
    "imagen_base64": BaseUNetConfig(),
    "imagen_sr256": EfficientUNetConfig(),
    "imagen_sr1024": EfficientUNetConfig(self_attention=(False, False, False, False)),
}
