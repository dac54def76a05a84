"""What does a saved graph need to know of node classes? Their inputs and outputs, read when a node is first met."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from typing import Any

from ..declared import Declared, InputSpec, input_specs

FILE_NAME = "filename_prefix"


@dataclass(frozen=True, kw_only=True)
class NodeClass:
    """A class as the editor knows it: inputs by name in its order, types of the outputs."""

    inputs: Mapping[str, InputSpec]
    outputs: tuple[Any, ...] = ()
    display_name: str | None = None
    is_output: bool = False

    @property
    def is_saver(self) -> bool:
        """Whether it writes files under a name that is its input."""
        return self.is_output and FILE_NAME in self.inputs

    def widget(self, name: str | None) -> InputSpec | None:
        """The input of that name, if it has a widget."""
        spec = self.inputs.get(name)
        return spec if spec is not None and spec.is_widget else None


class Classes(Mapping[str, NodeClass]):
    """Node classes by name. `read` gives one of them; a class that no node of the graph has is never read."""

    def __init__(self, names: Mapping[str, Any], read: Callable[[str], NodeClass]) -> None:
        self.names, self.read = names, read
        self.known: dict[str, NodeClass] = {}

    def __getitem__(self, name: str) -> NodeClass:
        if name not in self.known:
            if name not in self.names:
                raise KeyError(name)
            self.known[name] = self.read(name)
        return self.known[name]

    def __contains__(self, name: object) -> bool:
        return name in self.names

    def __iter__(self) -> Iterator[str]:
        return iter(self.names)

    def __len__(self) -> int:
        return len(self.names)


def of_info(object_info: Mapping[str, dict] | Classes) -> Classes:
    """The classes that an /object_info describes; those that are read already, as they are."""
    if isinstance(object_info, Classes):
        return object_info
    return Classes(object_info, lambda name: _of_entry(object_info[name]))


def _of_entry(info: dict) -> NodeClass:
    return NodeClass(
        inputs=input_specs(info["input"], info.get("input_order", {})),
        outputs=tuple(info["output"]),
        display_name=info.get("display_name"),
        is_output=bool(info.get("output_node")),
    )


def of_registry(classes: Mapping[str, type], names: Mapping[str, str], declared: Callable[[str], Declared]) -> Classes:
    """The classes of this host: `names` are those shown, `declared` gives what a class says of itself."""

    def read(name: str) -> NodeClass:
        found = declared(name)
        outputs = tuple(str(kind) if isinstance(kind, str) else kind for kind in found.outputs)
        shown = names.get(name, name)
        return NodeClass(inputs=found.inputs, outputs=outputs, display_name=shown, is_output=found.is_output)

    return Classes(classes, read)
