"""Does the server refuse foreign pages, unknown names, and every path that would lead out of its folders?"""

import json
import os
from urllib.parse import quote

import pytest
from PIL import Image
from server_client import running

from imagen_host.server.security import hostname, inside, served_type, warning_for

OUT = (
    "../secret.txt", "a/../../secret.txt", "/etc/passwd", "//etc/passwd", "..\\secret.txt", "a\\..\\..\\secret.txt",
    "C:/secret.txt", "C:\\secret.txt", "secret.txt\0.png", "\0", "..", ".", "a//b", "a/./b", "~/../x", "x" * 300,
    "link/secret.txt", "link", "loop", "\x1b[31m", "%2e%2e/secret.txt/../../../secret.txt",
)  # fmt: skip


@pytest.fixture
def lure(server, tmp_path):
    """A file outside of every folder, links to it and to themselves inside of each."""
    (tmp_path / "secret.txt").write_text("secret")
    (tmp_path / "outside").mkdir()
    (tmp_path / "outside" / "secret.txt").write_text("secret")
    host = server["host"]
    for root in (host.input_directories[0], host.output_directory, host.temp_directory, server["user_directory"]):
        root.mkdir(parents=True, exist_ok=True)
        (root / "link").symlink_to(tmp_path / "outside")
        (root / "secret.png").symlink_to(tmp_path / "secret.txt")
        (root / "loop").symlink_to(root / "loop")
    return server


@pytest.mark.parametrize("name", OUT)
def test_inside_refuses(name, tmp_path):
    (tmp_path / "outside").mkdir()
    root = tmp_path / "root"
    root.mkdir()
    (root / "link").symlink_to(tmp_path / "outside")
    (root / "loop").symlink_to(root / "loop")
    with pytest.raises(Exception, match="Bad Request"):
        inside(root, name)


def test_inside_accepts_plain_names_also_under_a_linked_root(tmp_path):
    (tmp_path / "real").mkdir()
    (tmp_path / "root").symlink_to(tmp_path / "real")
    assert inside(tmp_path / "root", "a/größe 1.png") == (tmp_path / "real" / "a" / "größe 1.png").resolve()


@pytest.mark.parametrize("kind", ["input", "output", "temp"])
async def test_view_never_leads_out(lure, kind):
    async with running(lure) as site:
        for name in (*OUT, "secret.png"):
            for query in (f"filename={quote(name, safe='')}", f"filename=secret.txt&subfolder={quote(name, safe='')}"):
                async with site.http.get(f"/view?type={kind}&{query}") as answer:
                    assert 400 <= answer.status < 500, (name, query)
                    assert "secret\n" not in await answer.text() and await answer.text() != "secret"


async def test_saved_files_never_lead_out(lure, tmp_path):
    async with running(lure) as site:
        for name in (*OUT, "secret.png"):
            path = f"/api/userdata/{quote(name, safe='')}"
            for method in ("GET", "POST", "DELETE"):
                async with site.http.request(method, path, data=b"changed") as answer:
                    assert 400 <= answer.status < 500, (method, name)
            await site.post("/userdata/plain.json", b"{}")
            async with site.http.post(f"/userdata/plain.json/move/{quote(name, safe='')}") as answer:
                assert 400 <= answer.status < 500, name
            async with site.http.get(f"/userdata?dir={quote(name, safe='')}") as answer:
                assert 400 <= answer.status < 500, name
    assert (tmp_path / "secret.txt").read_text() == "secret"
    assert os.listdir(tmp_path / "outside") == ["secret.txt"]


async def test_the_editors_own_files_never_lead_out(lure):
    async with running(lure) as site:
        for path in ("/..%2fsecret.txt", "/%2e%2e/secret.txt", "/..%5csecret.txt", "/assets/..%2f..%2fsecret.txt"):
            async with site.http.get(path) as answer:
                assert 400 <= answer.status < 500, path


STRANGERS = ("evil.example", "evil.example:8188", "127.0.0.1.evil.example", "", "a@127.0.0.1", "[::1", "x:y")


