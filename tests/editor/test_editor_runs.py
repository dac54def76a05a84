"""Does the editor show what becomes of a run: stopped, waiting, cancelled, refused, failed, cached?"""

import re

import pytest


@pytest.fixture(autouse=True)
def small_graph(editor):
    """The 64 px graph with few steps, anew for each test."""
    empty = "async () => { for (const [path, body] of [['/queue', '{\"clear\": true}'], ['/interrupt', '{}']]) "
    editor.js(empty + "await fetch(path, {method: 'POST', body}); }")
    editor.page.keyboard.press("Escape")
    editor.template("text_to_image_64")
    editor.set_widget("Imagen Base Sample 64", "steps", 4)
    editor.set_widget("Imagen Base Sample 64", "batch_size", 1)


def queue(editor):
    return editor.js("async () => (await fetch('/queue')).json()")


def test_stopped_in_the_middle_of_a_stage(editor):
    editor.set_widget("Imagen Base Sample 64", "steps", 300)
    with editor.run() as heard:
        editor.until("() => heard.filter(([kind]) => kind === 'progress').length > 3")
        editor.page.get_by_role("button", name="Cancel current run").first.click()
    assert heard.ended == "execution_interrupted"
    assert 3 < len(heard.of("progress")) < 290
    editor.page.wait_for_timeout(300)
    editor.shot("interrupted")
    editor.set_widget("Imagen Base Sample 64", "steps", 4)
    with editor.run() as heard:
        pass
    assert heard.ended == "execution_success" and editor.pictures("Save Image") == [64]


def test_three_queued_and_one_cancelled(editor, version):
    editor.set_widget("Imagen Base Sample 64", "steps", 1000)  # none ends by itself meanwhile
    before = editor.js("async () => Object.keys(await (await fetch('/history')).json())")
    for _ in range(3):
        editor.press_run()
        editor.page.wait_for_timeout(300)
    editor.wait_for(lambda: len(queue(editor)["queue_pending"]) == 2)
    last = max(queue(editor)["queue_pending"])[1]
    editor.cancel_last_queued(version)
    editor.wait_for(lambda: len(queue(editor)["queue_pending"]) == 1)
    assert last not in str(queue(editor))
    for left in (1, 0):
        editor.page.get_by_role("button", name="Cancel current run").first.click()
        editor.wait_for(lambda left=left: len(sum(queue(editor).values(), [])) == left)
    history = editor.js("async () => (await fetch('/history')).json()")
    assert last not in history and len(history) - len(before) == 2


def test_a_prompt_that_is_refused_marks_the_node(editor):
    editor.js("() => node('Imagen Base Sample 64').disconnectInput(0)")
    editor.js("() => { heard.length = 0; }")
    editor.press_run()
    number = editor.node("Imagen Base Sample 64", "String(n.id)")
    editor.until("() => app.lastNodeErrors && Object.keys(app.lastNodeErrors).length")
    errors = editor.js("() => app.lastNodeErrors")
    assert list(errors) == [number] and errors[number]["errors"][0]["type"] == "required_input_missing"
    editor.page.get_by_text(
        re.compile("a required input is missing: connect or set unet|missing a required input: unet")
    ).wait_for()
    editor.until("() => node('Imagen Base Sample 64').has_errors || node('Imagen Base Sample 64').inputs[0].hasErrors")
    editor.shot("refused")


def test_a_node_that_fails_is_marked_and_says_why(editor, version):
    checkpoint = "imagen-mini/sr256.safetensors"
    editor.set_widget("Load things64", "checkpoint", checkpoint)
    with editor.run() as heard:
        pass
    assert heard.ended == "execution_error"
    (error,) = heard.of("execution_error")
    assert error["node_id"] == editor.node("Imagen Base Sample 64", "String(n.id)")
    assert error["exception_type"] == "ValueError" and error["traceback"]
    if version == "newest":
        editor.page.get_by_text("Imagen Base Sample 64 failed").first.wait_for()
        editor.page.get_by_role("button", name="View details").first.click()
    editor.page.get_by_text(error["exception_message"].strip()[:60]).first.wait_for()
    editor.shot("failed")
    editor.page.keyboard.press("Escape")


def test_what_did_not_change_is_not_run_again(editor):
    editor.set_widget("Imagen Base Sample 64", "control_after_generate", "fixed")
    with editor.run() as heard:
        pass
    with editor.run() as heard:
        pass
    assert heard.ended == "execution_success" and heard.of("progress") == []
    assert [data["output"]["images"][0]["type"] for data in heard.of("executed")] == ["output"]
    assert editor.pictures("Save Image") == [64]


def test_no_request_failed_but_for_files_that_are_not_there_yet(editor):
    """A 404 of a template's picture or of saved data is the editor's way to ask whether it exists."""
    optional = ("/userdata", ".jpg", "/i18n/")
    assert [item for item in editor.failed if item[0] != 400 and not any(part in item[1] for part in optional)] == []
