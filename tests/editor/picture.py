"""What does the README show of the editor? `python tests/editor/picture.py` writes docs/editor.jpg; needs a Chromium.

The nodes wear the name of the folder: run it in a checkout that is called imagen-nodes.
"""

import sys
import tempfile
from collections.abc import Callable
from pathlib import Path

from PIL import Image
from playwright.sync_api import sync_playwright

HERE = Path(__file__).parent
sys.path[:0] = [str(HERE), str(HERE.parents[1])]

from conftest import FLAGS, ROOT, find_chromium, serving  # noqa: E402
from editor_page import Editor  # noqa: E402

GRAPH, STAGES = "text_to_image_1024", ("Base 64x64", "Super resolution 256", "Super resolution 1024")
SIZE = {"width": 1600, "height": 850}  # pixels
VIEW = """() => {
    const ds = app.canvas.ds, box = app.canvas.canvas.getBoundingClientRect(), [x, y] = app.graph.nodes[0].pos;
    ds.scale = 0.68;
    ds.offset = [(100 - box.left) / ds.scale - x, (150 - box.top) / ds.scale - y];
    app.canvas.setDirty(true, true);
}"""


def photograph(graph: str, prepare: Callable[[Editor], None], view: str, out: Path) -> None:
    """Write a JPEG of a template that was opened, prepared and run, as `view` (JavaScript) turns the canvas."""
    with tempfile.TemporaryDirectory() as temporary, sync_playwright() as playwright:
        folder, browser = Path(temporary), playwright.chromium.launch(executable_path=find_chromium(), args=FLAGS)
        with serving(folder, None) as address:
            editor = Editor(browser.new_context(viewport=SIZE).new_page(), address, folder)
            editor.open()
            editor.template(graph)
            prepare(editor)
            with editor.run(timeout=600) as heard:
                pass
            if heard.ended != "execution_success":
                raise ChildProcessError(f"{graph} ended with {heard.ended}")
            editor.js(view)
            editor.page.wait_for_timeout(8000)  # its note that the job is done goes
            editor.shot("editor")
            Image.open(folder / "editor.png").convert("RGB").save(out, quality=85, optimize=True)
        browser.close()


def from_seed_1(editor: Editor) -> None:
    """Every stage draws from seed 1."""
    for stage in STAGES:
        editor.set_widget(stage, "seed", 1)
        editor.set_widget(stage, "control_after_generate", "fixed")


if __name__ == "__main__":
    photograph(GRAPH, from_seed_1, VIEW, ROOT / "docs" / "editor.jpg")
