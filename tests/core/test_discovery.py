"""Is one new file all it takes? Every registered kind: found, documented, and the same after a trip through JSON."""

import dataclasses
import importlib.util
import inspect
import json
import sys

import pytest

from imagen_core._discovery import discover, from_config, to_config
from imagen_core.guidance import GUIDANCE
from imagen_core.hints import HINTS
from imagen_core.predictions import PREDICTIONS
from imagen_core.samplers import SAMPLERS, SPACINGS
from imagen_core.schedules import SCHEDULES, schedule_from_config, schedule_to_config
from imagen_core.spaces import SPACES
from imagen_core.thresholding import THRESHOLDINGS

REGISTRIES = {
    "schedule": SCHEDULES,
    "guidance": GUIDANCE,
    "thresholding": THRESHOLDINGS,
    "sampler": SAMPLERS,
    "prediction": PREDICTIONS,
    "space": SPACES,
    "hint": HINTS,
}
EVERYTHING = [(kind, name) for kind, registry in REGISTRIES.items() for name in registry]


@pytest.mark.parametrize(("kind", "name"), EVERYTHING)
def test_settings_survive_json(kind, name):
    registry = REGISTRIES[kind]
    settings = registry[name]()
    config = json.loads(json.dumps(to_config(settings)))
    assert config["name"] == name
    assert from_config(registry, config, kind=kind) == settings


@pytest.mark.parametrize(("kind", "name"), EVERYTHING)
def test_documented_frozen_and_keyword_only(kind, name):
    implementation = REGISTRIES[kind][name]
    assert "?" in inspect.getmodule(implementation).__doc__.splitlines()[0], "the first line says which question"
    assert "(" + name not in implementation.__doc__, "dataclass wrote the docstring, nobody else did"
    for field in dataclasses.fields(implementation):
        assert field.kw_only
        assert field.name in implementation.__doc__, f"{implementation.__name__} does not explain {field.name}"
    with pytest.raises(dataclasses.FrozenInstanceError):
        implementation().anything = 1


def test_what_the_papers_need_is_there():
    assert {"eps", "v", "x_0", "flow"} <= set(PREDICTIONS)
    assert {"cosine", "linear", "discrete", "flow"} <= set(SCHEDULES)
    assert {"classifier_free", "apg"} <= set(GUIDANCE)
    assert {"none", "static", "dynamic"} <= set(THRESHOLDINGS)
    assert {"ddpm", "ddim", "dpmpp_2m", "dpmpp_2m_sde", "heun"} <= set(SAMPLERS)
    assert all(sampler.default_spacing in SPACINGS for sampler in SAMPLERS.values())


def test_config_errors_name_the_key():
    with pytest.raises(ValueError, match="cosine, discrete, edm, flow, linear"):
        schedule_from_config({"name": "sigmoid"})
    with pytest.raises(ValueError, match="None.*cosine"):
        schedule_from_config({"shift": 1.0})
    with pytest.raises(ValueError, match="shfit"):
        schedule_from_config({**schedule_to_config(SCHEDULES["cosine"]()), "shfit": 1.0})


SOURCE = """
from dataclasses import dataclass
from typing import ClassVar
from ._base import Base

@dataclass(frozen=True, kw_only=True)
class {name}(Base):
    name: ClassVar[str] = "{key}"
    size: int{default}

    def run(self): ...
"""


@pytest.fixture
def pack(tmp_path):
    """A package on disk, loaded as ComfyUI loads packs: under its path with dots replaced."""
    (tmp_path / "_base.py").write_text(
        "from abc import ABC, abstractmethod\nclass Base(ABC):\n    @abstractmethod\n    def run(self): ...\n"
    )
    (tmp_path / "one.py").write_text(SOURCE.format(name="One", key="one", default=" = 1"))
    (tmp_path / "two.py").write_text(SOURCE.format(name="Two", key="two", default=""))
    (tmp_path / "__init__.py").write_text("from ._base import Base\n")
    name = str(tmp_path / "pack.v1").replace(".", "_x_")
    folders = [str(tmp_path)]
    spec = importlib.util.spec_from_file_location(name, tmp_path / "__init__.py", submodule_search_locations=folders)
    module = importlib.util.module_from_spec(spec)
    sys.modules[name] = module
    spec.loader.exec_module(module)
    yield module, tmp_path
    for loaded in [loaded for loaded in sys.modules if loaded.startswith(name)]:
        del sys.modules[loaded]


def test_discovers_in_a_package_named_by_a_path(pack):
    module, _ = pack
    found = discover(module.__name__, [str(path) for path in module.__path__], module.Base)
    assert sorted(found) == ["one", "two"]
    with pytest.raises(ValueError, match="size"):
        from_config(found, {"name": "two"}, kind="thing")


def test_two_of_a_name_are_refused(pack):
    module, folder = pack
    (folder / "three.py").write_text(SOURCE.format(name="Three", key="one", default=" = 1"))
    with pytest.raises(ValueError, match="one.*three|three.*one"):
        discover(module.__name__, [str(folder)], module.Base)
