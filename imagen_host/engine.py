"""How does a validated prompt run: in which order, with which cached results, and what is told to whom?

Events go to one callback as (type, data) with the names and data of ComfyUI's websocket messages; "progress" also holds a
preview or None, and "finished" of our own follows each node that is done. One engine runs one prompt at a time, on the
calling thread.
"""

from __future__ import annotations

import time
import traceback
from collections.abc import Callable, Collection
from dataclasses import dataclass, field
from typing import Any

from . import runtime
from .cache import Cache, Entry, keys_of
from .calls import call_lazy, call_node, gather_inputs, is_blocked
from .registry import Registry, options_of
from .validation import input_specs, is_link

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
    """What became of a prompt. `seconds` holds the nodes that ran, `cached` those whose earlier result served."""

    status: str = SUCCESS
    ui: dict[str, dict] = field(default_factory=dict)
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
        self, prompt: dict, outputs: Collection[str], *, prompt_id: str = "", extra_data: dict | None = None
    ) -> Result:
        """Run what `outputs` need; `prompt` must have passed `validate`. Failure and interruption are in the result."""
        import torch

        def on_progress(node: str | None, value: int, total: int, preview: Any) -> None:
            run.emit("progress", value=value, max=total, node=node, preview=preview)

        self.host.on_progress = on_progress
        with runtime.use(self.host), torch.inference_mode():
            run = _Run(self, prompt, outputs, prompt_id, extra_data or {})
            try:
                return run.execute()
            finally:
                self.host.interrupt(False)  # a request that came too late for this run


