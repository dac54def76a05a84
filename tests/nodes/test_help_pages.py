"""Do help pages and template pictures fit the nodes and graphs they are named after, and stay small?"""

import json
import re

import pytest
from pack import PACK, ROOT
from PIL import Image
from snapshot import nodes

DOCS = ROOT / "web" / "docs"
PAGES = sorted(DOCS.glob("*.md"))
TRANSLATED = sorted(DOCS.glob("*/*.md"))  # <node>/<language>.md, which the editor prefers in that language
PICTURES = sorted([*(ROOT / "web" / "docs").glob("*.jpg"), *(ROOT / "workflows").glob("*.jpg")])
LIMIT = 60_000  # bytes
WITH_PICTURES = {"ImagenTextEncode", "ImagenThreshold", "ImagenBaseSample64", "ImagenSuperRes"}


def test_the_pages_are_where_the_pack_says():
    assert (ROOT / PACK.WEB_DIRECTORY / "docs").is_dir()
    assert WITH_PICTURES.issubset(nodes())


def test_every_node_has_a_page_in_every_language():
    assert {page.stem for page in PAGES} == set(nodes()), "a page web/docs/<node>.md for each node, and none besides"
    languages = [path.name for path in (ROOT / "locales").iterdir() if path.is_dir()]
    wanted = {f"{node}/{language}" for node in nodes() for language in languages}
    assert {page.relative_to(DOCS).with_suffix("").as_posix() for page in TRANSLATED} == wanted


def title(page):
    """The node's name in the page's language, without what stands in brackets behind it."""
    if page.parent == DOCS:
        return nodes()[page.stem].DISPLAY_NAME.removeprefix("Imagen ")
    names = json.loads((ROOT / "locales" / page.stem / "nodeDefs.json").read_text(encoding="utf-8"))
    return names[page.parent.name]["display_name"].removeprefix("Imagen ").partition("（")[0]


@pytest.mark.parametrize("page", [*PAGES, *TRANSLATED], ids=lambda page: page.relative_to(DOCS).as_posix())
def test_a_page_has_its_nodes_title_pictures_that_exist_and_lines_that_wrap(page):
    text = page.read_text(encoding="utf-8")
    pictures = re.findall(r"!\[[^]]+\]\(([^)]+)\)", text)
    node = page.stem if page.parent == DOCS else page.parent.name
    assert pictures or node not in WITH_PICTURES
    assert all((DOCS / name).is_file() for name in pictures), "pictures are looked for beside the English pages"
    assert title(page) in text.splitlines()[0], "the page is titled as its node, perhaps among others"
    assert [line for line in text.splitlines() if line.startswith(("    ", "```"))] == [], "such lines do not wrap"


@pytest.mark.parametrize("picture", PICTURES, ids=lambda picture: picture.stem)
def test_a_picture_is_a_small_jpeg(picture):
    assert picture.stat().st_size <= LIMIT
    with Image.open(picture) as opened:
        assert opened.format == "JPEG"
        opened.load()
        assert max(channel[1] - channel[0] for channel in opened.getextrema()) > 60, "it shows something"


def test_every_template_has_a_picture_and_all_are_of_one_size():
    pictures = {path.stem: Image.open(path).size for path in (ROOT / "workflows").glob("*.jpg")}
    assert set(pictures) == {path.stem for path in (ROOT / "workflows").glob("*.json")}, "run `make thumbnails`"
    assert set(pictures.values()) == {(480, 480)}
