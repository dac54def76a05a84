"""What is a base shown, and how often? Three courses, each begun with what the one before it taught."""

from __future__ import annotations

import dataclasses

from .scene import Mix

# What a network sees first: one style, and a thing is always as large, in the same place, and looks the same way.
FIRST = Mix(
    styles=("3d",),
    **{"several": 0.03, "pair": 0.03, "recolored": 0.35, "scenery": 0.08, "gradient": 0.12, "sized": 0.04},
    **{"flipped": 0.0, "loose": 0.0},
)

# What it sees next: every style, half of it 3D; more often several or two things, always in one place.
WIDE = Mix(
    styles=("3d", "3d", "flat", "cartoon"),
    **{"several": 0.08, "pair": 0.14, "recolored": 0.35, "scenery": 0.1, "gradient": 0.12, "sized": 0.02},
    **{"flipped": 0.0, "loose": 0.0},
)

# And last: half of it several or two things, which are small, and each of which may be any thing in any colour.
CROWDED = dataclasses.replace(WIDE, several=0.16, pair=0.42)
