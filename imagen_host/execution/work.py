"""What does one node do when its turn comes? It runs, or it has to wait: for lazy inputs, for coroutines, for nodes inside.

Such a node is begun, put back, and gone on with when what it waits for is there.
"""

from __future__ import annotations

import asyncio
import time
from collections import Counter, deque
from collections.abc import Callable, Iterable
from typing import Any

from .. import runtime
from . import expansion
from .awaiting import Awaiter, running
from .cache import Entry
from .calls import Answer, call, gather_inputs, join, read_answer
from .graph import Link
from .plan import Plan
from .results import Results


class Work:
    """Runs single nodes of one prompt. `emit` tells of them; `seconds` are those of each node of the prompt."""

    def __init__(
        self,
        results: Results,
        plan: Plan,
        awaiter: Awaiter,
        host: runtime.Runtime,
        emit: Callable[..., None],
        block: Callable[[str, runtime.ExecutionBlocker], None],
        extra_data: dict,
    ) -> None:
        self.results, self.graph, self.plan, self.awaiter = results, results.graph, plan, awaiter
        self.host, self.emit, self.block, self.extra_data = host, emit, block, extra_data
        self.coroutines: dict[str, list[Any]] = {}  # by node: answers, some of them tasks
        self.gone_on: deque[str] = deque()  # nodes among them whose tasks have ended
        self.expanded: dict[str, list[Answer]] = {}  # by node: answers that wait for the nodes inside
        self.asked: dict[str, set[str]] = {}  # by node: lazy inputs that it has asked for
        self.seconds: Counter[str] = Counter()

    def step(self, node: str) -> Entry | None:
        """Begin or go on with a node; its result, or None when it waits for more."""
        cls = self.graph.declared(node).cls
        if node in self.expanded:
            return join(cls, self.expanded.pop(node), self.results.of)
        start = time.perf_counter()
        called = self.coroutines.pop(node) if node in self.coroutines else self._begin(node)
        if called is not None and (tasks := running(called)):
            self._put_aside(node, called, tasks)
            called = None
        answers = None if called is None else [read_answer(cls, answer) for answer in self.awaiter.finish(called)]
        self.seconds[self.graph.get_real_node_id(node)] += time.perf_counter() - start
        if answers is None:
            return None
        if any(answer.expand is not None for answer in answers):
            return self._expand(node, answers)
        return join(cls, answers, self.results.of)

    def ended(self) -> str | None:
        """A node whose coroutines have all ended."""
        return self.gone_on.popleft() if self.gone_on else None

    def wait(self) -> None:
        """Until the coroutines of a node have ended. Raises Interrupted."""
        self.awaiter.wait(lambda: bool(self.gone_on), self.host.check_interrupt)

    def _put_aside(self, node: str, answers: list[Any], tasks: list[asyncio.Task]) -> None:
        """Go on with other nodes until these tasks have ended."""
        self.coroutines[node], left = answers, set(tasks)

        def end(task: asyncio.Task) -> None:
            left.discard(task)
            if not left:
                self.gone_on.append(node)

        for task in tasks:
            task.add_done_callback(end)

    def _begin(self, node: str) -> list[Any] | None:
        """The answers of a node's calls; None when it asks for more of its lazy inputs."""
        self.host.node_id = node
        self.host.check_interrupt()
        self.emit("executing", node=node, display_node=self.graph.get_display_node_id(node))
        instance, inputs = self.results.instance(node), self._inputs(node)
        with runtime.running(node):
            if self._asks(node, self._wanted(instance, inputs)):
                return None
            check, on_block = self.host.check_interrupt, lambda blocker: self._blocked(node, blocker)
            return call(instance, instance.FUNCTION, inputs, self.awaiter, check=check, on_block=on_block)

    def _inputs(self, node: str) -> dict[str, list]:
        links = self._arriving(node).items()
        results = {name: self.results.of(link) for name, link in links}
        hidden = {"PROMPT": self.graph.prompt, "DYNPROMPT": self.graph, "UNIQUE_ID": node}
        hidden["EXTRA_PNGINFO"] = self.extra_data.get("extra_pnginfo")
        return gather_inputs(node, self.graph, results, hidden)

    def _arriving(self, node: str) -> dict[str, Link]:
        """The links whose values the node is given: not of lazy inputs that it has not asked for, whoever else has."""
        inputs, asked = self.graph.declared(node).inputs, self.asked.get(node, ())
        links = self.graph.links(node).items()
        return {name: link for name, link in links if name in asked or name not in inputs or not inputs[name].lazy}

    def _wanted(self, instance: Any, inputs: dict[str, list]) -> list[str]:
        """The inputs that the node's check_lazy_status asks for."""
        if getattr(instance, "check_lazy_status", None) is None:
            return []
        called = call(instance, "check_lazy_status", inputs, self.awaiter)
        answers = self.awaiter.finish(called, self.host.check_interrupt)
        names = (name for answer in answers if isinstance(answer, (list, tuple, set)) for name in answer)
        return list(dict.fromkeys(names))

    def _asks(self, node: str, wanted: Iterable[str]) -> bool:
        """Whether a node asks for more of its lazy inputs; if so it begins again when they are there."""
        links, given = self.graph.links(node), self.graph.get_node(node)["inputs"]
        if unknown := [name for name in wanted if name not in given]:
            raise ValueError(f"the node asks for its input {unknown[0]!r}, which is neither connected nor set")
        arriving = self._arriving(node)
        new = [name for name in wanted if name in links and name not in arriving]
        self.asked.setdefault(node, set()).update(new)
        if new:
            self.plan.defer(node, self.results.missing(links[name][0] for name in new))
        return bool(new)

    def _blocked(self, node: str, blocker: runtime.ExecutionBlocker) -> runtime.ExecutionBlocker:
        """A message is told once, on the first node that it reaches."""
        if blocker.message is None:
            return blocker
        self.block(node, blocker)
        return runtime.ExecutionBlocker()

    def _expand(self, node: str, answers: list[Answer]) -> None:
        """Let the nodes that this one answered with run, and then this one take their results."""
        new = expansion.grow(self.graph, node, answers)
        sources = [link[0] for link in expansion.result_links(answers)]
        self.results.grow(node, new, sources)
        self.emit("expanded", nodes={inner: self.graph.names(inner) for inner in new})
        self.expanded[node] = answers
        self.plan.defer(node, self.results.missing(sources))
        self.plan.add(inner for inner in new if self.graph.declared(inner).is_output)