@pytest.mark.parametrize("name", STRANGERS)
async def test_unknown_hosts_are_refused(server, name):
    async with running(server) as site, site.http.get("/users", headers={"Host": name}) as answer:
        assert answer.status in (400, 403)  # 400: aiohttp's own, for what is no Host


@pytest.mark.parametrize("name", ["localhost:1", "127.0.0.1", "[::1]:8188", "192.168.0.7:8188", "LOCALHOST"])
async def test_names_of_this_machine_and_addresses_are_answered(server, name):
    async with running(server) as site, site.http.get("/users", headers={"Host": name}) as answer:
        assert answer.status == 200


@pytest.mark.parametrize(
    "headers",
    [
        {"Origin": "https://evil.example"},
        {"Origin": "http://127.0.0.1:1"},
        {"Origin": "null"},
        {"Origin": "file://"},
        {"Origin": "http://[::1"},
        {"Sec-Fetch-Site": "cross-site", "Sec-Fetch-Mode": "no-cors"},
    ],
)
async def test_foreign_pages_are_refused(server, headers):
    async with running(server) as site:
        for method, path in (("POST", "/prompt"), ("POST", "/upload/image"), ("GET", "/object_info"), ("GET", "/ws")):
            async with site.http.request(method, path, headers=headers) as answer:
                assert answer.status == 403, path
        assert await site.get("/users")


PRIVATE = (
    "/view?filename=x.png", "/history", "/history/x", "/queue", "/jobs", "/jobs/x", "/userdata?dir=", "/userdata/a.json",
    "/settings", "/settings/a", "/ws", "/prompt", "/object_info", "/object_info/LoadImage", "/system_stats",
)  # fmt: skip


async def test_a_page_of_another_port_sees_nothing_of_a_persons(server):
    """Browsers call it the same site, and send no Origin for pictures, scripts and frames."""
    (server["user_directory"]).mkdir(parents=True)
    (server["user_directory"] / "a.json").write_text("{}")
    loads = [{"Sec-Fetch-Mode": mode, "Sec-Fetch-Dest": dest} for mode, dest in (
        ("no-cors", "image"), ("no-cors", "script"), ("cors", "empty"), ("websocket", "websocket"),
        ("navigate", "iframe"), ("navigate", "document"), ("navigate", "embed"))]  # fmt: skip
    async with running(server) as site:
        for path in (*PRIVATE, *(f"/api{path}" for path in PRIVATE)):
            for load in loads:
                for where in ("same-site", "cross-site", "nonsense"):
                    async with site.http.get(path, headers={"Sec-Fetch-Site": where, **load}) as answer:
                        assert answer.status == 403 and "error" in await answer.json(), (path, load)
        for where in ("same-origin", "none"):
            async with site.http.get("/userdata/a.json", headers={"Sec-Fetch-Site": where}) as answer:
                assert answer.status == 200


async def test_a_link_to_the_editor_opens_it_but_not_in_a_frame_nor_with_a_form(server):
    link = {"Sec-Fetch-Site": "same-site", "Sec-Fetch-Mode": "navigate"}
    async with running(server) as site:
        for headers, status in (
            ({**link, "Sec-Fetch-Dest": "document"}, 200),
            (link, 200),
            ({**link, "Sec-Fetch-Dest": "iframe"}, 403),
            ({**link, "Sec-Fetch-Mode": "cors"}, 403),
        ):
            async with site.http.get("/?template=x", headers=headers) as answer:
                assert answer.status == status, headers
        async with site.http.post("/", headers=link) as answer:
            assert answer.status == 403


