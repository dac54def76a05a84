"""Do pictures, uploads and saved files travel between editor and disk unchanged, and do wrong uploads leave nothing?"""

import io
import json
import struct
from urllib.parse import quote

import numpy as np
import picture_samples as samples
import pytest
from aiohttp import FormData
from PIL import Image
from server_client import running


def png(color="red", size=(6, 4), mode="RGB"):
    file = io.BytesIO()
    Image.new(mode, size, color).save(file, "PNG")
    return file.getvalue()


def form(data, filename="x.png", **fields):
    body = FormData(quote_fields=False)  # names as browsers send them
    body.add_field("image", data, filename=filename)
    for name, value in fields.items():
        body.add_field(name, value)
    return body


async def upload(site, data, status=200, path="/upload/image", **fields):
    async with site.http.post(path, data=form(data, **fields)) as answer:
        assert answer.status == status, await answer.text()
        return await answer.json() if status == 200 else await answer.text()


def files(folder):
    return sorted(path.relative_to(folder).as_posix() for path in folder.rglob("*") if path.is_file())


@pytest.fixture
def folder(server):
    folder = server["host"].input_directories[0]
    folder.mkdir(parents=True, exist_ok=True)
    for path in folder.iterdir():
        path.unlink()
    return folder


async def test_an_upload_is_kept_byte_for_byte_and_seen(server, folder):
    async with running(server) as site:
        assert await upload(site, png()) == {"name": "x.png", "subfolder": "", "type": "input"}
        assert (folder / "x.png").read_bytes() == png()
        async with site.http.get("/api/view?filename=x.png&type=input&rand=0.5") as answer:
            assert (await answer.read(), answer.content_type) == (png(), "image/png")
        names = (await site.get("/object_info/LoadImage"))["LoadImage"]["input"]["required"]["image"][0]
        assert "x.png" in names


async def test_the_same_name_again(server, folder):
    async with running(server) as site:
        await upload(site, png("red"))
        assert (await upload(site, png("red")))["name"] == "x.png"
        assert (await upload(site, png("blue")))["name"] == "x (1).png"
        assert (await upload(site, png("green")))["name"] == "x (2).png"
        assert (await upload(site, png("blue")))["name"] == "x (1).png"
        assert (await upload(site, png("blue"), overwrite="true"))["name"] == "x.png"
        assert files(folder) == ["x (1).png", "x (2).png", "x.png"]
        assert (folder / "x.png").read_bytes() == png("blue")


async def test_uploads_into_subfolders_and_other_folders(server, folder):
    async with running(server) as site:
        made = await upload(site, png(), filename="größe 1.png", subfolder="pasted", type="temp")
        assert made == {"name": "größe 1.png", "subfolder": "pasted", "type": "temp"}
        path = f"/view?filename={quote('größe 1.png')}&subfolder=pasted&type=temp"
        async with site.http.get(path) as answer:
            assert await answer.read() == png()


@pytest.mark.parametrize(
    "fields",
    [
        {"filename": "../x.png"}, {"filename": "a\\x.png"}, {"filename": ".x.png"}, {"filename": ""},
        {"filename": "x.html"}, {"filename": "x.svg"}, {"filename": "x.png.js"}, 
        {"filename": "x" * 300 + ".png"}, {"subfolder": ".."}, {"subfolder": "a/../.."}, {"subfolder": "\\\\a"},
        {"type": "models"}, {"type": "../input"}, {"subfolder": "x" * 5000},
    ],
)  # fmt: skip
async def test_wrong_names_leave_nothing(server, folder, fields):
    async with running(server) as site:
        assert await upload(site, png(), status=413 if len(fields.get("subfolder", "")) > 4096 else 400, **fields)
        assert files(folder) == []
        assert await site.get("/users")


@pytest.mark.parametrize("data", [b"", b"no picture", b"<svg/>", png()[:20], b"\x89PNG\r\n\x1a\n" + b"\0" * 50])
async def test_what_is_no_picture_is_not_kept(server, folder, data):
    async with running(server) as site:
        assert "picture" in await upload(site, data, status=400)
        assert files(folder) == []


async def test_too_large_uploads_stop_early(server, folder):
    async with running(server, max_upload_size=50_000) as site:
        noise = np.random.default_rng(0).integers(0, 255, (200, 200, 3), dtype=np.uint8)
        file = io.BytesIO()
        Image.fromarray(noise).save(file, "PNG")
        await upload(site, file.getvalue(), status=413)

        async def endless():
            for _ in range(10_000):
                yield b"x" * 1000

        body = FormData()
        body.add_field("image", endless(), filename="x.png")
        async with site.http.post("/upload/image", data=body) as answer:
            assert answer.status == 413
        assert files(folder) == []
        assert await site.get("/users")


