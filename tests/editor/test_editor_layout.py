"""Do the shipped graphs keep their nodes apart and in their groups, pictures of a run in them, however they are drawn?"""

import importlib
import json
import sys
from pathlib import Path

import pytest
from PIL import Image

ROOT = Path(__file__).resolve().parents[2]
NAMES = sorted(path.stem for path in (ROOT / "workflows").glob("*.json"))
APART = 40  # units below and beside every node: frames, badges, a longer language
GROUP_TITLE = 30
# Of a node: as the canvas has it, or what its elements cover, but for the dots of its sockets.
BOXES = """() => {
    const c = app.canvas.canvas.getBoundingClientRect(), {scale, offset} = app.canvas.ds;
    const covered = (element) => {
        const seen = [element, ...element.querySelectorAll('*')].filter((e) => {
            const style = getComputedStyle(e);
            return style.opacity !== '0' && style.visibility !== 'hidden' && !e.closest('[class*=slot]');
        }).map((e) => e.getBoundingClientRect()).filter((r) => r.width && r.height);
        const edge = (pick, key) => pick(...seen.map((r) => r[key]));
        const [left, top] = [edge(Math.min, 'left') - c.left, edge(Math.min, 'top') - c.top];
        const [right, bottom] = [edge(Math.max, 'right') - c.left, edge(Math.max, 'bottom') - c.top];
        return [left / scale - offset[0], top / scale - offset[1], right / scale - offset[0], bottom / scale - offset[1]];
    };
    const box = (n) => {
        const element = document.querySelector(`[data-node-id="${n.id}"]`);
        const [x, y, w, h] = [...n.pos, ...n.size];
        return element ? covered(element) : [x, y - LiteGraph.NODE_TITLE_HEIGHT, x + w, y + h];
    };
    const cut = [...document.querySelectorAll('textarea')].filter((t) => t.scrollHeight > t.clientHeight + 3 && t.value);
    return {
        nodes: app.graph.nodes.map((n) => [n.title, ...box(n)]),
        groups: app.graph.groups.map((g) => [g.title, g.pos[0], g.pos[1], g.pos[0] + g.size[0], g.pos[1] + g.size[1]]),
        cut: cut.map((t) => t.value),
    };
}"""
# What the editor hears during a run: a preview from every node that takes steps, a picture from every one that shows it.
RUN = """async () => {
    const blob = await (await fetch('/api/view?filename=square.png&type=input')).blob();
    for (const n of app.graph.nodes) {
        const id = String(n.id), ids = {nodeId: id, displayNodeId: id, realNodeId: id, parentNodeId: id};
        const images = [{filename: 'square.png', subfolder: '', type: 'input'}];
        if (n.widgets?.some((w) => w.name === 'steps'))
            app.api.dispatchCustomEvent('b_preview_with_metadata', {blob, ...ids, promptId: 'a', jobId: 'a'});
        if (['SaveImage', 'PreviewImage'].includes(n.type))
            app.api.dispatchCustomEvent('executed', {node: id, display_node: id, prompt_id: 'a', output: {images}});
    }
}"""


@pytest.fixture(scope="module")
def described(folder):
    """Also the nodes of ComfyUI's own that our graphs use, as both hosts describe them; and a picture for all to show."""
    sys.path.insert(0, str(ROOT / "workflows"))
    known = importlib.import_module("build").object_info()
    blank = {"description": "", "python_module": "nodes", "category": "", "output_node": False}
    for name, info in known.items():
        known[name] = {**blank, "display_name": name, "output_is_list": [False] * len(info["output"]), **info}
    (folder / "input").mkdir(exist_ok=True)
    Image.new("RGB", (512, 512), "orange").save(folder / "input" / "square.png")
    return known


def faults(boxes):
    """What lies too near another node, or outside of every group."""
    nodes, found = boxes["nodes"], [f"the text {text[:30]!r} is cut off" for text in boxes["cut"]]
    for i, (title, left, top, right, bottom) in enumerate(nodes):
        for other, x, y, u, v in nodes[:i] + nodes[i + 1 :]:
            if left < u and x < right + APART and top < v and y < bottom + APART:
                found.append(f"{other} is {x - right:.0f} right of and {y - bottom:.0f} below {title}")
        framed = (
            x <= left and y + GROUP_TITLE <= top and right <= u and bottom <= v for _, x, y, u, v in boxes["groups"]
        )
        if not any(framed):
            found.append(f"{title} is outside of its group")
    return found


@pytest.mark.parametrize("nodes_2", [False, True], ids=["classic", "nodes_2"])
def test_nodes_stay_apart_and_in_their_groups(editor, version, nodes_2):
    if nodes_2 and version == "floor":
        pytest.skip("Nodes 2.0 came later")
    setting = "async (on) => app.extensionManager.setting.set('Comfy.VueNodes.Enabled', on)"
    editor.js(setting, nodes_2)
    found = []
    for name in NAMES:
        graph = json.loads((ROOT / "workflows" / f"{name}.json").read_text(encoding="utf-8"))
        editor.page.keyboard.press("Escape")
        editor.js("([graph, name]) => app.loadGraphData(graph, true, true, name)", [graph, name])
        editor.page.keyboard.press("Escape")
        editor.until("(count) => app.graph.nodes.length === count", len(graph["nodes"]))
        editor.js(RUN)  # nodes only grow by it
        wrong = [f"{name}: {fault}" for fault in faults(editor.steady(BOXES, pause=400))]
        if wrong:
            editor.shot(f"{'nodes_2' if nodes_2 else 'classic'}_{name}_run")
        found += wrong
    if nodes_2:
        editor.js(setting, False)
    assert found == [], "\n".join(found)
