"""Captioned scenes: what they may hold, how they are sampled, stated in words and rendered."""

from .renderer import render
from .sampler import SceneBatch, describe_scenes, sample_captions, sample_scenes
from .scene import Scene, Thing, scene_from_names

__all__ = [
    "Scene",
    "SceneBatch",
    "Thing",
    "describe_scenes",
    "render",
    "sample_captions",
    "sample_scenes",
    "scene_from_names",
]