FORM = "multipart/form-data; boundary=x"
BROKEN = {
    "no form": (b"{}", "application/json"),
    "no boundary": (b"--x\r\n", "multipart/form-data"),
    "empty": (b"", FORM),
    "cut": (b'--x\r\nContent-Disposition: form-data; name="image"; filename="a.png"\r\n\r\nabc', FORM),
    "no image": (b'--x\r\nContent-Disposition: form-data; name="a"\r\n\r\nabc\r\n--x--\r\n', FORM),
    "not a file": (b'--x\r\nContent-Disposition: form-data; name="image"\r\n\r\nabc\r\n--x--\r\n', FORM),
    "form in a form": (b"--x\r\nContent-Type: multipart/mixed; boundary=y\r\n\r\n--y\r\n\r\na\r\n--y--\r\n--x--\r\n",
                       FORM),
    "not utf-8": (b'--x\r\nContent-Disposition: form-data; name="type"\r\n\r\n\xff\xfe\r\n--x--\r\n', FORM),
    "endless header": (b"--x\r\n" + b"A: " + b"b" * 100_000 + b"\r\n\r\n", FORM),
    "base64 of nothing": (b'--x\r\nContent-Disposition: form-data; name="image"; filename="a.png"\r\n'
                          b"Content-Transfer-Encoding: nonsense\r\n\r\nabc\r\n--x--\r\n", FORM),
}  # fmt: skip


@pytest.mark.parametrize("name", BROKEN)
async def test_broken_forms_get_a_400(server, folder, name):
    body, kind = BROKEN[name]
    async with running(server) as site:
        for path in ("/upload/image", "/api/upload/mask"):
            async with site.http.post(path, data=body, headers={"Content-Type": kind}) as answer:
                assert 400 <= answer.status < 500, await answer.text()
        assert files(folder) == []
        assert await site.get("/users")


async def test_a_mask_becomes_the_pictures_alpha(server, folder):
    Image.new("RGB", (6, 4), "red").save(folder / "photo.png")
    mask = Image.new("RGBA", (6, 4), (0, 0, 0, 255))
    mask.putpixel((2, 1), (9, 9, 9, 0))
    file = io.BytesIO()
    mask.save(file, "PNG")
    reference = json.dumps({"filename": "photo.png", "subfolder": "", "type": "input"})
    async with running(server) as site:
        fields = {"filename": "clipspace-mask-1.png", "subfolder": "clipspace", "original_ref": reference}
        made = await upload(site, file.getvalue(), path="/upload/mask", **fields)
        assert made == {"name": "clipspace-mask-1.png", "subfolder": "clipspace", "type": "input"}
        masked = Image.open(folder / "clipspace" / "clipspace-mask-1.png")
        assert masked.getpixel((2, 1)) == (255, 0, 0, 0) and masked.getpixel((0, 0)) == (255, 0, 0, 255)
        for wrong in ("", "{", "[]", json.dumps({"filename": "../x"}), json.dumps({"filename": "none.png"})):
            await upload(site, file.getvalue(), status=400, path="/upload/mask", **{**fields, "original_ref": wrong})
        await upload(site, png(size=(9, 9)), status=400, path="/upload/mask", **fields)


async def test_deep_grey_bombs_and_strangers(server, folder):
    """Seen as they are or refused in a line that names them, at upload and at view; never decoded to find out."""
    levels = samples.chunk(b"tRNS", struct.pack(">H", 1000))
    (folder / "deep.png").write_bytes(samples.png(2, 1, 16, 0, struct.pack(">2H", 1000, 40000), levels))
    refused = {"bomb.png": samples.bomb(13300, 13300), "eps.png": b"%!PS-Adobe-3.0 EPSF-3.0\n"}
    async with running(server) as site:
        async with site.http.get("/view?filename=deep.png&type=input&channel=rgb") as answer:
            picture = Image.open(io.BytesIO(await answer.read()))
        assert [picture.getpixel((x, 0)) for x in (0, 1)] == [(4, 4, 4), (156, 156, 156)]
        for name, data in refused.items():
            assert name in await upload(site, data, status=400, filename=name)
            (folder / name).write_bytes(data)
            for query in ("channel=rgb", "channel=a", "preview=webp;90"):
                async with site.http.get(f"/view?filename={name}&type=input&{query}") as answer:
                    text = (await answer.json())["error"]
                    assert answer.status == 400 and name in text and str(folder) not in text


