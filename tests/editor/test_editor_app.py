"""Can a person who wants no graph draw in app mode, and have a whole graph as one node out of the node search?"""

import json

import pytest
from conftest import ROOT


@pytest.fixture(scope="module")
def version():
    """App mode and blueprints came after the oldest editor."""
    return "newest"


def test_a_blueprint_is_found_added_and_runs_what_is_inside(editor):
    editor.blank()
    assert editor.add_by_search("Imagen text to", (700, 450))
    (shown,) = editor.js(
        "() => app.graph.nodes.map((n) => [n.title, n.isSubgraphNode(), n.widgets.map((w) => w.name)])"
    )
    assert shown[:2] == ["Imagen text to 1024", True]
    assert set(shown[2]) >= {"text", "negative_text", "steps", "guidance_scale", "batch_size", "seed"}
    script = """async () => {
        const [drawn] = app.graph.nodes, save = LiteGraph.createNode('SaveImage');
        app.graph.add(save);
        drawn.widgets.find((w) => w.name === 'text').value = 'a 3D emoji of a panda';
        drawn.connect(0, save, 0);
        return Object.values((await app.graphToPrompt()).output);
    }"""
    queued = editor.js(script)
    assert sorted(entry["class_type"] for entry in queued) == sorted(
        ["ImagenLoadTextEncoder", "ImagenTextEncode", *["ImagenLoadUNet"] * 3]
        + ["ImagenBaseSample64", *["ImagenSuperRes"] * 2, "SaveImage"]
    )
    assert [entry["inputs"]["text"] for entry in queued if entry["class_type"] == "ImagenTextEncode"] == [
        "a 3D emoji of a panda"
    ]
    editor.shot("blueprint")


def test_app_mode_has_a_prompt_a_button_and_the_picture(editor):
    graph = json.loads((ROOT / "workflows" / "text_to_image_app.json").read_text(encoding="utf-8"))
    editor.js("(graph) => app.loadGraphData(graph, true, true, 'text_to_image_app')", graph)
    editor.page.get_by_role("button", name="Skip", exact=True).click()  # the editor's own welcome
    prompt = editor.page.locator("textarea:visible").first
    assert prompt.input_value() == "a 3D emoji of a red fox on a pink background"
    prompt.fill("a 3D emoji of a panda")
    for stage in ("Base 64x64", "Super resolution 256", "Super resolution 1024"):
        editor.set_widget(stage, "steps", 1)
    editor.shot("app")
    with editor.run() as heard:
        pass
    assert heard.ended == "execution_success"
    editor.until("() => [...document.images].some((i) => i.checkVisibility() && i.naturalWidth === 1024)")
    assert editor.js("() => node('Prompt').widgets[0].value") == "a 3D emoji of a panda"
    editor.shot("app_done")
