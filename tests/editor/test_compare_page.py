"""Can people vote on the page of `imagen evaluate prompts`, opened as a file, and are their votes what they clicked?"""

from __future__ import annotations

import json

import pytest
import torch

from imagen_train.raters.prompt_sets import Asked
from imagen_train.raters.side_by_side import write_pages
from imagen_train.raters.votes import counted, read_key, read_votes


def test_people_click_go_back_and_save(browser, tmp_path):
    asked = [Asked(f"prompt {i}", "all") for i in range(3)]
    drawn = tuple(torch.full((3, 1, 3, 8, 8), value) for value in (-1.0, 1.0))
    pages = write_pages(tmp_path, asked, drawn, ("A", "B"))
    context = browser.new_context(offline=True)
    page = context.new_page()
    errors = []
    page.on("pageerror", lambda error: errors.append(str(error)))
    page.goto(pages.page.as_uri())
    first = page.text_content("#prompt")
    page.click("#quality button[value=left]")
    assert page.text_content("#prompt") == first  # the other question is open
    page.click("#alignment button[value=same]")
    page.wait_for_function("first => document.getElementById('prompt').textContent !== first", arg=first)
    page.keyboard.press("3")  # quality: right
    page.keyboard.press("5")  # alignment: no difference
    page.click("#back")
    page.click("#quality button[value=left]")  # second thoughts
    assert page.get_attribute("#quality button[value=right]", "aria-pressed") == "false"
    assert page.text_content("#far") == "2 of 3, 2 answered"
    page.reload()
    assert page.text_content("#far") == "1 of 3, 2 answered"  # kept in this browser
    with page.expect_download() as saved:
        page.click("#save")
    file = tmp_path / saved.value.suggested_filename
    saved.value.save_as(file)
    key = read_key(pages.key)
    votes = read_votes(file, key)
    assert votes["votes"]["0000"] == {"quality": "left", "alignment": "same"}
    assert votes["votes"]["0001"] == {"quality": "left", "alignment": "same"}
    for_the_first = sum(key["items"][item]["left"] == 0 for item in ("0000", "0001"))
    assert counted(key, [votes])["quality"]["all"].share == pytest.approx(for_the_first / 2)
    assert json.loads(file.read_text())["rater"] and errors == []
    context.close()
