"""Is every name and sentence that the editor shows of our nodes there in every language of locales/, and still true?"""

import json
import re

import pytest
from pack import ROOT
from snapshot import nodes

LANGUAGES = sorted(path.name for path in (ROOT / "locales").iterdir() if path.is_dir())
SAME_IN_EVERY_LANGUAGE = {"U-Net", "CLIP", "eta", "Imagen", "Imagen U-Net"}
SIGNS = set("{}@|")  # have a meaning of their own in the editor's translations


def read(language, name):
    return json.loads((ROOT / "locales" / language / f"{name}.json").read_text(encoding="utf-8"))


def inputs(node):
    return {name: spec for section in node.INPUT_TYPES().values() for name, spec in section.items()}


def english():
    """Path of each text in nodeDefs.json -> what it says in English."""
    texts = {}
    for name, node in nodes().items():
        texts |= {f"{name}.display_name": node.DISPLAY_NAME, f"{name}.description": node.DESCRIPTION}
        for key, spec in inputs(node).items():
            texts |= {f"{name}.inputs.{key}.name": key, f"{name}.inputs.{key}.tooltip": spec[1]["tooltip"]}
        for i, (key, tip) in enumerate(zip(node.RETURN_NAMES, node.OUTPUT_TOOLTIPS, strict=True)):
            texts |= {f"{name}.outputs.{i}.name": key, f"{name}.outputs.{i}.tooltip": tip}
    return texts


def flat(tree, path=""):
    for key, value in tree.items():
        if isinstance(value, dict):
            yield from flat(value, f"{path}{key}.")
        else:
            yield path + key, value


def numbers(text):
    return set(re.findall(r"(?<![A-Za-z\d.])\d+(?:\.\d+)?", text))


def test_simplified_chinese_is_one_of_them():
    assert "zh" in LANGUAGES


@pytest.mark.parametrize("language", LANGUAGES)
def test_every_text_is_translated_and_none_is_left_over(language):
    said, there = english(), dict(flat(read(language, "nodeDefs")))
    missing = {path: text for path, text in said.items() if not there.get(path)}
    assert missing == {}, f"add these to locales/{language}/nodeDefs.json (path: what it says in English)"
    assert set(there) == set(said), f"take out of locales/{language}/nodeDefs.json what no node has"
    untouched = [
        path for path, text in there.items() if text in (said[path], "") and text not in SAME_IN_EVERY_LANGUAGE
    ]
    assert untouched == [], "still in English"


@pytest.mark.parametrize("language", LANGUAGES)
def test_a_translation_says_the_numbers_and_options_of_the_english(language):
    """What a changed tooltip leaves behind: another default, an option that came later."""
    there = dict(flat(read(language, "nodeDefs")))
    stale = {path: numbers(text) ^ numbers(there[path]) for path, text in english().items() if path.endswith("tooltip")}
    assert {path: odd for path, odd in stale.items() if odd} == {}, (
        f"numbers that only one of English and {language} says"
    )
    for name, node in nodes().items():
        for key, spec in inputs(node).items():
            said = there[f"{name}.inputs.{key}.tooltip"]
            options = [option for option in spec[0] if isinstance(spec[0], list) and option in spec[1]["tooltip"]]
            assert [option for option in options if option not in said] == [], f"{name}.{key}: options without a word"


@pytest.mark.parametrize("language", LANGUAGES)
def test_every_category_and_socket_type_is_translated(language):
    main = read(language, "main")
    categories = {part for node in nodes().values() for part in node.CATEGORY.split("/")}
    assert categories - set(main["nodeCategories"]) == set(), f"add to nodeCategories of locales/{language}/main.json"
    types = {kind for node in nodes().values() for kind in (*node.RETURN_TYPES, *(spec[0] for spec in inputs(node).values()))
             if isinstance(kind, str) and kind.startswith("IMAGEN")}  # fmt: skip
    assert types - set(main["dataTypes"]) == set(), f"add to dataTypes of locales/{language}/main.json"


@pytest.mark.parametrize("language", LANGUAGES)
def test_no_text_has_signs_that_the_editor_takes_for_its_own(language):
    for name in ("nodeDefs", "main"):
        assert [path for path, text in flat(read(language, name)) if SIGNS & set(text)] == []
