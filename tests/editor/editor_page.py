"""The editor as a user has it: a page with a canvas, moved by mouse and keys; scripts only look, or prepare a graph."""

import base64
import re
import time
from contextlib import contextmanager, suppress

from playwright.sync_api import TimeoutError as NotInTime

PATIENCE = (10, 30, 60)  # seconds for the first try of what a slow machine may lose, and for each one after it
ENDS = ("execution_success", "execution_error", "execution_interrupted")
HELPERS = """
window.heard = [];
for (const kind of ['execution_start', 'executing', 'progress', 'progress_state', 'executed', 'execution_success',
                    'execution_error', 'execution_interrupted', 'b_preview', 'b_preview_with_metadata'])
  app.api.addEventListener(kind, (event) => heard.push([kind, event.detail instanceof Blob ? null : event.detail]));
window.focused = () => document.activeElement;
window.hits = () => {
  const list = document.getElementById(focused().getAttribute('aria-controls'));
  return list && [...list.querySelectorAll('[role=option]')].map((option) => option.innerText);
};
window.node = (what) => app.graph.nodes.find((n) => n.id == what || n.title === what || n.type === what);
window.onPage = ([x, y]) => {
  const box = app.canvas.canvas.getBoundingClientRect(), ds = app.canvas.ds;
  return [box.left + (x + ds.offset[0]) * ds.scale, box.top + (y + ds.offset[1]) * ds.scale];
};
window.slotAt = (n, input, slot) => onPage(n.getConnectionPos(input, slot));
window.widgetAt = (n, name) => {
  const w = n.widgets.find((w) => w.name === name);
  return onPage([n.pos[0] + n.size[0] / 2, n.pos[1] + (w.last_y ?? w.y) + 10]);
};
"""