async def test_previews_and_channels(server, folder):
    picture = Image.new("RGBA", (8, 8), (10, 200, 30, 100))
    picture.save(folder / "x.png")

    async def seen(site, query):
        async with site.http.get(f"/view?filename=x.png&type=input&{query}") as answer:
            assert answer.status == 200
            return answer.content_type, Image.open(io.BytesIO(await answer.read()))

    async with running(server) as site:
        assert (await seen(site, "channel=rgb"))[1].getpixel((0, 0)) == (10, 200, 30)
        assert (await seen(site, "channel=a"))[1].getpixel((0, 0))[3] == 100
        for form_, kind in (
            ("webp;90", "image/webp"),
            ("jpeg;50", "image/jpeg"),
            ("webp;x", "image/webp"),
            ("gif", "image/webp"),
        ):
            content_type, picture = await seen(site, f"preview={form_}")
            assert content_type == kind == f"image/{picture.format.lower()}"
        async with site.http.get("/view?filename=x.png%20[input]") as answer:
            assert answer.status == 200
        for query in ("", "filename=", "filename=none.png", "filename=x.png&type=models"):
            async with site.http.get(f"/view?{query}") as answer:
                assert answer.status in (400, 404)


async def test_saved_workflows(server):
    async with running(server) as site:
        assert (
            await site.post("/api/userdata/workflows%2Fa.json?overwrite=false", b'{"nodes": []}') == "workflows/a.json"
        )
        await site.post("/api/userdata/workflows%2Fa.json?overwrite=false", b"{}", status=409)
        info = await site.post("/userdata/workflows/a.json?overwrite=true&full_info=true", b'{"nodes": [1]}')
        assert (info["path"], info["size"]) == ("workflows/a.json", 14) and info["modified"] > 1.6e12
        assert await site.get("/userdata/workflows%2Fa.json") == {"nodes": [1]}
        await site.post("/userdata/workflows%2Fdeep%2Fb.json", b"{}")
        assert await site.get("/userdata?dir=workflows&recurse=true") == ["a.json", "deep/b.json"]
        assert await site.get("/userdata?dir=workflows&recurse=true&split=true") == [
            ["a.json", "a.json"],
            ["deep/b.json", "deep", "b.json"],
        ]
        (found,) = await site.get("/userdata?dir=workflows&full_info=true")
        assert found["path"] == "a.json"
        assert await site.post("/userdata/workflows%2Fa.json/move/workflows%2Fc.json", b"") == "workflows/c.json"
        await site.get("/userdata?dir=none", status=404)
        for path in ("workflows", "workflows%2Fc.json%2Fd.json", "%2F", "workflows%2F"):
            await site.post(f"/userdata/{path}", b"{}", status=400)
        async with site.http.delete("/userdata/workflows%2Fc.json") as answer:
            assert answer.status == 204
        async with site.http.delete("/userdata/workflows%2Fc.json") as answer:
            assert answer.status == 404
        assert not list(server["user_directory"].rglob(".*"))


async def test_a_saved_file_has_a_limit(server):
    async with running(server, max_body_size=1000) as site:
        async with site.http.post("/userdata/large.json", data=b"x" * 2000) as answer:
            assert answer.status == 413
        assert not (server["user_directory"] / "large.json").exists()


async def test_a_class_that_cannot_be_described_is_left_out(server, registry, monkeypatch, caplog):
    def broken(cls):
        raise PermissionError("lost+found may not be read")

    monkeypatch.setattr(registry.classes["Number"], "INPUT_TYPES", classmethod(broken))
    async with running(server) as site:
        info = await site.get("/object_info")
        assert "Number" not in info and "Add" in info and await site.get("/object_info/Number") == {}
    assert "node class Number cannot be described: lost+found" in caplog.text


async def test_what_the_editor_asks_at_its_start(server):
    async with running(server) as site:
        assert await site.get("/users") == {"storage": "server", "migrated": True}
        assert (await site.get("/api/features"))["supports_preview_metadata"] is True
        stats = await site.get("/system_stats")
        assert stats["system"]["ram_total"] > stats["system"]["ram_free"] > 0 and stats["devices"]
        info = await site.get("/object_info")
        assert info["LoadImage"] == (await site.get("/api/object_info/LoadImage"))["LoadImage"]
        assert await site.get("/object_info/Nothing") == {}
        for path in ("/embeddings", "/experiment/models", "/models"):
            assert await site.get(path) == []
        for path in ("/i18n", "/global_subgraphs", "/node_replacements"):
            assert await site.get(f"/api{path}") == {}
        assert isinstance(await site.get("/extensions"), list)
        async with site.http.get("/") as answer:
            assert answer.headers["Cache-Control"] == "no-cache" and answer.content_type == "text/html"
        async with site.http.get("/api/nothing") as answer:
            assert answer.status == 404
