"""What is inside the group nodes of old graphs? They are opened in place, as the editor does.

The editor puts the inner nodes on the canvas as a subgraph of their own: with the next free ids, and one more for the
subgraph. A group node that was muted loses that on the way.
"""

from __future__ import annotations

from dataclasses import replace
from typing import Any

from .bypass import fits
from .canvas_only import CANVAS_ONLY, PRIMITIVE, REROUTES
from .forms import WorkflowError, shown
from .group_classes import Groups, InnerLink, group_name
from .numbering import highest_id
from .slots import laid_out
from .ui_graph import Graph, Link, Node
from .widgets import widget_values

MOST = 10_000  # nodes out of group nodes


def open_groups(graph: Graph, groups: Groups, last: int) -> int:
    """Replace every group node of a wired graph by its inner nodes. Returns the last id given away."""
    opened = 0
    while True:
        found = next((node for node in graph.nodes.values() if _opens(node, groups)), None)
        if found is None:
            return last
        last = Opener(graph, found, groups).open(last)
        opened += len(groups.get(group_name(found.type)).nodes) + 1
        if opened > MOST:
            raise WorkflowError(
                f"extra.groupNodes: more than {MOST} nodes come out of group nodes: that is no workflow"
            )


def _opens(node: Node, groups: Groups) -> bool:
    """Whether a node is a group that can be opened. One of unknown classes stays, and is skipped where it is muted."""
    name = group_name(node.type)
    if name is None:
        return False
    where = f"node {shown(node.id)}"
    if name not in groups.stored:
        if node.idle:
            return False
        raise WorkflowError(
            f"{where}: extra.groupNodes has no group {shown(name)}: save the graph from the editor again"
        )
    kinds = [inner.type for inner in groups.get(name).nodes]
    unknown = [kind for kind in kinds if kind not in CANVAS_ONLY and groups.class_of(kind) is None]
    if unknown and not node.idle:
        raise WorkflowError(f"{where}: the group {shown(name)} holds a node of the unknown class {unknown[0]!r:.80}")
    return not unknown


class Opener:
    """One group node of a graph, being replaced."""

    def __init__(self, graph: Graph, node: Node, groups: Groups) -> None:
        self.graph, self.node, self.groups = graph, node, groups
        self.group = groups.get(group_name(node.type))
        self.number = max(graph.links, default=0)

    def open(self, last: int) -> int:
        last = highest_id([self.graph], last)
        host = last + len(self.group.nodes) + 1
        self.inner = [self._copy(node, f"{host}:{last + 1 + index}") for index, node in enumerate(self.group.nodes)]
        self._fill()
        self._rewire()
        nodes: dict[str, Node] = {}
        for key, node in self.graph.nodes.items():
            nodes |= {new.id: new for new in self.inner} if node is self.node else {key: node}
        self.graph.nodes = nodes
        return host

    def _copy(self, node: Node, key: str) -> Node:
        return Node(
            id=key,
            type=node.type,
            title=node.title,
            mode=node.mode,
            order=self.node.order,
            inputs=laid_out(node, None, self.groups.class_of(node.type)),
            outputs=node.outputs,
            values=None if node.type == PRIMITIVE else node.values,  # lost in the editor: it shows its target's value
            named=None if node.type == PRIMITIVE else node.named,
            properties=node.properties,
        )

    def _fill(self) -> None:
        """Give the inner widgets the values that the group node holds."""
        values = widget_values(self.node, self.group.as_class())
        for label, (index, name) in self.group.widgets.items():
            node = self.inner[index]
            cls = self.groups.class_of(node.type)
            if cls is None or label not in values:
                continue
            if not isinstance(node.values, dict):
                node.values = widget_values(node, cls)
            node.values = {**node.values, name: values[label]}

    def _rewire(self) -> None:
        for link in self.group.links:
            self._join(self.inner[link.origin].id, link.slot, self.inner[link.target], self._slot(link))
        for number, (index, name) in enumerate(self.group.sockets):
            link = self.node.inputs[number].link if number < len(self.node.inputs) else None
            if link is not None:
                target = self.inner[index]
                names = [slot.name for slot in target.inputs]
                place = names.index(name) if name in names else 0 if target.type in REROUTES else None
                self._join(link.origin, link.slot, target, place)
        for link in [link for link in self.graph.links.values() if self.node.id in (link.origin, link.target)]:
            self._leave(link)

    def _slot(self, link: InnerLink) -> int | None:
        """The place of a link's end among the inputs of today."""
        saved = self.group.nodes[link.target].inputs
        if not 0 <= link.target_slot < len(saved):
            return link.target_slot
        names = [slot.name for slot in self.inner[link.target].inputs]
        name = saved[link.target_slot].name
        return names.index(name) if name in names else None

    def _join(self, origin: str, slot: int, target: Node, place: int | None) -> None:
        """Link an output to an inner node, where the editor lets the two types meet."""
        if place is None or not 0 <= place < len(target.inputs):
            return
        end, kind = target.inputs[place], self._kind(origin, slot)
        if kind is not None and fits(kind, end.kind):
            self.number += 1
            end.link = self.graph.links[self.number] = Link(self.number, origin, slot, target.id, place, end.kind)

    def _kind(self, origin: str, slot: int) -> Any:
        """The type of a node's output; None where it has no such output."""
        node = self.graph.nodes.get(origin) or next((node for node in self.inner if node.id == origin), None)
        if node is None:
            return "*"
        cls = self.groups.class_of(node.type)
        kinds = cls.outputs if cls else [output.kind for output in node.outputs]
        return kinds[slot] if 0 <= slot < len(kinds) else None

    def _leave(self, link: Link) -> None:
        """Let what came out of the group node come out of the inner node; what went in has been joined already."""
        del self.graph.links[link.id]
        new = None
        if link.origin == self.node.id and 0 <= link.slot < len(self.group.outputs):
            _, index, output = self.group.outputs[link.slot]
            new = self.graph.links[link.id] = replace(link, origin=self.inner[index].id, slot=output)
        ends = [self.graph.nodes[link.target], *self.inner] if link.target in self.graph.nodes else self.inner
        for slot in (slot for node in ends for slot in node.inputs if slot.link is link):
            slot.link = new