class Editor:
    """One page. `heard` are the server's messages, `foreign` the addresses of other machines that it asked."""

    def __init__(self, page, address, shots):
        self.address, self.shots = address, shots
        self.foreign, self.failed, self.patience = [], [], PATIENCE[-1]
        self.attach(page)

    def attach(self, page):
        """Use `page` from now on, of a browser that was never here."""
        self.page, self.first_visit, address = page, True, self.address
        page.set_default_timeout(200_000)  # a busy machine takes long to open the editor
        own = (address, address.replace("http", "ws"), "data:", "blob:", "about:")
        left = lambda request: not (request.url.startswith(own) or (request.failure or "").endswith("csp"))
        page.on("requestfinished", lambda request: left(request) and self.foreign.append(request.url))
        page.on("requestfailed", lambda request: left(request) and self.foreign.append(request.url))
        page.on("websocket", lambda socket: socket.url.startswith(own) or self.foreign.append(socket.url))
        page.on("response", lambda answer: answer.status >= 400 and self.failed.append((answer.status, answer.url)))
        page.on("dialog", lambda dialog: dialog.accept())

    def open(self, keep_templates=False):
        """Load the page anew and wait until the editor can be used.

        Whoever was never here is shown the templates, which a slow machine opens long after the canvas, over whatever is
        being typed by then: so they are waited for, and closed unless a test is about them.
        """
        self.page.goto(self.address)
        self.page.wait_for_function("window.app?.graph && app.extensionManager && document.querySelector('canvas')")
        self.page.wait_for_function("Object.keys(LiteGraph.registered_node_types).includes('SaveImage')")
        self.page.evaluate(f"() => {{{HELPERS}}}")
        if self.first_visit:
            self.page.locator("[role=dialog]:visible").first.wait_for()
        self.first_visit = False
        if not keep_templates:
            self.close_dialogs()

    def another_browser(self, keep_templates=False):
        """Close the page and open the editor where nothing is remembered of earlier visits."""
        before = self.page.context
        self.attach(before.browser.new_context(viewport={"width": 1600, "height": 1000}).new_page())
        before.close()
        self.open(keep_templates)

    def shot(self, name):
        """Keep a picture of the page among the test's artifacts."""
        self.page.screenshot(path=self.shots / f"{name}.png")

    def js(self, script, *arguments):
        """The value of an expression, or of a function called with one argument."""
        return self.page.evaluate(script, *arguments)

    def until(self, script, argument=None, timeout=None):
        self.page.wait_for_function(script, arg=argument, timeout=(timeout or self.patience) * 1000)

    def again_until(self, act, script, argument=None):
        """Do `act` until the page is as `script` asks; what stands open after a try in vain is closed before the next."""
        try:
            for self.patience in PATIENCE:
                with suppress(NotInTime):
                    act()
                    return self.until(script, argument)
                self.shot("in_vain")
                self.close_dialogs()
        finally:
            self.patience = PATIENCE[-1]
        raise NotInTime(f"not even the third time: {script}")

    def steady(self, script, argument=None, pause=300):
        """The value of `script` once two looks, `pause` milliseconds apart, find the same."""
        before, now = object(), self.js(script, argument)
        while before != now:
            self.page.wait_for_timeout(pause)
            before, now = now, self.js(script, argument)
        return now

    def wait_for(self, condition, timeout=60):
        """Wait for something outside of the page."""
        end = time.monotonic() + timeout
        while not condition():
            assert time.monotonic() < end, "it did not happen"
            self.page.wait_for_timeout(50)

    def template(self, name):
        """Load a shipped workflow as a new tab and wait until its widgets are drawn."""
        script = """async (name) => {
            const [pack] = Object.keys(await (await fetch('/workflow_templates')).json());
            const graph = await (await fetch(`/api/workflow_templates/${pack}/${name}.json`)).json();
            await app.loadGraphData(graph, true, true, name);
            return graph.nodes.length;
        }"""
        count = self.js(script, name)
        self.page.keyboard.press("Escape")
        self.until("(count) => app.graph.nodes.length === count", count)
        self.drawn()

    def drawn(self):
        """Wait until every widget has been drawn where it is now."""
        self.js("() => app.canvas.setDirty(true, true)")
        self.until(
            "() => app.graph.nodes.every((n) => (n.widgets ?? []).every((w) => w.hidden || (w.last_y ?? w.y) != null))"
        )
        self.page.wait_for_timeout(300)

    def close_dialogs(self):
        """Press Escape until no dialog and no search box is open any more."""
        opened = self.page.locator("[role=dialog]:visible, [role=search]:visible, input[role=combobox]:focus")
        self.page.keyboard.press("Escape")
        end = time.monotonic() + sum(PATIENCE)
        while opened.count():
            assert time.monotonic() < end, "a dialog stays open"
            self.page.wait_for_timeout(250)
            self.page.keyboard.press("Escape")

    def blank(self):
        """An empty canvas at full size, without dialogs."""
        self.close_dialogs()
        script = "() => { app.graph.clear(); app.canvas.ds.scale = 1; app.canvas.ds.offset = [0, 0]; "
        self.js(script + "app.canvas.setDirty(true, true); }")
        self.page.wait_for_timeout(300)

    def node(self, title, script):
        return self.js(f"(title) => {{ const n = node(title); return {script}; }}", title)

    def set_widget(self, title, name, value):
        """Set a widget by script, where a test is not about the mouse."""
        self.js(
            "([t, name, value]) => { node(t).widgets.find((w) => w.name === name).value = value; }",
            [title, name, value],
        )

    def widget_at(self, title, name):
        return self.js("([t, name]) => widgetAt(node(t), name)", [title, name])

    def read_tooltip(self, title, name, text):
        """Rest the mouse on a widget until its tooltip shows, which begins with `text`."""

        def hover():
            x, y = self.widget_at(title, name)
            self.page.mouse.move(x - 60, y + 200)
            self.page.mouse.move(x - 30, y, steps=3)
            self.page.mouse.move(x - 20, y, steps=3)

        self.again_until(hover, "(text) => document.body.innerText.includes(text)", text)

    def click_widget(self, title, name):
        self.page.mouse.click(*self.widget_at(title, name))

    def write(self, title, name, text):
        """Click into a text widget and type."""

        def click_and_type():
            x, y = self.widget_at(title, name)
            self.page.mouse.click(x, y + 10)
            self.until("() => focused().tagName === 'TEXTAREA'")
            self.page.keyboard.press("Control+a")
            self.page.keyboard.insert_text(text)

        written = "([title, name, text]) => node(title).widgets.find((w) => w.name === name).value === text"
        self.again_until(click_and_type, written, [title, name, text])
        self.js("() => focused().blur()")

    def drag(self, start, end):
        self.page.mouse.move(*start)
        self.page.mouse.down()
        self.page.mouse.move((start[0] + end[0]) / 2, (start[1] + end[1]) / 2, steps=5)
        self.page.mouse.move(*end, steps=5)
        self.page.wait_for_timeout(100)
        self.page.mouse.up()
        self.page.wait_for_timeout(200)

    def add_by_search(self, text, at):
        """Double-click on the canvas, type, Enter; returns the class of the node that appeared."""
        before = self.js("() => app.graph.nodes.length")

        def search():
            self.page.mouse.dblclick(*at)
            self.until("() => focused().matches('input[role=combobox]') && hits()?.length")
            unasked = self.js("() => hits()")
            self.page.keyboard.press("Control+a")
            self.page.keyboard.type(text, delay=10)
            self.until("(text) => focused().value === text", text)
            changed = "(unasked) => hits()?.length && JSON.stringify(hits()) !== JSON.stringify(unasked)"
            self.until(changed, unasked)  # the list follows the typing after a while
            self.steady("() => hits()", pause=500)
            self.shot(f"search_{text}")
            self.page.keyboard.press("Enter")

        self.again_until(search, "(count) => app.graph.nodes.length === count + 1", before)
        self.page.mouse.click(*at)  # the newest editor lets the node hang at the mouse until then
        return self.js("() => app.graph.nodes.at(-1).type")

    def save_as(self, name):
        """Ctrl+S, the name, Enter."""
        self.js("() => focused().blur()")
        box = ".p-dialog input, [role=dialog] input"
        self.again_until(lambda: self.page.keyboard.press("Control+s"), "(box) => document.querySelector(box)", box)
        self.page.locator(box).first.fill(name)
        self.page.locator(box).first.press("Enter")

    def open_saved(self, name):
        """The side bar's list of workflows, a click on one; the side bar is closed again."""
        entries = self.page.get_by_text(re.compile(rf"^{re.escape(name)}(\.json)?$"))
        inside = lambda box: box and box["x"] < 350 and box["y"] > 100
        find = lambda: next(filter(inside, [entry.bounding_box() for entry in entries.all()]), None)
        self.page.keyboard.press("w")
        self.wait_for(find)
        box = find()
        self.page.mouse.click(box["x"] + 5, box["y"] + box["height"] / 2)
        self.page.wait_for_timeout(500)
        self.page.keyboard.press("w")

    def drop_file(self, name, kind, data):
        """A file dropped on the canvas, as the browser reports it."""
        script = """([name, kind, bytes]) => {
            const data = new DataTransfer();
            data.items.add(new File([Uint8Array.from(atob(bytes), (c) => c.charCodeAt(0))], name, {type: kind}));
            const options = {dataTransfer: data, bubbles: true, cancelable: true, clientX: 800, clientY: 500};
            for (const event of ['dragenter', 'dragover', 'drop'])
                app.canvas.canvas.dispatchEvent(new DragEvent(event, options));
        }"""
        self.js(script, [name, kind, base64.b64encode(data).decode()])

    def pictures(self, title):
        """Widths of the pictures that a node shows."""
        self.until(
            "(title) => node(title).imgs?.length && node(title).imgs.every((picture) => picture.naturalWidth)", title
        )
        return self.node(title, "n.imgs.map((picture) => picture.naturalWidth)")

    def cancel_last_queued(self, version):
        """Open the list of jobs, cancel the one that was queued last from its menu, close the list."""
        toggle = self.page.get_by_test_id("queue-overlay-toggle")
        show = (lambda: self.page.keyboard.press("q")) if version == "floor" else toggle.click
        show()
        cancel = self.page.get_by_text(re.compile("^(Delete|Cancel( job)?)$")).last
        for patience in PATIENCE:
            self.open_menu_of_last_queued(version)
            with suppress(NotInTime):
                cancel.wait_for(timeout=patience * 1000)
                break
        self.shot("queue")
        cancel.click()
        show()

    def open_menu_of_last_queued(self, version):
        """Right click on the first entry of the list of jobs, which is the newest."""
        if version == "floor":
            return self.page.get_by_text("Pending", exact=True).first.click(button="right")
        self.page.get_by_text("1 running, 2 queued").first.wait_for()
        heading = self.page.get_by_text("Today", exact=True).first
        box = self.steady("(element) => element.getBoundingClientRect().toJSON()", heading.element_handle(), pause=500)
        self.page.mouse.click(box["x"] + 60, box["y"] + 45, button="right")

    def press_run(self):
        self.page.get_by_role("button", name="Run", exact=True).first.click()

    @contextmanager
    def run(self, timeout=120):
        """Press Run, do what is inside, wait for the end; gives what was heard."""
        self.js("() => { heard.length = 0; }")
        heard = Heard()
        self.press_run()
        yield heard
        self.until("(ends) => heard.some(([kind]) => ends.includes(kind))", list(ENDS), timeout)
        heard.all = self.js("() => heard.map(([kind, data]) => [kind, data && {...data, blob: null}])")


class Heard:
    """Messages of the server during one run, as (type, data)."""

    all = ()

    def of(self, kind):
        return [data for found, data in self.all if found == kind]

    @property
    def ended(self):
        return next(kind for kind, _ in self.all if kind in ENDS)
