"""How does a loss learn what a module inside a network put out, without the network handing it on?"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager

from torch import Tensor, nn


@contextmanager
def listening(module: nn.Module, hear: Callable[[tuple[Tensor, ...], Tensor], None]) -> Iterator[None]:
    """Call `hear` with what goes into the module and what comes out of it, whenever it runs within."""
    handle = module.register_forward_hook(lambda _, given, output: hear(given, output))
    try:
        yield
    finally:
        handle.remove()
