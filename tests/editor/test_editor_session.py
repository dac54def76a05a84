"""Can somebody who has never used ComfyUI's host work in the editor: open, run, add, link, save, drop, upload, stop?"""

import json

import pytest
from PIL import Image

OURS = (
    "text_to_image_1024",
    "text_to_image_64",
    "super_resolve_photo",
    "thresholding_compared",
    "aug_level_sweep",
)


@pytest.fixture(scope="module")
def keep_templates():
    return True


def title_of(name):
    return name.replace("_", " ").capitalize()


def card(editor, name):
    """A template's card in the dialog, which draws those below its edge only when they are scrolled to."""
    found = editor.page.get_by_text(title_of(name), exact=True).first
    width, height = editor.page.viewport_size.values()
    editor.page.mouse.move(width / 2, height / 2)
    for down in [0] * 10 + [300] * 15 + [-300] * 15:  # the dialog opens late
        if found.count():
            break
        editor.page.mouse.wheel(0, down)
        editor.page.wait_for_timeout(300)
    found.scroll_into_view_if_needed()
    return found


def test_first_screen_shows_our_templates(editor):
    for name in OURS:
        card(editor, name).wait_for()
    assert editor.js("() => app.graph.nodes.length") == 0
    editor.shot("first_screen")


def test_template_opens_by_mouse_and_reads_well(editor):
    card(editor, "text_to_image_1024").click()
    editor.until("() => app.graph.nodes.length === 13 && node('Prompt')?.widgets[0].last_y")
    editor.shot("template")
    shown = editor.js("() => app.graph.nodes.map((n) => [n.title, ...n.size, ...n.computeSize()])")
    for title, width, height, least_width, least_height in shown:
        assert width >= least_width and least_height <= height, f"{title} is too small for what it shows"
    editor.read_tooltip("Base 64x64", "guidance_scale", "How strongly the prompt pulls")
    editor.shot("tooltip")


def test_prompt_changes_and_the_cascade_grows_stage_by_stage(editor):
    editor.write("Prompt", "text", "a 3D emoji of a robot on a blue background")
    stages = ("Base 64x64", "Super resolution 256", "Super resolution 1024")
    for stage in stages:
        editor.set_widget(stage, "steps", 4)
    sizes = editor.js("() => app.graph.nodes.map((n) => [n.title, ...n.size])")
    with editor.run() as heard:
        editor.until("() => heard.some(([kind]) => kind.startsWith('b_preview'))")
        editor.shot("running")
    assert heard.ended == "execution_success"
    ids = {stage: str(editor.js("(title) => node(title).id", stage)) for stage in stages}
    for stage, number in ids.items():
        values = [data["value"] for data in heard.of("progress") if data["node"] == number]
        assert values == [1, 2, 3, 4], stage
        previews = [data["nodeId"] for data in heard.of("b_preview_with_metadata")]
        assert 1 <= previews.count(number) <= 4, stage  # an unsent preview gives way to a newer one
    assert editor.pictures("Save Image") == [1024] and editor.pictures("64x64") == [64]
    assert editor.js("() => app.graph.nodes.map((n) => [n.title, ...n.size])") == sizes, "a node grew over another"
    editor.shot("done")


def test_the_picture_carries_the_graph_as_it_was_run(editor, folder):
    (path,) = (folder / "output" / "imagen").glob("text_to_image_1024_*.png")
    texts = Image.open(path).text
    prompts = [entry["inputs"] for entry in json.loads(texts["prompt"]).values()]
    assert any(inputs.get("text") == "a 3D emoji of a robot on a blue background" for inputs in prompts)
    assert len(json.loads(texts["workflow"])["nodes"]) == 13


def test_nodes_are_found_by_name_and_alias(editor, version):
    wanted = {"Imagen Base Sample": "ImagenBaseSample64", "Load U-Net": "ImagenLoadUNet"}
    if version == "newest":  # the floor knows no aliases
        wanted["load diffusion model"] = "ImagenLoadUNet"
    for text, kind in wanted.items():
        editor.blank()
        assert editor.add_by_search(text, (900, 300)) == kind


def test_a_link_is_dragged(editor):
    editor.blank()
    editor.js("""() => { for (const [kind, x] of [['ImagenLoadUNet', 100], ['ImagenBaseSample64', 600]]) {
        const n = LiteGraph.createNode(kind); n.pos = [x, 200]; app.graph.add(n); } }""")
    start = editor.steady("() => slotAt(node('ImagenLoadUNet'), false, 0)")
    end = editor.steady("() => slotAt(node('ImagenBaseSample64'), true, 0)")
    editor.again_until(lambda: editor.drag(start, end), "() => node('ImagenBaseSample64').inputs[0].link != null")
    editor.drag(start, (end[0], end[1] + 20))  # unet into text: sockets of another type refuse
    assert editor.js("() => node('ImagenBaseSample64').inputs[1].link") is None
    editor.shot("link")


def test_a_workflow_is_saved_and_opened_again(editor, folder):
    editor.template("text_to_image_64")
    editor.write("Prompt", "text", "three red rings — größer, 大きい")
    editor.save_as("my first")
    path = folder / "user" / "workflows" / "my first.json"
    editor.wait_for(path.is_file)
    saved = json.loads(path.read_text(encoding="utf-8"))
    assert any("größer, 大きい" in str(node["widgets_values"]) for node in saved["nodes"])
    editor.open()
    editor.until("() => node('Prompt')?.widgets[0].value === 'three red rings — größer, 大きい'")
    editor.another_browser(keep_templates=True)
    editor.page.get_by_text(title_of(OURS[0]), exact=True).first.wait_for()
    editor.close_dialogs()
    editor.shot("reloaded")
    editor.open_saved("my first")
    editor.until("() => node('Prompt')?.widgets[0].value === 'three red rings — größer, 大きい'")
    editor.shot("opened_again")


@pytest.mark.parametrize("form", ["editor", "api"])
def test_a_dropped_picture_brings_its_graph(editor, folder, form):
    (path,) = (folder / "output" / "imagen").glob("text_to_image_1024_*.png")
    data = path.read_bytes()
    if form == "api":  # as `imagen run` of an API prompt saves it
        picture, path = Image.open(path), folder / "api.png"
        from PIL.PngImagePlugin import PngInfo

        info = PngInfo()
        info.add_text("prompt", picture.text["prompt"])
        picture.save(path, pnginfo=info)
        data = path.read_bytes()
    editor.blank()
    editor.drop_file(path.name, "image/png", data)
    editor.until("() => app.graph.nodes.length >= 12 && node('ImagenTextEncode')")
    assert editor.js("() => node('ImagenTextEncode').widgets[0].value") == "a 3D emoji of a robot on a blue background"


def test_a_picture_is_uploaded_into_load_image(editor, folder):
    editor.blank()
    editor.js("""() => {
        const loader = LiteGraph.createNode('LoadImage');
        loader.pos = [300, 200];
        app.graph.add(loader);
    }""")
    editor.drawn()
    path = folder / "my photo.png"
    Image.new("RGB", (40, 30), "orange").save(path)
    editor.shot("before_upload")
    with editor.page.expect_file_chooser() as chooser:
        editor.click_widget("Load Image", "upload")
    chooser.value.set_files(path)
    editor.until("() => node('Load Image').widgets[0].value === 'my photo.png'")
    editor.until("() => node('Load Image').imgs?.[0]?.naturalWidth === 40")
    assert (folder / "input" / "my photo.png").read_bytes() == path.read_bytes()
    editor.shot("uploaded")