async def test_every_answer_says_that_other_pages_may_neither_frame_nor_show_it(server):
    async with running(server) as site:
        for path, policy in (("/", "frame-src 'self' blob:; frame-ancestors 'self'"), ("/view?filename=none.png", ""),
                             ("/queue", ""), ("/api/nothing", ""), ("/userdata?dir=none", "")):  # fmt: skip
            async with site.http.get(path) as answer:
                assert "frame-ancestors 'self'" in answer.headers["Content-Security-Policy"], path
                assert policy in answer.headers["Content-Security-Policy"]
                assert answer.headers["X-Frame-Options"] == "SAMEORIGIN"
                assert answer.headers["Cross-Origin-Resource-Policy"] == "same-origin"
                assert answer.headers["X-Content-Type-Options"] == "nosniff"


async def test_own_page_and_opened_links_are_answered(server):
    async with running(server) as site:
        own = str(site.http.make_url("/")).rstrip("/")
        opened = {"Sec-Fetch-Site": "cross-site", "Sec-Fetch-Mode": "navigate"}
        for headers in ({"Origin": own}, {"Origin": own, "Sec-Fetch-Site": "same-origin"}, opened):
            async with site.http.get("/", headers=headers) as answer:
                assert answer.status == 200


async def test_nothing_in_a_users_folder_runs_as_a_page(server):
    output = server["host"].output_directory
    output.mkdir(parents=True, exist_ok=True)
    async with running(server) as site:
        for ending in (
            "html",
            "htm",
            "xhtml",
            "js",
            "mjs",
            "svg",
            "css",
            "xml",
            "xsl",
            "pdf",
            "shtml",
            "swf",
            "wasm",
            "",
            "HTML",
        ):
            name = f"page.{ending}"
            (output / name).write_text("<script>alert(1)</script>")
            await site.post(f"/userdata/{name}", b"<script>alert(1)</script>")
            for path in (f"/view?filename={name}", f"/userdata/{name}"):
                async with site.http.get(path) as answer:
                    assert answer.content_type == "application/octet-stream", (path, answer.content_type)
                    assert answer.headers["X-Content-Type-Options"] == "nosniff"


def test_pictures_and_graphs_keep_their_types(tmp_path):
    kinds = {"a.png": "image/png", "a.jpg": "image/jpeg", "a.json": "application/json", "a.txt": "text/plain"}
    assert {name: served_type(tmp_path / name) for name in kinds} == kinds


def test_listening_elsewhere_is_said_loudly():
    assert [warning_for(address) for address in ("127.0.0.1", "127.8.8.8", "::1", "localhost")] == [None] * 4
    for address in ("0.0.0.0", "::", "192.168.0.7", "example.org", ""):
        assert "no password" in warning_for(address)


def test_hostnames():
    assert hostname("a.example:80") == "a.example" and hostname("[::1]:80") == "::1"
    assert [hostname(text) for text in ("a/b", "a@b", "a:b", "a?b", "")] == [None] * 5


async def test_settings_that_are_no_settings(server):
    async with running(server) as site:
        for body in (b"", b"[1]", b"{", b"\xff", b'"text"', b"[" * 100_000):
            await site.post("/settings", body, status=400)
        await site.post("/settings", {"a": 1})
        await site.post("/settings/b", b"[1, 2]")
        (server["user_directory"] / "comfy.settings.json").write_text(
            json.dumps({**await site.get("/settings"), "Comfy.TutorialCompleted": True})
        )
        settings = await site.get("/settings")
        assert (settings["a"], settings["b"], settings["Comfy.TutorialCompleted"]) == (1, [1, 2], False)
        (server["user_directory"] / "comfy.settings.json").write_text("{ damaged")
        assert (await site.get("/api/settings"))["Comfy.TutorialCompleted"] is False


async def test_a_picture_that_unpacks_to_gigabytes_is_not_converted(server, monkeypatch):
    output = server["host"].output_directory
    output.mkdir(parents=True, exist_ok=True)
    Image.new("1", (29_000, 3_000)).save(output / "huge.png")
    async with running(server) as site:
        for query in ("preview=webp;90", "channel=a", "channel=rgb&preview=jpeg;50"):
            async with site.http.get(f"/view?filename=huge.png&{query}") as answer:
                assert answer.status == 400 and "pixels" in await answer.text()
