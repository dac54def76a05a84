"""Do the newest editor and `imagen run` read the same out of what people have saved, however old, odd or damaged?"""

import json

import pytest
from saved_graphs import CASES

from imagen_host.graphs.workflow import workflow_to_prompt

ASK = """async (graph) => {
    await app.loadGraphData(graph, true, false, app.extensionManager.workflow.activeWorkflow);
    return JSON.stringify((await app.graphToPrompt()).output);
}"""


@pytest.fixture(scope="module")
def version():
    """The floor's editor knows no promoted widgets on instances, repairs no links, and leaves group nodes closed."""
    return "newest"


@pytest.fixture(scope="module")
def object_info(editor):
    return editor.js("async () => (await fetch('/object_info')).json()")


@pytest.mark.filterwarnings("ignore:node .* names link")
def test_each_graph_gives_the_editors_prompt(editor, object_info):
    wrong = {}
    for name, graph in CASES.items():
        theirs, ours = json.loads(editor.js(ASK, graph)), workflow_to_prompt(graph, object_info)
        if theirs != ours:
            wrong[name] = {
                key: (theirs.get(key), ours.get(key)) for key in {*theirs, *ours} if theirs.get(key) != ours.get(key)
            }
    assert wrong == {}
    assert len(CASES) > 60
