"""How does a validated prompt run, and what is told to whom?

Events go to one callback as (type, data) with the names and data of ComfyUI's websocket messages; "progress" also holds a
preview or None. Three kinds are our own: "finished" follows each node that is done, "expanded" names the nodes that one
expanded into, "blocked" says why a node was not run. One engine runs one prompt at a time, on the calling thread.
"""

from __future__ import annotations

import time
import traceback
from collections.abc import Callable, Collection
from dataclasses import dataclass, field
from typing import Any

from .. import runtime
from ..registry import Registry
from .awaiting import Awaiter
from .cache import Cache, Entry
from .graph import Graph
from .plan import Plan
from .results import Results
from .work import Work

EventCallback = Callable[[str, dict], None]
SUCCESS, ERROR, INTERRUPTED = "success", "error", "interrupted"


@dataclass(kw_only=True)
class Failure:
    """The node that failed, and why."""

    node: str
    class_type: str
    exception: BaseException


@dataclass(kw_only=True)
class Result:
    """What became of a prompt. `seconds` holds the nodes that ran, `cached` those whose earlier result served.

    `ui` is what nodes show, `meta` where each of these is: both also of nodes that others expanded into. A failure beside
    success is the first node that an ExecutionBlocker with a message stopped; all that did not depend on it ran.
    """

    status: str = SUCCESS
    ui: dict[str, dict] = field(default_factory=dict)
    meta: dict[str, dict] = field(default_factory=dict)
    seconds: dict[str, float] = field(default_factory=dict)
    cached: list[str] = field(default_factory=list)
    failure: Failure | None = None


class Engine:
    """Runs prompts one after the other; results stay cached in between.

    With `keep_results` False a result is dropped once every node that reads it has run: less memory, for a single run.
    """

    def __init__(
        self,
        registry: Registry,
        host: runtime.Runtime,
        *,
        on_event: EventCallback | None = None,
        keep_results: bool = True,
    ) -> None:
        self.registry, self.host, self.keep_results = registry, host, keep_results
        self.on_event = on_event or (lambda kind, data: None)
        self.cache = Cache()

    def run(
        self,
        prompt: dict,
        outputs: Collection[str],
        *,
        prompt_id: str = "",
        extra_data: dict | None = None,
    ) -> Result:
        """Run what `outputs` need; `prompt` must have passed `validate`. Failure and interruption are in the result."""
        import torch

        def on_progress(node: str | None, value: int, total: int, preview: Any) -> None:
            run.emit("progress", value=value, max=total, node=node, preview=preview)

        self.host.on_progress = on_progress
        graph = Graph(prompt, self.registry)
        with runtime.use(self.host), torch.inference_mode(), Awaiter() as awaiter:
            run = _Run(self, graph, outputs, awaiter, prompt_id, extra_data or {})
            try:
                return run.execute()
            finally:
                self.host.interrupt(False)  # a request that came too late for this run


