"""Is one new file all that a new method takes? A toy of each kind, laid into a copy of the pack, is found and tested."""

import re
import shutil
import subprocess
import sys
import textwrap
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parent.parent
PARTS = ("imagen_core", "imagen_host", "imagen_pictures", "nodes", "tests/core", "tests/nodes")
# The shared tests of each kind, by what its toy is called in them.
SHARED = {
    "sampler": ("tests/core/test_samplers.py", r"\[toy\]|-toy\]|\[toy-"),
    "schedule": ("tests/core/test_samplers.py", r"ToySchedule"),
    "guidance": ("tests/core/test_guidance.py", r"\[toy\]"),
    "thresholding": ("tests/core/test_thresholding.py", r"\[toy\]"),
    "prediction": ("tests/core/test_denoiser.py", r"toy-"),
    "hint": ("tests/core/test_hints.py", r"\[toy\]"),
    "unet": ("tests/core/test_unets.py", r"\[toy"),
    "signals of a unet": ("tests/core/test_conditioning.py", r"\[toy"),
    "reader": ("tests/core/test_readers.py", r"\[toy\]"),
    "space": ("tests/core/test_discovery.py", r"\[space-toy\]"),
    "settings": ("tests/core/test_discovery.py", r"toy\]"),
    "node": ("tests/nodes/test_node_manners.py", r"ImagenToy"),
    "sampler in a node": ("tests/nodes/test_node_sampling.py", r"\[toy\]"),
    "recipe": ("tests/core/test_samplers.py", r"\[ab2\]"),
    "recipe's order": ("tests/core/test_samplers_exact.py", r"at_its_order\[ab2\]"),
    "recipe in its node": ("tests/nodes/test_node_sampling.py", r"\[ab2\]"),
    "chosen": ("tests/nodes/check_toys_chosen.py", r"toy"),
}


@pytest.fixture(scope="module")
def passed(tmp_path_factory):
    """The tests with a toy in their name that pass in the copy, by file."""
    copy = tmp_path_factory.mktemp("pack")
    for part in PARTS:
        shutil.copytree(ROOT / part, copy / part, ignore=shutil.ignore_patterns("__pycache__"))
    for file in ("__init__.py", "pyproject.toml", "tests/deepfloyd_fixtures.py"):
        shutil.copy(ROOT / file, copy / file)
    shutil.copytree(ROOT / "tests" / "toys", copy, dirs_exist_ok=True, ignore=shutil.ignore_patterns("__pycache__"))
    files = sorted({file for file, _ in SHARED.values()})
    follow_recipe(copy)
    quiet = ["-q", "-rA", "--tb=short", "-p", "no:cacheprovider"]
    command = [sys.executable, "-m", "pytest", *quiet, "-k", "toy or ab2", *files]
    done = subprocess.run(command, cwd=copy, capture_output=True, text=True)
    assert done.returncode == 0, done.stdout[-4000:] + done.stderr
    return re.findall(r"^PASSED (.*)$", done.stdout, re.MULTILINE)


def follow_recipe(copy):
    """What CONTRIBUTING says of a new sampler: the file, and its order of error in the test."""
    recipe = (ROOT / "CONTRIBUTING.md").read_text(encoding="utf-8")
    ((file, indented),) = re.findall(r"Write `(.+?)`:\n\n   ```python\n(.+?)   ```", recipe, re.DOTALL)
    (copy / file).write_text(textwrap.dedent(indented), encoding="utf-8")
    ((table, test, entry),) = re.findall(r"`(\w+)` in\s+`(tests/\S+)` as `(.+?)`", recipe)
    before = (copy / test).read_text(encoding="utf-8")
    after = before.replace(f"{table} = {{", f"{table} = {{{entry}, ")
    assert after != before
    (copy / test).write_text(after, encoding="utf-8")


@pytest.mark.parametrize("kind", SHARED)
def test_a_toy_is_picked_up_by_the_shared_tests_of_its_kind(passed, kind):
    file, named = SHARED[kind]
    assert [test for test in passed if test.startswith(file) and re.search(named, test.partition("::")[2])]
