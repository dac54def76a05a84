"""Captioned scenes: what they may hold, how they are sampled, stated in words and rendered."""

from .renderer import render
from .sampler import SceneBatch, describe_scenes, sample_captions, sample_scenes

__all__ = ["SceneBatch", "describe_scenes", "render", "sample_captions", "sample_scenes"]