class _Run:
    """One prompt on its way. `waiting` maps each node that still has to run to the nodes it waits for."""

    def __init__(
        self, engine: Engine, prompt: dict, outputs: Collection[str], prompt_id: str, extra_data: dict
    ) -> None:
        self.engine, self.cache, self.prompt, self.outputs = engine, engine.cache, prompt, list(outputs)
        self.prompt_id, self.extra_data = prompt_id, extra_data
        self.classes = {node: engine.registry.classes[entry["class_type"]] for node, entry in prompt.items()}
        self.result = Result()
        self.done: dict[str, None] = {}  # in order
        self.waiting: dict[str, set[str]] = {}
        self.links: dict[str, dict[str, list]] = {}  # by node and input
        self.lazy: dict[str, set[str]] = {}  # linked inputs that wait until the node asks
        self.known: list[str] = []  # whose results are cached from the start
        self.node: str | None = None

    def emit(self, kind: str, **data: Any) -> None:
        self.engine.on_event(kind, {"prompt_id": self.prompt_id, **data})

    def execute(self) -> Result:
        self.emit("execution_start", timestamp=_now())
        try:
            self._prepare()
            while self.waiting:
                self.node = self._next()
                self._step(self.node)
        except (runtime.Interrupted, KeyboardInterrupt):
            self.result.status = INTERRUPTED
            self.emit("execution_interrupted", **self._where(), timestamp=_now())
        except Exception as error:
            self._fail(error)
        else:
            self.emit("execution_success", timestamp=_now())
        return self.result

    def _prepare(self) -> None:
        self.keys = keys_of(self.prompt, self.engine.registry, self.outputs)
        self.cache.keep_only(self.keys, self.prompt)
        for node in self.keys:
            self._read_links(node)
        self.known = [node for node, key in self.keys.items() if key in self.cache.entries]
        self.emit("execution_cached", nodes=self.known, timestamp=_now())
        for output in self.outputs:
            self._add(output)

    def _add(self, node: str) -> None:
        """Plan a node and what it needs at once; lazy inputs come later, when the node asks for them."""
        new = [node]
        while new:
            node = new.pop()
            if node in self.waiting or node in self.done:
                continue
            known = self.keys[node] in self.cache.entries
            strong = () if known else self.links[node].keys() - self.lazy[node]
            sources = [link[0] for name, link in self.links[node].items() if name in strong]
            needs = [source for source in sources if source not in self.done]
            self.waiting[node] = set(needs)
            new += reversed(needs)

    def _read_links(self, node: str) -> None:
        """Note the linked inputs that the class declares, once: INPUT_TYPES may search folders."""
        inputs = self.prompt[node]["inputs"]
        specs = {name: spec for name, spec, _ in input_specs(self.classes[node].INPUT_TYPES())}
        self.links[node] = {name: inputs[name] for name in specs if is_link(inputs.get(name))}
        self.lazy[node] = {name for name in self.links[node] if options_of(specs[name]).get("lazy")}

    def _next(self) -> str:
        """The ready node to run now: an output first, then what feeds one, else the order of planning."""
        ready = [node for node, needs in self.waiting.items() if not needs]
        if not ready:
            raise RuntimeError(f"nodes {', '.join(self.waiting)} wait for each other")
        feeding = {source for node in self.waiting if self._is_output(node) for source in self.waiting[node]}
        return min(ready, key=lambda node: 0 if self._is_output(node) else 1 if node in feeding else 2)

    def _is_output(self, node: str) -> bool:
        return bool(getattr(self.classes[node], "OUTPUT_NODE", False))

    def _step(self, node: str) -> None:
        """Run a ready node, or take its earlier result; a node that asks for lazy inputs stays planned."""
        entry = self.cache.entries.get(self.keys[node])
        cached = entry is not None
        if cached:
            self.result.cached.append(node)
        else:
            entry = self._call(node)
            if entry is None:
                return
            self.cache.put(self.keys[node], node, entry)
        if entry.ui:
            self.result.ui[node] = entry.ui
        told = node in self.known and node not in self.outputs  # execution_cached said all there is to say
        if entry.ui or (cached and not told):
            self.emit("executed", node=node, display_node=node, output=entry.ui or None)
        self._finish(node)
        if not told:
            self.emit("finished", node=node)

    def _call(self, node: str) -> Entry | None:
        """The result of one node; None when it first needs more of its lazy inputs."""
        self.engine.host.node_id = node
        self.engine.host.check_interrupt()
        self.emit("executing", node=node, display_node=node)
        start = time.perf_counter()
        cls = self.classes[node]
        instance = self.cache.instance(node, self.prompt[node]["class_type"], cls)
        links = self.links[node]
        results = {name: self._result_of(link) for name, link in links.items() if link[0] in self.done}
        hidden = {"PROMPT": self.prompt, "UNIQUE_ID": node, "EXTRA_PNGINFO": self.extra_data.get("extra_pnginfo")}
        inputs = gather_inputs(cls, self.prompt[node]["inputs"], results, hidden)
        if is_blocked(inputs):
            return Entry(outputs=[[runtime.ExecutionBlocker()] for _ in getattr(cls, "RETURN_TYPES", ())])
        wanted = call_lazy(instance, inputs)
        missing = [links[name][0] for name in links if name in wanted and links[name][0] not in self.done]
        if missing:
            self.waiting[node] = set(missing)
            for source in missing:
                self._add(source)
            return None
        entry = call_node(instance, inputs)
        self.result.seconds[node] = self.result.seconds.get(node, 0.0) + time.perf_counter() - start
        return entry

    def _result_of(self, link: list) -> list:
        return self.cache.entries[self.keys[link[0]]].outputs[link[1]]

    def _finish(self, node: str) -> None:
        del self.waiting[node]
        self.done[node] = None
        for needs in self.waiting.values():
            needs.discard(node)
        if not self.engine.keep_results:
            self._release()

    def _release(self) -> None:
        """Forget results that nothing can read any more; a lazy input may be asked for at any time."""
        left = [node for node in self.keys if node not in self.done]
        read = {link[0] for node in left for link in self.links[node].values()}
        kept = {self.keys[node] for node in read.union(left)}
        self.cache.entries = {key: entry for key, entry in self.cache.entries.items() if key in kept}

    def _where(self) -> dict:
        kind = self.prompt[self.node]["class_type"] if self.node else ""
        executed = [node for node in self.done if node not in self.known]
        return {"node_id": self.node or "", "node_type": kind, "executed": executed}

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
            current_outputs=list(self.done),
            timestamp=_now(),
        )


def _now() -> int:
    return int(time.time() * 1000)
