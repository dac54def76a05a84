"""A Chromium, a server for each module and editor version, and a page in it that may not leave this machine."""

import os
import re
import shutil
import subprocess
import sys
from contextlib import contextmanager
from importlib.util import find_spec
from pathlib import Path

import pytest

HERE = Path(__file__).parent
ROOT = HERE.parents[1]
sys.path.insert(0, str(HERE))
FLAGS = [
    *("--no-sandbox", "--disable-gpu", "--disable-quic", "--no-first-run", "--disable-background-networking"),
    *("--disable-component-update", "--disable-sync"),
]
FRONTENDS = {
    "floor": Path(os.environ.get("EDITOR_FLOOR") or Path(sys.prefix) / "editor-floor"),
    "newest": None,  # the one that is installed
}


def pytest_collection_modifyitems(items):
    """A page on a slow machine takes minutes, and may lose a click: such a test is run once more, and shown as R."""
    for item in items:
        if HERE in item.path.parents:
            item.add_marker(pytest.mark.timeout(900))
            item.add_marker(pytest.mark.flaky(reruns=1, only_rerun=["TimeoutError"]))


@pytest.fixture(autouse=True)
def second_try(request):
    """What the first try left open is closed."""
    if getattr(request.node, "execution_count", 1) > 1:
        request.getfixturevalue("editor").close_dialogs()


def lacking(what):
    """Skip; in CI, where everything has to be there, fail."""
    (pytest.fail if os.environ.get("CI") else pytest.skip)(what)


def find_chromium():
    """The fastest there is: the first has no windows."""
    names = (os.environ.get("CHROMIUM"), "chromium-headless-shell", "chromium", "chromium-browser", "google-chrome")
    return next((path for name in names if name and (path := shutil.which(name))), None)


@pytest.fixture(scope="module")  # while Playwright runs, no test of this process can start an event loop of its own
def browser():
    path = find_chromium()
    if path is None:
        lacking(
            "no Chromium: install it (Debian: apt-get install chromium-headless-shell), or set CHROMIUM to its binary"
        )
    if find_spec("playwright") is None:
        lacking("no playwright: pip install -e '.[test]'")
    from playwright.sync_api import sync_playwright

    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=path, args=FLAGS)
        yield browser
        browser.close()


@contextmanager
def serving(folder, frontend):
    """`imagen serve` in an empty folder; gives its address."""
    command = [sys.executable, "-m", "imagen_host", "serve", "--no-open", "--port", "0"]
    command += ["--frontend", str(frontend)] if frontend else []
    environment = {**os.environ, "PYTHONPATH": str(ROOT), "OMP_NUM_THREADS": "1"}
    log = folder / "server.log"
    with open(log, "w") as output:
        process = subprocess.Popen(
            command, cwd=folder, env=environment, stdout=subprocess.PIPE, stderr=output, text=True
        )
    try:
        found = None
        while found is None and (line := process.stdout.readline()):
            found = re.search(r"http://[\d.:]+", line)
        assert found, f"the server did not start:\n{log.read_text()}"
        yield found[0]
    finally:
        process.terminate()
        process.wait(timeout=20)
        process.stdout.close()


@pytest.fixture(scope="module", params=list(FRONTENDS))
def version(request):
    """Which of the two editors a test is about."""
    return request.param


@pytest.fixture(scope="module")
def folder(tmp_path_factory, version):
    """Where the server runs: its input, output and user folders are below."""
    return tmp_path_factory.mktemp(version)


@pytest.fixture(scope="module")
def keep_templates():
    """Whether a module begins with the templates that a first visit shows."""
    return False


@pytest.fixture(scope="module")
def described():
    """What the editor is told the nodes are, where a module wants others than the server's."""
    return None


@pytest.fixture(scope="module")
def editor(browser, version, folder, keep_templates, described):
    """The editor, opened once for a module; a request that would leave the machine fails the module's last test."""
    from editor_page import Editor

    frontend = FRONTENDS[version]
    if frontend is not None and not frontend.is_dir():
        lacking(f"no editor in {frontend}: pip install --no-deps --target {frontend} comfyui-frontend-package==1.27.10")
    if frontend is None and find_spec("comfyui_frontend_package") is None:
        lacking("no editor: pip install -e '.[editor]'")
    shots = Path(os.environ.get("EDITOR_SCREENSHOTS") or HERE / "screenshots") / version
    shots.mkdir(parents=True, exist_ok=True)
    with serving(folder, frontend) as address:
        context = browser.new_context(viewport={"width": 1600, "height": 1000}, accept_downloads=True)
        editor = Editor(context.new_page(), address, shots)
        if described is not None:
            editor.page.route("**/object_info", lambda route: route.fulfill(json=described))
        editor.open(keep_templates)
        yield editor
        editor.page.context.close()
        assert editor.foreign == [], "requests to other machines"
