"""Do help pages and template pictures fit the nodes and graphs they are named after, and stay small?"""

import re

import pytest
from pack import PACK, ROOT
from PIL import Image
from snapshot import nodes

PAGES = sorted((ROOT / "web" / "docs").glob("*.md"))
PICTURES = sorted([*(ROOT / "web" / "docs").glob("*.jpg"), *(ROOT / "workflows").glob("*.jpg")])
LIMIT = 60_000  # bytes
WITH_PICTURES = {"ImagenTextEncode", "ImagenThreshold", "ImagenBaseSample64", "ImagenSuperRes"}


def test_the_pages_are_where_the_pack_says():
    assert (ROOT / PACK.WEB_DIRECTORY / "docs").is_dir()
    assert WITH_PICTURES <= {page.stem for page in PAGES} <= set(nodes())


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.stem)
def test_a_page_has_its_nodes_title_and_pictures_that_exist(page):
    text = page.read_text(encoding="utf-8")
    pictures = re.findall(r"!\[[^]]+\]\(([^)]+)\)", text)
    assert (pictures or page.stem not in WITH_PICTURES) and all((page.parent / name).is_file() for name in pictures)
    title = nodes()[page.stem].DISPLAY_NAME.removeprefix("Imagen ")
    assert title in text.splitlines()[0], "the page is titled as its node, perhaps among others"


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
