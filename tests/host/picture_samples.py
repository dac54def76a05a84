"""Small picture files of every kind, made here: what cameras, scanners, scientists and vandals produce."""

from __future__ import annotations

import io
import struct
import zlib

import numpy as np
from PIL import Image, ImageCms, TiffImagePlugin, features

PNG = b"\x89PNG\r\n\x1a\n"


def chunk(kind: bytes, data: bytes) -> bytes:
    return struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data))


def png(width: int, height: int, depth: int, kind: int, rows: bytes | None = None, *more: bytes) -> bytes:
    """A PNG with chosen header and chunks. kind: 0 grey, 2 RGB, 3 palette, 4 grey and alpha, 6 RGBA; rows unfiltered."""
    channels = {0: 1, 2: 3, 3: 1, 4: 2, 6: 4}[kind]
    line = -(-width * depth * channels // 8)
    rows = bytes(line * height) if rows is None else rows
    raw = b"".join(b"\0" + rows[i * line : (i + 1) * line] for i in range(height))
    head = chunk(b"IHDR", struct.pack(">IIBBBBB", width, height, depth, kind, 0, 0, 0))
    return PNG + head + b"".join(more) + chunk(b"IDAT", zlib.compress(raw, 9)) + chunk(b"IEND", b"")


def bomb(width: int, height: int) -> bytes:
    """A PNG of 1 bit a pixel, black: a few kB for any size, made a line at a time."""
    packer = zlib.compressobj(9)
    packed = b"".join(packer.compress(bytes(1 + -(-width // 8))) for _ in range(height)) + packer.flush()
    head = chunk(b"IHDR", struct.pack(">IIBBBBB", width, height, 1, 0, 0, 0, 0))
    return PNG + head + chunk(b"IDAT", packed) + chunk(b"IEND", b"")


def saved(picture: Image.Image, form: str, **options) -> bytes:
    out = io.BytesIO()
    picture.save(out, form, **options)
    return out.getvalue()


def tiff(numbers: np.ndarray, *, tags: dict[int, int] | None = None) -> bytes:
    """One channel as TIFF, in the type of the array; `tags` replace what Pillow would write."""
    info = TiffImagePlugin.ImageFileDirectory_v2()
    for tag, value in (tags or {}).items():
        info[tag] = value
    return saved(Image.fromarray(numbers), "TIFF", tiffinfo=info)


def gradient(mode: str = "RGB", size: tuple[int, int] = (16, 12)) -> Image.Image:
    """Colours and alpha that differ everywhere."""
    width, height = size
    x, y = np.meshgrid(np.linspace(0, 255, width), np.linspace(0, 255, height))
    return Image.fromarray(np.stack([x, y, 255 - x, 128 + y / 2], -1).astype(np.uint8), "RGBA").convert(mode)


def frames(count: int, size: tuple[int, int] = (8, 6)) -> list[Image.Image]:
    return [Image.new("RGB", size, (i * 40 % 256, 255 - i * 30 % 256, i)) for i in range(count)]


def animated(form: str, count: int = 3, **options) -> bytes:
    first, *rest = frames(count)
    return saved(first, form, save_all=True, append_images=rest, **options)


def phone_jpeg() -> bytes:
    """A JPEG with a second, smaller picture inside, as phones write depth maps (MPO)."""
    return saved(gradient(), "MPO", save_all=True, append_images=[gradient("RGB", (8, 6))])


def swapped_profile(name: str = "red is green") -> bytes:
    """An ICC profile of an RGB space whose first channel is sRGB's green and whose second is its red."""
    profile = bytearray(ImageCms.ImageCmsProfile(ImageCms.createProfile("sRGB")).tobytes())
    count = int.from_bytes(profile[128:132], "big")
    entries = {bytes(profile[132 + 12 * i : 136 + 12 * i]): 132 + 12 * i for i in range(count)}
    red, green = entries[b"rXYZ"], entries[b"gXYZ"]
    profile[red : red + 4], profile[green : green + 4] = b"gXYZ", b"rXYZ"
    return bytes(profile)


def srgb_profile() -> bytes:
    return ImageCms.ImageCmsProfile(ImageCms.createProfile("sRGB")).tobytes()


def rotated() -> Image.Exif:
    exif = Image.Exif()
    exif[0x0112] = 6
    return exif


def every_kind() -> dict[str, bytes]:
    """Valid files by what is particular about them."""
    grey16 = np.linspace(0, 65535, 192).reshape(12, 16)
    text = chunk(b"zTXt", b"workflow\0\0" + zlib.compress(b"{}" * 500))
    kinds = {
        "png": saved(gradient(), "PNG"),
        "png rgba": saved(gradient("RGBA"), "PNG", icc_profile=swapped_profile()),
        "png grey 16": saved(Image.fromarray(grey16.astype(np.uint16)), "PNG"),
        "png palette": saved(gradient("P"), "PNG", transparency=3),
        "png 1 bit": png(16, 12, 1, 0, None, chunk(b"tRNS", b"\0\1")),
        "png rgb 16": png(4, 4, 16, 2, bytes(range(96)), chunk(b"tRNS", bytes(range(6))), text),
        "apng": animated("PNG"),
        "jpeg": saved(gradient(), "JPEG", exif=rotated(), icc_profile=swapped_profile()),
        "jpeg cmyk": saved(gradient("CMYK"), "JPEG"),
        "mpo": phone_jpeg(),
        "webp": saved(gradient("RGBA"), "WEBP", exif=rotated()),
        "webp animated": animated("WEBP", lossless=True),
        "gif": animated("GIF"),
        "bmp": saved(gradient(), "BMP"),
        "tiff": saved(gradient("RGBA"), "TIFF", compression="tiff_lzw"),
        "tiff float": tiff((grey16 / 65535).astype(np.float32)),
        "tiff int32": tiff(grey16.astype(np.int32)),
        "tiff lab": saved(Image.new("LAB", (8, 6), (128, 140, 120)), "TIFF"),
        "tiff pages": animated("TIFF"),
    }
    if features.check("avif"):
        kinds["avif"] = saved(gradient("RGBA"), "AVIF", speed=10, exif=rotated())
    return kinds


def with_right_sums(data: bytes) -> bytes:
    """A mutated PNG whose chunks have the checksums that fit, so that a reader looks at what is in them."""
    if not data.startswith(PNG):
        return data
    done, place = bytearray(PNG), 8
    while place + 12 <= len(data):
        length = min(int.from_bytes(data[place : place + 4], "big"), len(data) - place - 12)
        done += chunk(data[place + 4 : place + 8], data[place + 8 : place + 8 + length])
        place += 12 + length
    return bytes(done)


def grey_profile(gamma: float) -> bytes:
    """A minimal ICC profile of one channel of grey with a power curve: header, table of tags, white point, curve."""
    xyz = b"XYZ " + bytes(4) + struct.pack(">3i", 63190, 65536, 54061)
    curve = b"curv" + bytes(4) + struct.pack(">IH", 1, round(gamma * 256)) + bytes(2)
    text = b"desc" + bytes(4) + struct.pack(">I", 5) + b"grey\0" + bytes(79 + 4)
    parts, table, place = [(b"wtpt", xyz), (b"kTRC", curve), (b"desc", text)], b"", 128 + 4 + 3 * 12
    for name, data in parts:
        table += name + struct.pack(">II", place, len(data))
        place += len(data)
    body = struct.pack(">I", 3) + table + b"".join(data for _, data in parts)
    head = struct.pack(">I4sI4s4s4s", 128 + len(body), b"lcms", 0x02100000, b"mntr", b"GRAY", b"XYZ ")
    head += bytes(12) + b"acsp" + bytes(28) + struct.pack(">3i", 63190, 65536, 54061)
    return head.ljust(128, b"\0") + body
