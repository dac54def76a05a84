"""Do the lines of Python that the README shows draw a picture, and does it name what there is?"""

import re
from pathlib import Path

import pytest
from PIL import Image

ROOT = Path(__file__).resolve().parent.parent


@pytest.mark.parametrize("name", ["README.md", "README.zh.md"])
def test_the_lines_run_as_they_stand(name, tmp_path, monkeypatch):
    (lines,) = re.findall(r"```python\n(.+?)```", (ROOT / name).read_text(encoding="utf-8"), re.DOTALL)
    assert len(list(filter(None, lines.splitlines()))) == 8
    (tmp_path / "models").symlink_to(ROOT / "models")
    monkeypatch.chdir(tmp_path)
    exec(lines, {})
    picture = Image.open("fox.png")
    assert picture.size == (256, 256)
    assert len(picture.resize((4, 4)).getcolors()) > 4, "more than a plain colour"


@pytest.mark.parametrize("name", ["README.md", "README.zh.md", "CONTRIBUTING.md", "docs/deepfloyd_if.md"])
def test_what_it_links_to_is_there(name):
    page = ROOT / name
    links = re.findall(r"\]\((?!https?://)([^)#]+)", page.read_text(encoding="utf-8"))
    assert [link for link in links if not (page.parent / link).exists()] == []


def test_it_names_every_workflow_and_no_other():
    """A name that begins with _ takes the place of the end of the one before it in its row."""
    named, ends = set(), []
    for row in re.findall(r"^\| (`.+?) \|", (ROOT / "README.md").read_text(encoding="utf-8"), re.MULTILINE):
        first, *others = re.findall(r"`(\w+)`", row) or [""]
        named |= {first, *(other for other in others if not other.startswith("_"))}
        ends += [(first, other) for other in others if other.startswith("_")]
    shipped = {path.stem for path in (ROOT / "workflows").glob("*.json")}
    for first, end in ends:
        cuts = [first] + [first[: found.start()] for found in re.finditer("_", first)]
        (whole,) = {cut + end for cut in cuts} & shipped
        named.add(whole)
    assert named - {""} == shipped
