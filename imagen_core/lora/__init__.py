"""What is a LoRA? Few numbers that change a network: kept in a file, laid over its weights, or learned from pictures."""

from .files import find_loras, read_lora, save_lora
from .fitting import LoraSettings, fit_lora
from .low_rank import Lora, with_lora
from .prior import ClassPictures, draw_class

__all__ = [
    "ClassPictures",
    "Lora",
    "LoraSettings",
    "draw_class",
    "find_loras",
    "fit_lora",
    "read_lora",
    "save_lora",
    "with_lora",
]
