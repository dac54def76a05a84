"""How does a sketch become a picture? `python tests/editor/sketch_picture.py` writes docs/sketch.jpg; needs a Chromium.

As a person does it: Load Image takes the example's place, its mask editor is opened, an apple is drawn with the mouse, and
the graph is run.
"""

import re
import sys
from pathlib import Path

HERE = Path(__file__).parent
sys.path[:0] = [str(HERE), str(HERE.parents[1]), str(HERE.parents[1] / "workflows")]

from conftest import ROOT  # noqa: E402
from editor_page import Editor  # noqa: E402
from examples import PEN, apple  # noqa: E402
from picture import from_seed_1, photograph  # noqa: E402

GRAPH = "sketch_to_picture"
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
    window.room = [before.size[0], 300];
    for (const [slot, output] of before.outputs.entries())
        for (const id of [...(output.links ?? [])]) {
            const link = app.graph.links[id];
            canvasNode.connect(slot, app.graph.getNodeById(link.target_id), link.target_slot);
        }
    app.graph.remove(before);
    app.graph.remove(node('What you begin with'));  // the paper: what is drawn is its mask
    const chosen = canvasNode.widgets.find((w) => w.name === 'image');
    chosen.options.values = ['paper.png'];
    chosen.value = 'paper.png';
    chosen.callback('paper.png');
}"""
OPEN = """() => {
    app.canvas.select(node('Draw here'));
    app.extensionManager.command.execute('Comfy.MaskEditor.OpenMaskEditor');
}"""
SAVE = re.compile(r"^\s*Save\s*$")
RADIUS = (
    ".maskEditor_sidePanel input:not([type=range], [type=color], [type=checkbox])"  # of the brush: the first of them
)
VIEW = """() => {
    node('Draw here').setSize(window.room);
    app.canvas.deselectAll();
    const ds = app.canvas.ds, box = app.canvas.canvas.getBoundingClientRect(), [x, y] = app.graph.nodes[0].pos;
    ds.scale = 0.6;
    ds.offset = [(90 - box.left) / ds.scale - x, (150 - box.top) / ds.scale - y];
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
    editor.page.locator("button", has_text=SAVE).last.click()  # the mask editor's; below it lies the menu's own
    editor.until("() => node('Draw here').widgets.find((w) => w.name === 'image').value.includes('clipspace')")


def sketched(editor: Editor) -> None:
    """Paper takes the example's place, and an apple is drawn on it."""
    from_seed_1(editor)
    editor.js(PUT_IN_PLACE, PAPER)
    draw_by_hand(editor)


if __name__ == "__main__":
    photograph(GRAPH, sketched, VIEW, ROOT / "docs" / "sketch.jpg")
