"""Do imports go one way, as DESIGN says, and does importing the core stay cheap and quiet?"""

import ast
import functools
import graphlib
import pkgutil
import re
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
CORE_MAY_IMPORT = {"torch", "einops", "numpy", "safetensors", "tokenizers", "sentencepiece", "gguf"}
FOREIGN = {
    "imagen_core/text/hub_network.py imports transformers",  # for encoders that are not ours, when one is loaded
    "imagen_core/text/captions.py imports ftfy",  # where it is installed
}
PARTS = ("imagen_core", "imagen_host", "imagen_pictures", "imagen_train", "nodes")
OUTSIDE = ("nodes", "imagen_host", "imagen_pictures", "imagen_train", "workflows", "benchmarks", "clients")
BY_STRING = {"import_module", "__import__", "resolve_name", "run_module"}
BY_PATH = {"spec_from_file_location", "SourceFileLoader", "run_path"}


@functools.cache
def parsed(path: Path) -> ast.Module:
    return ast.parse(path.read_text(encoding="utf-8"))


def imported(path: Path) -> Iterator[tuple[str, str]]:
    """Module, and name in it or "", of every import of a file, relative ones resolved against the repository root."""
    return imported_by(parsed(path), path)


def imported_by(tree: ast.AST, path: Path) -> Iterator[tuple[str, str]]:
    package = path.relative_to(ROOT).with_suffix("").parts[:-1]
    for node in ast.walk(tree):
        if isinstance(node, ast.Import):
            yield from ((alias.name, "") for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            base = package[: len(package) - node.level + 1] if node.level else ()
            module = ".".join([*base, *([node.module] if node.module else [])])
            yield from ((module if node.module else f"{module}.{alias.name}", alias.name) for alias in node.names)
        elif called(node) in BY_STRING and node.args and (module := written(node.args[0]).removeprefix("*.")) != "*":
            yield ".".join(package) + module if module.startswith(".") else module, ""


def called(node: ast.AST) -> str:
    """The last name of what a call calls; "" of anything else."""
    return ast.unparse(node.func).rpartition(".")[2] if isinstance(node, ast.Call) else ""


def written(node: ast.AST) -> str:
    """What a string expression is known to hold before it runs; "*" for a part that is not."""
    if isinstance(node, ast.Constant):
        return str(node.value)
    if isinstance(node, ast.JoinedStr):
        return "".join(map(written, node.values))
    if isinstance(node, ast.BinOp):
        return written(node.left) + written(node.right)
    return "*"


def imports_of(path: Path) -> set[str]:
    """The modules that a file imports, or takes something from."""
    return {module for module, _ in imported(path)}


def files(part: str) -> list[Path]:
    return sorted((ROOT / part).rglob("*.py"))


def offenders(paths, forbidden) -> list[str]:
    return [
        f"{path.relative_to(ROOT)} imports {name}"
        for path in paths
        for name in sorted(imports_of(path))
        if forbidden(name)
    ]


def top(name: str) -> str:
    return name.partition(".")[0]


def under(name: str, package: str) -> bool:
    return name == package or name.startswith(package + ".")


def test_core_imports_only_its_few_libraries():
    allowed = CORE_MAY_IMPORT | set(sys.stdlib_module_names) | {"imagen_core"}
    assert set(offenders(files("imagen_core"), lambda name: top(name) not in allowed)) == FOREIGN


def test_core_is_relative_inside():
    absolute = [
        str(path.relative_to(ROOT))
        for path in files("imagen_core") + files("nodes")
        for node in ast.walk(parsed(path))
        if isinstance(node, ast.ImportFrom) and not node.level and top(node.module or "") in ("imagen_core", "nodes")
    ]
    assert absolute == []


def test_samplers_never_see_a_unet():
    assert offenders(files("imagen_core/samplers"), lambda name: under(name, "imagen_core.unets")) == []


def test_unets_never_see_samplers_schedules_or_files():
    hidden = [
        f"imagen_core.{part}" for part in ("samplers", "schedules", "checkpoints", "denoiser", "stage", "sampling")
    ]
    assert offenders(files("imagen_core/unets"), lambda name: any(under(name, part) for part in hidden)) == []


def test_nodes_use_the_facade_only():
    assert offenders(files("nodes"), lambda name: name.startswith("imagen_core.")) == []


def test_the_facade_has_no_name_that_nobody_outside_uses():
    tree = parsed(ROOT / "imagen_core" / "__init__.py")
    offered = [
        each.asname or each.name for node in tree.body if isinstance(node, ast.ImportFrom) for each in node.names
    ]
    used = {name for part in (*OUTSIDE, "tests") for path in files(part) for name in taken_from_the_facade(path)}
    used |= set(re.findall(r"\w+", (ROOT / "README.md").read_text(encoding="utf-8")))
    assert [name for name in offered if name not in used] == []


def taken_from_the_facade(path: Path) -> Iterator[str]:
    for node in ast.walk(parsed(path)):
        if isinstance(node, ast.ImportFrom) and (node.module or "").split(".")[-1] == "imagen_core":
            yield from (alias.name for alias in node.names)
        elif isinstance(node, ast.Attribute) and getattr(node.value, "id", None) in ("imagen_core", "CORE"):
            yield node.attr


def test_only_host_folder_knows_the_hosts():
    others = [path for path in files("nodes") if path.parent.name != "_host"]
    hosts = ("comfy", "folder_paths", "imagen_host", "imagen_train", "server", "execution")
    assert offenders(others, lambda name: top(name) in hosts) == []


def test_core_and_host_do_not_import_each_other_or_training():
    assert offenders(files("imagen_core"), lambda name: top(name) in ("imagen_host", "imagen_train", "nodes")) == []
    assert set(offenders(files("imagen_host"), lambda name: top(name) in ("imagen_core", "imagen_train", "nodes"))) == {
        "imagen_host/cli.py imports imagen_train.cli",  # whose commands it adds, where the folder is there
        "imagen_host/prompt_cache.py imports imagen_core.text.prompt_files",  # of the pack that it has loaded
    }
    assert offenders(files("imagen_train"), lambda name: top(name) in ("nodes", "imagen_host")) == []


def test_pictures_are_read_without_torch_or_a_host():
    allowed = {"PIL", "numpy", "imagen_pictures"} | set(sys.stdlib_module_names)
    assert offenders(files("imagen_pictures"), lambda name: top(name) not in allowed) == []


def test_imports_by_string_are_seen():
    source = """
import_module("a.b"); importlib.import_module(f"{pack}.imagen_core.text"); __import__("c")
importlib.import_module("." + name, package); importlib.import_module(f".{name}.d", __package__); import_module(name)
"""
    path = ROOT / "nodes" / "_host" / "in_no_file.py"
    found = {module for module, _ in imported_by(ast.parse(source), path)}
    assert found == {"a.b", "imagen_core.text", "c", "nodes._host.*", "nodes._host.*.d"}


def test_files_are_loaded_by_path_only_where_that_is_the_question():
    """A path says nothing of a package, so that the rules above would not see it."""
    loading = {
        str(path.relative_to(ROOT))
        for part in PARTS
        for path in files(part)
        for node in ast.walk(parsed(path))
        if called(node) in BY_PATH
    }
    assert loading == {"imagen_host/_core_files.py", "imagen_host/registry.py"}


def test_the_command_is_where_the_project_file_says():
    (place,) = re.findall(r'^imagen = "(.+)"$', (ROOT / "pyproject.toml").read_text(encoding="utf-8"), re.MULTILINE)
    assert callable(pkgutil.resolve_name(place))


def test_no_file_imports_itself_by_a_detour():
    """Imports inside functions and for type checkers count: a circle is one room with two doors."""
    paths = [path for part in PARTS for path in files(part)]
    named = {".".join(path.relative_to(ROOT).with_suffix("").parts).removesuffix(".__init__"): path for path in paths}
    ours = lambda path: set(imported(path)) - {("nodes", "")}  # an absolute `nodes` is ComfyUI's
    edges = {name: {deepest(named, *names) for names in ours(path)} - {name, None} for name, path in named.items()}
    graphlib.TopologicalSorter(edges).prepare()  # raises CycleError, which names the circle


def deepest(named, module: str, member: str) -> str | None:
    """The file that an import reads: of a package's member that is a module, that one."""
    return next((name for name in (f"{module}.{member}", module) if name in named), None)


def test_only_named_formats_are_ever_decoded():
    loose = [
        f"{path.relative_to(ROOT)}:{node.lineno}"
        for part in ("imagen_core", *OUTSIDE)
        for path in files(part)
        for node in ast.walk(parsed(path))
        if isinstance(node, ast.Call) and ast.unparse(node.func) in ("Image.open", "PIL.Image.open")
        if "formats" not in {keyword.arg for keyword in node.keywords}
    ]
    assert loose == []  # Pillow has some forty readers; imagen_pictures/picture_files.py opens what people name


def test_importing_the_core_leaves_out_what_is_heavy_or_above_it():
    left_out = ("transformers", "torchvision", "diffusers", "imagen_train", "imagen_host")
    code = f"import sys, imagen_core; print([name for name in {left_out} if name in sys.modules])"
    done = subprocess.run([sys.executable, "-c", code], cwd=ROOT, capture_output=True, text=True)
    assert (done.returncode, done.stdout, done.stderr) == (0, "[]\n", "")


def test_errors_end_without_a_full_stop():
    stopped = [
        f"{path.relative_to(ROOT)}:{node.lineno}"
        for part in ("imagen_core", *OUTSIDE)
        for path in files(part)
        for node in ast.walk(parsed(path))
        if isinstance(node, ast.Raise) and isinstance(node.exc, ast.Call) and node.exc.args
        if re.search(r"[^.]\.$", written(node.exc.args[0]))
    ]
    assert stopped == []


def test_a_sentence_stands_beside_each_setting():
    """At the line's end or above it; where a subclass gives another default, at its base."""
    kinds = {
        node.name: (path, node, ["", *source.splitlines()])
        for part in PARTS
        for path in files(part)
        for source in [path.read_text(encoding="utf-8")]
        for node in ast.walk(parsed(path))
        if isinstance(node, ast.ClassDef) and node.name.endswith(("Config", "Spec", "Options")) and node.decorator_list
    }
    bare = [
        f"{path.relative_to(ROOT)}: {name}.{setting}"
        for name, (path, _, _) in kinds.items()
        for setting, told in settings_told(name, kinds).items()
        if not told and not any(settings_told(base, kinds).get(setting) for base in ancestors(name, kinds))
    ]
    assert bare == []


def settings_told(name: str, kinds) -> dict[str, bool]:
    """The fields of a dataclass, and whether a comment says what each is."""
    _, node, lines = kinds[name]
    fields = [
        field for field in node.body if isinstance(field, ast.AnnAssign) and "ClassVar" not in lines[field.lineno]
    ]
    above = lambda field: lines[field.lineno - 1].strip().startswith("#")
    return {field.target.id: above(field) or "  # " in lines[field.lineno] for field in fields}


def ancestors(name: str, kinds) -> Iterator[str]:
    for base in map(ast.unparse, kinds[name][1].bases):
        if base in kinds:
            yield base
            yield from ancestors(base, kinds)


def test_every_python_file_says_which_question_it_answers():
    silent = [
        str(path.relative_to(ROOT))
        for part in (*PARTS, "tests", "workflows", "benchmarks")
        for path in files(part)
        if path.read_text(encoding="utf-8").strip() and not ast.get_docstring(parsed(path))
    ]
    assert silent == []


def test_no_file_grew_past_the_house_limit():
    long = [
        f"{path.relative_to(ROOT)}: {lines} lines"
        for part in PARTS
        for path in files(part)
        if (lines := len(path.read_text(encoding="utf-8").splitlines())) > 400
    ]
    assert long == []


def raised(path: Path) -> Iterator[str]:
    """What each ValueError and FileNotFoundError of a file says; "*" stands for what is filled in."""
    for node in ast.walk(parsed(path)):
        if isinstance(node, ast.Raise) and called(node.exc) in ("ValueError", "FileNotFoundError") and node.exc.args:
            yield written(node.exc.args[0])


def test_errors_speak_one_dialect():
    """ "what is wrong: what to do", or "where: what is wrong; what to do": no full stop, no "A thing ..."."""
    for part in PARTS:
        for path in files(part):
            for message in raised(path):
                where, said = f"{path.relative_to(ROOT)}: {message!r}", message.removesuffix("...")
                assert not said.endswith("."), f"{where} ends with a full stop"
                assert not re.match(r"(An?|The|This|There|It|No) ", said), f"{where} begins like a sentence"
                assert ":" in said.partition("; ")[0] or "; " not in said, f"{where} has a semicolon before any colon"
