"""Stands for torchvision or torchaudio, under whichever name run.sh installs it, where none was built for the torch at hand.

ComfyUI and transformers import them at their start, and neither this pack nor its tests compute with them: so every
submodule and every name is there, and to call one is an error.
"""

import importlib.abc
import importlib.machinery
import sys
import types

__version__ = "0.20.0"


class _Absent(type):
    """A class, so that it may be inherited from, be a key or a default; its attributes are such classes too."""

    def __getattr__(cls, name):
        return _absent(cls.__module__, f"{cls.__qualname__}.{name}")

    def __call__(cls, *args, **kwargs):
        raise RuntimeError(f"{cls.__module__}.{cls.__qualname__} is not here: a stand-in is installed for this package")


def _absent(module, name):
    if name.rpartition(".")[2].startswith("__"):
        raise AttributeError(name)
    return _Absent(name.rpartition(".")[2], (), {"__module__": module, "__qualname__": name})


class _Submodules(importlib.abc.MetaPathFinder, importlib.abc.Loader):
    def find_spec(self, name, path=None, target=None):
        if name.startswith(f"{__name__}."):
            return importlib.machinery.ModuleSpec(name, self, is_package=True)
        return None

    def create_module(self, spec):
        module = types.ModuleType(spec.name)
        module.__getattr__ = lambda name: _absent(spec.name, name)
        return module

    def exec_module(self, module):
        pass


def __getattr__(name):
    return _absent(__name__, name)


sys.meta_path.append(_Submodules())
