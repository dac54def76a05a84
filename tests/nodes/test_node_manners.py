"""Does every node tell its user what it is, what each input does and what comes out?"""

import inspect

import pytest
from pack import ROOT
from snapshot import nodes

NODES = nodes()  # those that only ComfyUI runs included
WIDGETS = {"INT", "FLOAT", "STRING", "BOOLEAN"}


def inputs_of(node):
    declared = node.INPUT_TYPES()
    return [(name, spec) for part in ("required", "optional") for name, spec in declared.get(part, {}).items()]


@pytest.mark.parametrize("name", NODES)
class TestManners:
    def test_id_and_category(self, name):
        assert name.startswith("Imagen")
        assert NODES[name].CATEGORY.startswith("imagen/")

    def test_has_a_display_name_and_a_description(self, name):
        assert NODES[name].DISPLAY_NAME.startswith("Imagen ")
        assert len(NODES[name].DESCRIPTION) > 40
        assert NODES[name].SEARCH_ALIASES

    def test_every_input_has_a_tooltip(self, name):
        silent = [key for key, spec in inputs_of(NODES[name]) if len(spec) < 2 or not spec[1].get("tooltip")]
        assert silent == []

    def test_every_widget_has_a_default_inside_its_range(self, name):
        for key, (kind, options) in inputs_of(NODES[name]):
            if kind in ("INT", "FLOAT"):
                assert options["min"] <= options["default"] <= options["max"], key
            elif isinstance(kind, list) and "default" in options:
                assert options["default"] in kind, key

    def test_every_output_is_named_and_explained(self, name):
        node = NODES[name]
        assert len(node.RETURN_TYPES) == len(node.RETURN_NAMES) == len(node.OUTPUT_TOOLTIPS)

    def test_the_function_takes_exactly_the_inputs(self, name):
        node = NODES[name]
        signature = inspect.signature(getattr(node, node.FUNCTION)).parameters
        named = {name for name, p in signature.items() if name != "self" and p.kind is not p.VAR_KEYWORD}
        declared = {key for key, _ in inputs_of(node)}
        takes_more = any(p.kind is p.VAR_KEYWORD for p in signature.values())  # whatever discovered methods bring
        assert named == declared or (takes_more and named < declared)


def test_the_nodes_that_the_workflows_and_the_readme_name_exist():
    promised = {
        "ImagenLoadTextEncoder",
        "ImagenLoadUNet",
        "ImagenTextEncode",
        "ImagenThreshold",
        "ImagenGuidance",
        "ImagenBaseSample64",
        "ImagenSuperRes",
    }
    assert promised <= set(NODES)


def test_only_workflows_is_taken_for_templates():
    """ComfyUI serves templates from the first of these folders that exists, and no graph beside it would be found."""
    folders = ("example_workflows", "example", "examples", "workflow", "workflows")
    assert [name for name in folders if (ROOT / name).exists()] == ["workflows"]
