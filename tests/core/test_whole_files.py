"""Is a file there whole or not at all, is none ever overwritten by accident, and does a crash leave nothing for long?"""

import os
import signal
import stat
import subprocess
import sys
import threading
from pathlib import Path

import pytest

from imagen_core import whole_files
from imagen_core.whole_files import claim, drafts, sweep, whole

ROOT = Path(__file__).resolve().parent.parent.parent


def names(folder):
    return sorted(path.name for path in folder.iterdir())


def test_a_file_appears_when_the_block_ends_with_everybodys_permissions(tmp_path):
    with whole(tmp_path / "a") as draft:
        draft.write_text("new")
        draft.chmod(0o600)  # as safetensors and mkstemp make them
        assert not (tmp_path / "a").exists() and draft.parent.parent == tmp_path
    (tmp_path / "plain").touch()
    assert names(tmp_path) == ["a", "plain"] and (tmp_path / "a").read_text() == "new"
    assert stat.S_IMODE((tmp_path / "a").stat().st_mode) == stat.S_IMODE((tmp_path / "plain").stat().st_mode)


@pytest.mark.parametrize("problem", [KeyboardInterrupt, OSError])
def test_what_fails_leaves_the_old_file_and_nothing_else(tmp_path, problem):
    (tmp_path / "a").write_text("old")
    with pytest.raises(problem), whole(tmp_path / "a") as draft:
        draft.write_text("half")
        raise problem
    assert names(tmp_path) == ["a"] and (tmp_path / "a").read_text() == "old"


def without_links(*_, **__):
    raise PermissionError(1, "Operation not permitted")


@pytest.mark.parametrize("links", [True, False])
def test_of_many_at_once_each_gets_a_name_of_its_own(tmp_path, monkeypatch, links):
    if not links:
        monkeypatch.setattr(os, "link", without_links)

    def save(text):
        with drafts(tmp_path) as folder:
            (folder / "x").write_text(text)
            number = 0
            while not claim(folder / "x", tmp_path / str(number)):
                number += 1

    threads = [threading.Thread(target=save, args=[f"picture {i}"]) for i in range(24)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert names(tmp_path) == sorted(map(str, range(24)))
    assert {path.read_text() for path in tmp_path.iterdir()} == {f"picture {i}" for i in range(24)}


def test_a_reserved_name_is_given_back_when_the_rename_fails(tmp_path, monkeypatch):
    monkeypatch.setattr(os, "link", without_links)
    monkeypatch.setattr(os, "replace", without_links)
    with drafts(tmp_path) as folder, pytest.raises(PermissionError):
        (folder / "x").write_text("")
        claim(folder / "x", tmp_path / "a")
    assert names(tmp_path) == []


KILLED = """
import os, signal, sys
from imagen_core.whole_files import drafts
with drafts(sys.argv[1]) as folder:
    (folder / "half").write_text("half")
    print(flush=True)
    sys.stdin.read()
"""


def test_what_a_killed_process_left_is_swept_and_what_a_living_one_writes_is_not(tmp_path):
    command = [sys.executable, "-c", KILLED.replace("imagen_core.whole_files", "whole_files"), str(tmp_path)]
    path = os.environ | {"PYTHONPATH": str(ROOT / "imagen_core")}  # the file alone: no torch
    with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, env=path) as process:
        process.stdout.readline()
        assert sweep(tmp_path) == 0 and len(names(tmp_path)) == 1
        process.send_signal(signal.SIGKILL)
        process.wait()
    for name in (".imagen-mine.part", ".imagen-0123456789ab.part"):
        (tmp_path / name).write_text("a file of that name is none of ours")
    assert sweep(tmp_path) == 1 and names(tmp_path) == [".imagen-0123456789ab.part", ".imagen-mine.part"]
    assert sweep(tmp_path / "missing") == 0


def test_where_there_are_no_locks_only_what_is_old_goes(tmp_path, monkeypatch):
    monkeypatch.setattr(whole_files, "_lock", lambda folder: None)
    for name, age in (("a" * 12, 0), ("b" * 12, 2 * whole_files.UNLOCKED_AGE)):
        folder = tmp_path / f".imagen-{name}.part"
        folder.mkdir()
        os.utime(folder, (folder.stat().st_mtime - age,) * 2)
    assert sweep(tmp_path) == 1 and names(tmp_path) == [f".imagen-{'a' * 12}.part"]
