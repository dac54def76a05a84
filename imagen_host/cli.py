"""What can be done from a terminal? `imagen run` runs a workflow, `batch` many jobs, `serve` opens the editor.

Exit codes: 0 done, 1 a node failed or the machine did, 2 the input is wrong, 130 stopped by Ctrl-C (143 SIGTERM, 129
SIGHUP).
"""

from __future__ import annotations

import argparse
import contextlib
import importlib.util
import json
import os
import re
import sys
import time
import traceback
import warnings
from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING

from . import ending, runtime, streams
from .batch.cli import add_batch
from .convert import add_convert
from .download import add_download
from .enlarge import add_enlarge
from .folders import make_host, scratch_folder
from .inspect import add_inspect
from .places import working_folder_is_there
from .prompt_cache import add_cache
from .server.cli import add_command as add_serve
from .streams import say

if TYPE_CHECKING:
    from .execution.engine import Result
    from .registry import Registry

DONE, FAILED, WRONG_INPUT, STOPPED = 0, 1, 2, 130


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the command line; returns the exit code."""
    arguments = list(sys.argv[1:] if arguments is None else arguments)
    with streams.standing(), ending.by_signals() as told:
        code = _run(arguments)
    return 128 + told.number if told.number and code == STOPPED else code


def _run(arguments: Sequence[str]) -> int:
    """Parse and do; says what went wrong."""
    debug = "--debug" in arguments
    try:
        return _flushed(lambda: _handle(arguments))
    except KeyboardInterrupt:
        say("stopped")
        return STOPPED
    except streams.OutputLost as error:
        if error.reader_left:
            return DONE
        say(f"error: {error}")
        return FAILED
    except Exception as error:
        if debug:
            traceback.print_exc()
        code, lines = explain(error)
        for line in lines:
            say(f"error: {line}")
        return code


def _handle(arguments: Sequence[str]) -> int:
    options = build_parser().parse_args(arguments)
    if not working_folder_is_there():  # torch cannot even be loaded in one that is gone
        gone = os.environ.get("PWD", "the working folder")
        raise ValueError(f"{gone} was deleted while you are in it: go to a folder that exists (cd ~), run this there")
    with warnings.catch_warnings():
        warnings.showwarning = lambda message, *rest, **more: say(f"warning: {message}")
        return options.handler(options) or DONE


def _flushed(work: Callable[[], int]) -> int:
    """What `work` returns, once all that it printed is out: also when it ends early, as --help does."""
    try:
        return work()
    finally:
        sys.stdout.flush()


def explain(error: Exception) -> tuple[int, list[str]]:
    """Exit code and lines for what stopped a command."""
    if isinstance(error, ValueError):  # input that is wrong; the message says what to do
        return WRONG_INPUT, str(error).splitlines()
    if isinstance(error, OSError) and error.errno is None:  # in our own words too
        return WRONG_INPUT, str(error).splitlines()
    if isinstance(error, OSError) and error.filename is not None:
        return FAILED, [f"{os.fsdecode(error.filename)}: {error.strerror}"]
    return FAILED, [f"{type(error).__name__}: {' '.join(str(error).split())} (--debug shows where)"]


def build_parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="imagen",
        description="Runs Google's Imagen in pixel space: text to picture, and small pictures to large ones.",
    )
    parser.add_argument("--version", action="version", version=f"imagen-nodes {version()}")
    commands = parser.add_subparsers(metavar="COMMAND", required=True)
    _add_run(commands)
    nodes = commands.add_parser("nodes", help="list the nodes that workflows may use")
    nodes.add_argument("--json", action="store_true", help="print their full description (object_info)")
    nodes.set_defaults(handler=list_nodes)
    workflows = commands.add_parser("workflows", help="list the workflows that are shipped")
    workflows.set_defaults(handler=list_workflows)
    add_convert(commands)
    add_enlarge(commands)
    add_batch(commands)
    add_serve(commands)
    add_inspect(commands)
    add_download(commands)
    add_cache(commands)
    if importlib.util.find_spec("imagen_train"):  # train and evaluate; a folder with the nodes alone can do without
        importlib.import_module("imagen_train.cli").add_commands(commands)
    return parser


def _add_run(commands: argparse._SubParsersAction) -> None:
    run = commands.add_parser("run", help="run a workflow and save its pictures")
    add = run.add_argument
    add(
        "workflow",
        metavar="WORKFLOW",
        help="a workflow file (of the editor or API), a picture that carries one, or a shipped name",
    )
    add("--prompt", metavar="TEXT", help="what to draw, in every node that reads a prompt")
    add("--negative", metavar="TEXT", help="what to steer away from")
    add("--seed", type=int, metavar="N", help="the seed of every node that has one")
    add("--set", action="append", default=[], metavar="NODE.INPUT=VALUE", help="NODE is an id, a title or a class")
    add("--out", default="output", metavar="DIR", help="where pictures go (default: ./output)")
    add("--input", action="append", default=[], metavar="DIR", help="where LoadImage looks first (default: ./input)")
    add("--models", action="append", default=[], metavar="DIR", help="a folder with model files; may be repeated")
    add("--json", action="store_true", help="print one JSON object about the run and nothing else")
    add("--quiet", action="store_true", help="show no progress")
    add("--debug", action="store_true", help="show the traceback of a failure")
    run.set_defaults(handler=run_workflow)


def version() -> str:
    """The version of the package, also when run from a clone that is not installed."""
    from importlib import metadata

    try:
        return metadata.version("imagen-nodes")
    except metadata.PackageNotFoundError:
        project = runtime.PACK_ROOT / "pyproject.toml"
        found = (
            re.search(r'^version = "(.+)"', project.read_text(encoding="utf-8"), re.M) if project.is_file() else None
        )
        return found[1] if found else "unknown"


def list_nodes(options: argparse.Namespace) -> None:
    from .registry import load_registry

    registry = load_registry()
    if options.json:
        print(json.dumps(registry.object_info(), indent=2))
        return
    for name in sorted(registry.classes):
        description = getattr(registry.classes[name], "DESCRIPTION", "").split(". ")[0].rstrip(".")
        print(f"{name:28} {description}")


def list_workflows(options: argparse.Namespace) -> None:
    from .graphs.reading import about, shipped
    from .registry import load_registry, pack_folder

    known = load_registry().classes
    for name, path in shipped(pack_folder()).items():
        print(f"{name:28} {about(path, known)}")


def run_workflow(options: argparse.Namespace) -> int:
    """`imagen run`: read, change, check, run, report."""
    from . import terminal
    from .execution.engine import Engine

    start = time.perf_counter()
    with scratch_folder() as temporary, contextlib.redirect_stdout(sys.stderr):
        host = make_host(options, temporary)
        host.open_paths = True
        with runtime.use(host):
            registry, prompt, ui, outputs = _prepare(options)
        progress = terminal.Progress(prompt, quiet=options.quiet)
        engine = Engine(registry, host, on_event=progress, keep_results=False)
        extra = {"extra_pnginfo": {"workflow": ui}} if ui else {}
        result = engine.run(prompt, outputs, extra_data=extra)
    images = terminal.saved_paths(result, host.output_directory)
    code = _report(result, prompt, options.debug)
    if not options.json:
        print("\n".join(images), end="\n" if images else "")
    elif code == DONE:
        print(json.dumps(terminal.summary(result, prompt, images, time.perf_counter() - start)))
    return code


def _prepare(options: argparse.Namespace) -> tuple[Registry, dict, dict | None, list[str]]:
    """The classes, the prompt and its graph with all changes, and the outputs to run. Raises ValueError."""
    from . import terminal
    from .graphs import overrides
    from .graphs.reading import find_workflow, read_workflow, refuse_what_needs_comfyui
    from .registry import load_registry, pack_folder
    from .validation import form_error, validate

    path = find_workflow(options.workflow, pack_folder())
    registry = load_registry().snapshot()
    refuse_what_needs_comfyui(path, pack_folder(), registry.classes)
    classes = registry.node_classes()
    loaded = read_workflow(path, classes)
    prompt, ui = loaded.prompt, loaded.ui
    if error := form_error(prompt, registry):
        raise ValueError(f"{path.name}: {error['message']}")
    changes = overrides.plan(
        prompt, classes, sets=options.set, text=options.prompt, negative=options.negative, seed=options.seed
    )
    overrides.apply(prompt, changes, loaded.names)
    checked = validate(prompt, registry)
    if checked.error is not None or checked.node_errors:
        raise ValueError("\n".join(f"{path.name}: {line}" for line in terminal.explain(checked, prompt)))
    return registry, prompt, overrides.apply_to_ui(ui, changes, classes) if ui else None, checked.outputs


def _report(result: Result, prompt: dict, debug: bool) -> int:
    """Say how the run ended; returns the exit code."""
    from .terminal import name_of

    if result.failure is not None:
        error, node = result.failure.exception, result.failure.node
        if debug:
            traceback.print_exception(type(error), error, error.__traceback__)
        hint = "" if debug else " (--debug shows where)"
        reason = " ".join(str(error).split()) or "no reason given"
        say(f"error: {name_of(node, prompt) if node else 'the run'} failed: {type(error).__name__}: {reason}{hint}")
        return FAILED
    if result.status == "interrupted":
        say("stopped")
        return STOPPED
    return DONE