class _Run:
    """One prompt on its way."""

    def __init__(
        self,
        engine: Engine,
        graph: Graph,
        outputs: Collection[str],
        awaiter: Awaiter,
        prompt_id: str,
        extra_data: dict,
    ) -> None:
        self.engine, self.graph, self.outputs = engine, graph, list(outputs)
        self.awaiter, self.prompt_id = awaiter, prompt_id
        self.result = Result()
        self.results = Results(graph, engine.cache, awaiter, keep=engine.keep_results)
        self.plan = Plan(self._needs, lambda node: graph.declared(node).is_output, self._is_urgent)
        self.work = Work(self.results, self.plan, awaiter, engine.host, self.emit, self._block, extra_data)
        self.known: set[str] = set()  # whose results are cached from the start
        self.node: str | None = None

    def emit(self, kind: str, **data: Any) -> None:
        self.engine.on_event(kind, {"prompt_id": self.prompt_id, **data})

    def execute(self) -> Result:
        self.emit("execution_start", timestamp=_now())
        try:
            self._execute()
        except (runtime.Interrupted, KeyboardInterrupt):
            self.result.status = INTERRUPTED
            self.emit("execution_interrupted", **self._where(), timestamp=_now())
        except Exception as error:
            self._fail(error)
        else:
            self._tell_what_was_passed_over()
            self.emit("execution_success", timestamp=_now())
        self.result.seconds = dict(self.work.seconds)
        self.results.close()
        return self.result

    def _execute(self) -> None:
        known = self.results.prepare(self.outputs)
        self.known = set(known)
        self.emit("execution_cached", nodes=known, timestamp=_now())
        self.plan.add(self.outputs)
        while self.plan:
            self.node = self._next()
            self._step(self.node)
            self.awaiter.turn()

    def _needs(self, node: str) -> list[str]:
        """The nodes that must run before this one; lazy inputs come later, when it asks for them."""
        if self.results.entry(node) is not None:
            return []
        inputs, links = self.graph.declared(node).inputs, self.graph.links(node).items()
        return self.results.missing(link[0] for name, link in links if name not in inputs or not inputs[name].lazy)

    def _is_urgent(self, node: str) -> bool:
        declared = self.graph.declared(node)
        return declared.is_output or declared.is_async

    def _next(self) -> str:
        """A node whose coroutines ended, one to begin, or the first whose coroutines end."""
        while (node := self.work.ended() or self.plan.next()) is None:
            if not self.work.coroutines:
                stuck = list(self.plan.waiting)
                self.node = next((node for node in stuck if node in self.graph.inner), stuck[0])
                raise RuntimeError(f"nodes {', '.join(stuck[:10])} wait for each other")
            self.work.wait()
        return node

    def _step(self, node: str) -> None:
        """Begin or go on with a node, or take its earlier result; what waits for others stays planned."""
        entry = self.results.entry(node)
        cached = entry is not None
        if cached:
            self.result.cached += [node] if node in self.graph.prompt else []
        else:
            entry = self.work.step(node)
            if entry is None:
                return
            self.results.put(node, entry)
        told = node in self.known and node not in self.outputs  # execution_cached said all there is to say
        self._tell(node, entry, always=cached and not told)
        self.plan.done(node)
        self.results.finish(node)
        if not told:
            self.emit("finished", node=node)

    def _tell(self, node: str, entry: Entry, *, always: bool = False) -> None:
        """Say what a node shows."""
        names = self.graph.names(node)
        if entry.ui:
            self.result.ui[node], self.result.meta[node] = entry.ui, names
        if entry.ui or always:
            self.emit("executed", node=node, display_node=names["display_node"], output=entry.ui or None)

    def _tell_what_was_passed_over(self) -> None:
        """A cached node that is no output but shows something all the same has not come up; an editor wants to know."""
        for node in self.known:
            passed_over = getattr(self.graph.declared(node).cls, "HAS_INTERMEDIATE_OUTPUT", False)
            if passed_over and node not in self.result.ui and (entry := self.results.entry(node)) is not None:
                self._tell(node, entry)

    def _where(self) -> dict:
        """The node of the prompt that runs, and all that have run."""
        node = self.graph.get_real_node_id(self.node) if self.node else ""
        kind = self.graph.prompt[node]["class_type"] if node else ""
        executed = [node for node in self.results.done if node not in self.known]
        return {"node_id": node, "node_type": kind, "executed": executed}

    def _block(self, node: str, blocker: runtime.ExecutionBlocker) -> None:
        """Tell that a node was not run although it was asked to; the run goes on without it."""
        where = self._where()
        error = RuntimeError(f"execution blocked: {blocker.message}")
        failure = Failure(node=where["node_id"], class_type=where["node_type"], exception=error)
        self.result.failure = self.result.failure or failure
        about = {"exception_message": str(error), "exception_type": "ExecutionBlocked", "traceback": []}
        self.emit("blocked", **{**where, "node_id": node}, **about, current_inputs={}, current_outputs=[])

    def _fail(self, error: Exception) -> None:
        where = self._where()
        self.result.status = ERROR
        self.result.failure = Failure(node=where["node_id"], class_type=where["node_type"], exception=error)
        self.emit(
            "execution_error",
            **where,
            exception_message=str(error),
            exception_type=type(error).__name__,
            traceback=traceback.format_tb(error.__traceback__),
            current_inputs={},
            current_outputs=list(self.results.done),
            timestamp=_now(),
        )


def _now() -> int:
    return int(time.time() * 1000)
