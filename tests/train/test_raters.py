"""Are two models compared blindly, on the same seeds, and are people's votes counted with honest intervals?"""

from __future__ import annotations

import base64
import io
import json
import random
import re
from pathlib import Path

import pytest
import torch
from PIL import Image

from imagen_train import cli
from imagen_train.evaluate import SamplingSettings
from imagen_train.raters.comparison import Contender, compare
from imagen_train.raters.prompt_sets import OURS, Asked, read_prompts
from imagen_train.raters.side_by_side import write_pages
from imagen_train.raters.votes import counted, read_key, read_votes, table, wilson
from imagen_train.stickers.names import things


def test_ours_asks_for_things_that_things64_knows_in_five_categories():
    asked = read_prompts(OURS)
    counts = {name: sum(each.category == name for each in asked) for name in {each.category for each in asked}}
    assert counts == dict.fromkeys(("colours", "counting", "relations", "styles", "unusual"), 20)
    assert len({each.prompt for each in asked}) == 100
    known = {name for thing in things() if thing.tier == 1 for name in (thing.noun, thing.plural)}
    for each in asked:
        assert any(re.search(rf"\b{re.escape(name)}\b", each.prompt) for name in known), each.prompt
    assert len(read_prompts(OURS, most=3)) == 15


def test_drawbench_and_lists_without_categories_are_read_too(tmp_path):
    (tmp_path / "a.csv").write_text('Prompts,Category\n"A red, car.",Colors\n A  cat ,Counting\n')
    assert read_prompts(tmp_path / "a.csv") == [Asked("A red, car.", "Colors"), Asked("A cat", "Counting")]
    (tmp_path / "b.tsv").write_text("caption\ttext\na dog\tx\n")
    assert read_prompts(tmp_path / "b.tsv") == [Asked("a dog", "all")]


@pytest.mark.parametrize(
    "text, message",
    [
        ("", "holds no prompts"),
        ("category,prompt\n", "holds no prompts"),
        ("name,kind\na,b\n", "has columns name, kind, none of them a prompt"),
        ("prompt,category\na,b\n,c\n", "line 3, has no prompt"),
        ('prompt\n"a\n', "is no CSV"),
        (b"prompt\n\xff\xfe\n", "is not UTF-8"),
    ],
)
def test_a_csv_that_asks_nothing_is_refused(text, message, tmp_path):
    path = tmp_path / "x.csv"
    path.write_bytes(text if isinstance(text, bytes) else text.encode())
    with pytest.raises(ValueError, match=message):
        read_prompts(path)


def _pages(folder: Path, count: int = 6):
    asked = [Asked(f"</script> prompt {i}", "even" if i % 2 == 0 else "odd") for i in range(count)]
    drawn = tuple(torch.full((count, 2, 3, 8, 8), value) for value in (-1.0, 1.0))
    for model in drawn:
        model[:, :, 1] = torch.linspace(-1, 1, count)[:, None, None, None]  # the prompt, in green
    return asked, write_pages(folder, asked, drawn, ("black.safetensors", "white.safetensors"), seed=1)


def test_the_page_knows_nothing_of_the_models_and_the_key_knows_all(tmp_path):
    asked, pages = _pages(tmp_path)
    page, key = pages.page.read_text(), read_key(pages.key)
    assert "safetensors" not in page and not re.search(r'(src|href)="(?!data:)', page) and page.count("</script>") == 2
    told = json.loads(re.search(r'id="told">(.*?)</script>', page, re.DOTALL)[1])
    assert told["page"] == key["page"] and [item["id"] for item in told["items"]] == list(key["items"])
    assert [item["prompt"] for item in told["items"]] != [each.prompt for each in asked]  # shuffled
    for item in told["items"]:
        about = key["items"][item["id"]]
        number = int(item["prompt"].split()[-1])
        assert about["category"] == asked[number].category
        for side, model in (("left", about["left"]), ("right", 1 - about["left"])):
            data = base64.b64decode(item[side].removeprefix("data:image/png;base64,"))
            picture = Image.open(io.BytesIO(data), formats=["PNG"])
            assert picture.size == (16, 8) and picture.getpixel((3, 3)) == (255 * model, 51 * number, 255 * model)
    assert sum(each["left"] for each in key["items"].values()) == 3  # each stands left as often


def _voted(folder: Path, key: dict, name: str, choose) -> Path:
    votes = {item: choose(item, about) for item, about in key["items"].items()}
    path = folder / f"{name}.json"
    path.write_text(json.dumps({"format": "imagen-votes", "page": key["page"], "rater": name, "votes": votes}))
    return path


def _for(model: int, about: dict) -> str:
    return "left" if about["left"] == model else "right"


def test_votes_are_counted_by_category_whichever_side_a_model_stood(tmp_path, capsys):
    _, pages = _pages(tmp_path)
    key = read_key(pages.key)
    alike = {"quality": "same"}

    def first(item, about):  # for A where even, for B where odd; alignment on even ones only
        if about["category"] == "odd":
            return {"quality": _for(1, about)}
        return {"quality": _for(0, about), "alignment": _for(0, about)}

    files = [_voted(tmp_path, key, "ann", first), _voted(tmp_path, key, "bob", lambda item, about: alike)]
    found = counted(key, [read_votes(file, key) for file in files])
    quality = found["quality"]
    assert (quality["even"].share, quality["odd"].share, quality["all"].share) == (0.75, 0.25, 0.5)
    assert (quality["all"].first, quality["all"].same, quality["all"].second) == (3, 6, 3)
    assert quality["all"].prompts == 6 and (quality["all"].low, quality["all"].high) == wilson(0.5, 6)
    assert list(found["alignment"]) == ["even", "all"] and found["alignment"]["all"].share == 1.0
    assert "A: black.safetensors" in table(key, found)
    assert cli.main(["evaluate", "votes", *map(str, files), "--json"]) == 0
    assert json.loads(capsys.readouterr().out)["quality"]["even"]["share"] == 0.75
    assert cli.main(["evaluate", "votes", *map(str, files)]) == 0
    assert re.search(r"even +75% \[.*of 3 prompts \(3, 3, 0\): open", capsys.readouterr().out)


