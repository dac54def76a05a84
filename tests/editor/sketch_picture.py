"""How does a sketch become a picture? `python tests/editor/sketch_picture.py` writes docs/sketch.jpg; needs a Chromium.

As a person does it: Load Image takes the example's place, its mask editor is opened, an apple is drawn with the mouse, and
the graph is run.
"""

import sys
import tempfile
from pathlib import Path

from PIL import Image
from playwright.sync_api import sync_playwright

HERE = Path(__file__).parent
sys.path[:0] = [str(HERE), str(HERE.parents[1]), str(HERE.parents[1] / "workflows")]

from conftest import FLAGS, ROOT, find_chromium, serving  # noqa: E402
from editor_page import Editor  # noqa: E402
from examples import PEN, apple  # noqa: E402

GRAPH = "sketch_to_picture"
SIZE = {"width": 1600, "height": 850}  # pixels
PAPER = 512  # pixels a side
PUT_IN_PLACE = """async (side) => {
    const canvas = Object.assign(document.createElement('canvas'), {width: side, height: side});
    const pen = canvas.getContext('2d');
    pen.fillStyle = 'white';
    pen.fillRect(0, 0, side, side);
    const form = new FormData();
    form.append('image', new File([await new Promise((done) => canvas.toBlob(done))], 'paper.png'));
    await app.api.fetchApi('/upload/image', {method: 'POST', body: form});
    const before = node('Your picture'), canvasNode = LiteGraph.createNode('LoadImage');
    canvasNode.title = 'Draw here';
    app.graph.add(canvasNode);
    canvasNode.pos = [...before.pos];
    for (const [slot, output] of before.outputs.entries())
        for (const id of [...(output.links ?? [])]) {
            const link = app.graph.links[id];
            canvasNode.connect(slot, app.graph.getNodeById(link.target_id), link.target_slot);
        }
    app.graph.remove(before);
    const chosen = canvasNode.widgets.find((w) => w.name === 'image');
    chosen.options.values = ['paper.png'];
    chosen.value = 'paper.png';
    chosen.callback('paper.png');
}"""
OPEN = """() => {
    app.canvas.select(node('Draw here'));
    app.extensionManager.command.execute('Comfy.MaskEditor.OpenMaskEditor');
}"""
RADIUS = (
    ".maskEditor_sidePanel input:not([type=range], [type=color], [type=checkbox])"  # of the brush: the first of them
)
VIEW = """() => {
    const ds = app.canvas.ds, box = app.canvas.canvas.getBoundingClientRect(), [x, y] = node('Draw here').pos;
    ds.scale = 0.62;
    ds.offset = [(100 - box.left) / ds.scale - x, (150 - box.top) / ds.scale - y];
    app.canvas.setDirty(true, true);
}"""


def draw_by_hand(editor: Editor) -> None:
    """An apple, with the mouse, in the mask editor of the node `Draw here`; saved there."""
    editor.until("() => node('Draw here').imgs?.[0]?.naturalWidth")
    editor.js(OPEN)
    paper = editor.page.locator("#maskEditorCanvasContainer canvas").first
    paper.wait_for()
    editor.page.wait_for_timeout(3000)  # it fits the picture into the window
    box = editor.steady("(element) => element.getBoundingClientRect().toJSON()", paper.element_handle())
    editor.page.locator(RADIUS).first.fill(str(round(PEN * PAPER / 2)))
    editor.page.keyboard.press("Tab")
    mouse = editor.page.mouse
    for stroke in apple():
        points = [(box["x"] + x * box["width"], box["y"] + y * box["height"]) for x, y in stroke]
        mouse.move(*points[0])
        mouse.down()
        for point in points[1:]:
            mouse.move(*point, steps=3)
        mouse.up()
    editor.shot("mask_editor")
    editor.page.get_by_role("button", name="Save", exact=True).first.click()
    editor.until("() => node('Draw here').widgets.find((w) => w.name === 'image').value.includes('clipspace')")


def photograph(folder: Path, address: str, browser) -> Path:
    """The graph with the sketch and what was drawn of it: a PNG."""
    editor = Editor(browser.new_context(viewport=SIZE).new_page(), address, folder)
    editor.open()
    editor.template(GRAPH)
    editor.js(PUT_IN_PLACE, PAPER)
    draw_by_hand(editor)
    with editor.run(timeout=600) as heard:
        pass
    if heard.ended != "execution_success":
        raise ChildProcessError(f"{GRAPH} ended with {heard.ended}")
    editor.js(VIEW)
    editor.page.wait_for_timeout(8000)  # its note that the job is done goes
    editor.shot("editor")
    return folder / "editor.png"


def main() -> None:
    with tempfile.TemporaryDirectory() as temporary, sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=find_chromium(), args=FLAGS)
        with serving(Path(temporary), None) as address:
            picture = Image.open(photograph(Path(temporary), address, browser)).convert("RGB")
        browser.close()
        picture.save(ROOT / "docs" / "sketch.jpg", quality=85, optimize=True)


if __name__ == "__main__":
    main()
