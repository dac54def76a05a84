"""Which stand-ins let imagen-pytorch 2.1.0 be imported today, without a network and without torchvision?

Two things fail at import and neither is ever used by a U-Net's forward pass, so replacing them changes no number:
- `transformers.T5Config.from_pretrained("google/t5-v1_1-base")` runs as a default argument and asks the hub;
- `torchvision.transforms` is imported for picture files, which a benchmark never touches.
"""

from __future__ import annotations

import importlib
import logging
import sys
import types
import warnings

# These look for torchvision when they load, so they must load before it seems to exist.
ASK_FOR_TORCHVISION = ("accelerate", "datasets", "kornia.augmentation", "transformers")
T5_WIDTHS = {"google/t5-v1_1-base": 768}


def _unused(name: str) -> type:
    """A class that may be named at import and says so loudly if anyone ever calls it."""

    def refuse(self: object, *args: object, **kwargs: object) -> None:
        raise RuntimeError(f"torchvision.transforms.{name} is a stand-in: no benchmark should reach it")

    return type(name, (), {"__init__": refuse})


def _torchvision_stand_in() -> dict[str, types.ModuleType]:
    """The two modules and seven names that imagen_pytorch asks of torchvision."""
    package, transforms = types.ModuleType("torchvision"), types.ModuleType("torchvision.transforms")
    names = ("CenterCrop", "Compose", "Lambda", "RandomHorizontalFlip", "Resize", "ToPILImage", "ToTensor")
    for name in names:
        setattr(transforms, name, _unused(name))
    package.transforms = transforms
    return {"torchvision": package, "torchvision.transforms": transforms}


def import_peer() -> types.ModuleType:
    """imagen_pytorch, imported with the stand-ins above in place only while it loads."""
    for name in ASK_FOR_TORCHVISION:
        importlib.import_module(name)
    import transformers

    t5_config = transformers.T5Config
    _ = transformers.T5EncoderModel, transformers.T5Tokenizer  # transformers is lazy: load them now
    original = t5_config.from_pretrained
    t5_config.from_pretrained = classmethod(lambda cls, name, **_: cls(d_model=T5_WIDTHS[name]))
    added = {name: module for name, module in _torchvision_stand_in().items() if name not in sys.modules}
    sys.modules.update(added)
    logging.disable(logging.WARNING)
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            return importlib.import_module("imagen_pytorch")
    finally:
        t5_config.from_pretrained = original
        logging.disable(logging.NOTSET)
        for name in added:
            del sys.modules[name]