def test_intervals_are_wilsons_and_hold_what_they_promise():
    assert wilson(0.8, 10) == pytest.approx((0.4902, 0.9433), abs=1e-4)  # Brown, Cai and DasGupta 2001
    assert wilson(0.0, 10) == pytest.approx((0.0, 0.2775), abs=1e-4)
    rng = random.Random(0)
    for truth in (0.5, 0.9):  # several raters a prompt who mostly agree, some of them undecided
        held = 0
        for _ in range(1000):
            shares = []
            for _ in range(20):
                likes = float(rng.random() < truth)
                shares.append(sum(likes if rng.random() < 0.8 else 0.5 for _ in range(3)) / 3)
            low, high = wilson(sum(shares) / 20, 20)
            held += low <= 0.8 * truth + 0.1 <= high
        assert held >= 930
    with pytest.raises(ValueError, match="no values"):
        wilson(0.5, 0)


def test_votes_that_cannot_be_counted_are_refused(tmp_path):
    _, pages = _pages(tmp_path)
    key = read_key(pages.key)
    ann = _voted(tmp_path, key, "ann", lambda item, about: {"quality": "same"})
    told = json.loads(ann.read_text())

    def refused(message: str, *, text: str | None = None, **change) -> None:
        path = tmp_path / "other.json"
        path.write_text(text if text is not None else json.dumps({**told, **change}))
        with pytest.raises(ValueError, match=message):
            counted(key, [read_votes(path, key)])

    refused("is no JSON", text="{")
    refused("JSON of another kind", text="[1]")
    refused("holds no votes", format="x")
    refused("votes on another page", page="x")
    refused("votes on '9999', which the page has not", votes={"9999": {}})
    refused("left, same or right was asked", votes={"0000": {"quality": "both"}})
    refused("left, same or right was asked", votes={"0000": {"beauty": "left"}})
    refused("nobody has voted yet", votes={})
    with pytest.raises(ValueError, match="rater ann are given twice"):
        counted(key, [told, told])
    with pytest.raises(ValueError, match="is no key of a comparison"):
        read_key(ann)
    (tmp_path / "far").mkdir()
    lonely = tmp_path / "far" / "ann.json"
    lonely.write_bytes(ann.read_bytes())
    with pytest.raises(ValueError, match="no key.json beside the votes"):
        cli.main(["evaluate", "votes", str(lonely)])


def test_two_settings_of_one_checkpoint_are_drawn_from_the_same_seeds(models, lively, tmp_path):
    (tmp_path / "asked.csv").write_text("category,prompt\nx,a red star\ny,a blue ring\n")
    base = str(lively)
    command = ["evaluate", "prompts", str(tmp_path / "asked.csv"), "--models", base, base, "--steps", "2", "3"]
    command += ["--count", "2", "--side", "16", "--models-dir", str(models), "--out", str(tmp_path / "out")]
    assert cli.main(command) == 0
    key = read_key(tmp_path / "out" / "key.json")
    assert key["models"] == [f"{base}, steps 2", f"{base}, steps 3"] and len(key["items"]) == 2
    page = (tmp_path / "out" / "compare.html").read_text()
    told = json.loads(re.search(r'id="told">(.*?)</script>', page, re.DOTALL)[1])
    model = Contender(weights=lively, settings=SamplingSettings(steps=2), side=16)
    both = model.drawn(["a red star", "a blue ring"], 2, [models])
    for item in told["items"]:
        side = "left" if key["items"][item["id"]]["left"] == 0 else "right"
        shown = Image.open(io.BytesIO(base64.b64decode(item[side].partition(",")[2])), formats=["PNG"])
        assert shown.size == (32, 16)
        row = ["a red star", "a blue ring"].index(item["prompt"])
        wanted = ((both[row, 1, :, 5, 7].clamp(-1, 1) + 1) * 127.5).round().tolist()
        assert shown.getpixel((16 + 7, 5)) == pytest.approx(wanted, abs=1)


def test_what_cannot_be_compared_is_refused(models, tmp_path):
    base, enlarger = (str(models / f"{name}.safetensors") for name in ("base64", "sr256"))
    common = ["--out", str(tmp_path / "out"), "--models-dir", str(models), "--limit", "1"]

    def refused(message: str, *options: str, pair=(base, base)) -> None:
        with pytest.raises(ValueError, match=message):
            cli.main(["evaluate", "prompts", "--models", *pair, *common, *options])

    refused("both models are one checkpoint with the same settings")
    refused("--steps is given 3 values", "--steps", "1", "2", "3")
    with pytest.raises(ValueError, match="0 pictures a prompt show nothing"):  # the command line refuses it before
        pair = tuple(Contender(weights=Path(base), settings=SamplingSettings(steps=n)) for n in (1, 2))
        compare([], pair, tmp_path / "out", places=(), count=0)
    refused("sr256 stage, which draws nothing from a prompt", pair=(base, enlarger))
    refused("--limit 0 leaves no prompts", "--limit", "0")
    assert not (tmp_path / "out").exists()
