"""Does the command keep its manners where things are missing: a home, a working folder, somebody who reads its output?"""

import json
import os
import pwd
import signal
import sys
import tempfile
from pathlib import Path

import pytest
from host_graphs import PACK, entry

from imagen_core.text.prompt_files import cache_directory
from imagen_host import ending, folders, runtime
from imagen_host.cli import main
from imagen_host.places import place
from imagen_train.options import default_state_root


@pytest.fixture(autouse=True)
def workplace(tmp_path, monkeypatch):
    (tmp_path / "work").mkdir()
    monkeypatch.chdir(tmp_path / "work")
    monkeypatch.setenv("IMAGEN_PACK", str(PACK))
    for name in ("IMAGEN_CACHE", "IMAGEN_MODELS", "IMAGEN_TRAINING_DIR", "XDG_CACHE_HOME"):
        monkeypatch.delenv(name, raising=False)
    return tmp_path / "work"


@pytest.fixture
def graph(workplace):
    """A graph that draws in two steps and saves one picture."""
    inputs = {"seed": 1, "steps": 2, "width": 6, "height": 4, "seconds_per_step": 0.0, "text": "a cube"}
    prompt = {"2": entry("Picture", **inputs), "3": entry("SaveImage", images=["2", 0], filename_prefix="a")}
    Path("graph.json").write_text(json.dumps(prompt))
    return "graph.json"


@pytest.fixture
def home(tmp_path, monkeypatch):
    (tmp_path / "home").mkdir()
    monkeypatch.setenv("HOME", str(tmp_path / "home"))
    return tmp_path / "home"


@pytest.fixture
def no_home(monkeypatch):
    """A user with a number and nothing else, as `docker run --user 54321` makes one."""

    def unknown(number):
        raise KeyError(number)

    monkeypatch.delenv("HOME", raising=False)
    monkeypatch.setattr(pwd, "getpwuid", unknown)


def said(capsys, *arguments):
    """Exit code and stderr of the command, which never is a traceback."""
    try:
        code = main(list(arguments))
    except SystemExit as stop:
        code = stop.code
    err = capsys.readouterr().err
    assert "Traceback" not in err
    return code, err


def pictures():
    return [path.name for path in Path("output").rglob("*")]


# Output that nobody takes


def nobody_reads():
    reader, writer = os.pipe()
    os.close(reader)
    return writer


def full_disk():
    return os.open("/dev/full", os.O_WRONLY)


@pytest.mark.parametrize(("taken", "code"), [(nobody_reads, 0), (full_disk, 1)])
@pytest.mark.parametrize("command", [["--version"], ["--help"], ["nodes", "--json"], ["run", "graph.json"]])
def test_stdout_that_takes_nothing(capsys, monkeypatch, graph, command, taken, code):
    with open(taken(), "w") as stdout:
        monkeypatch.setattr(sys, "stdout", stdout)
        result, err = said(capsys, *command)
    assert result == code and ("stdout cannot be written: No space left" in err) == bool(code)
    assert err.count("error") == code and (command[0] != "run" or pictures() == ["a_00001_.png"])


@pytest.mark.parametrize("taken", [nobody_reads, full_disk])
def test_a_progress_bar_that_nobody_sees_ends_no_run(monkeypatch, graph, taken):
    with open(taken(), "w", buffering=1) as stderr:
        monkeypatch.setattr(sys, "stderr", stderr)
        assert main(["run", graph]) == 0 and main(["run", "nowhere"]) == 2
    assert pictures() == ["a_00001_.png"]


def test_closed_streams_are_as_good_as_dev_null(monkeypatch, graph):
    for name in ("stdout", "stderr", "stdin"):
        monkeypatch.setattr(sys, name, None)  # what Python makes of `>&-`
    assert main(["run", graph]) == 0 and pictures() == ["a_00001_.png"]


# Folders that are missing


def test_without_a_home_all_is_done_that_needs_none(capsys, monkeypatch, no_home, graph):
    assert said(capsys, "run", graph)[0] == 0 and pictures() == ["a_00001_.png"]
    assert cache_directory() is None
    monkeypatch.delenv("IMAGEN_PACK")  # the tests' own has no prompts to keep
    for command in (["cache"], ["train", "base64", "--max-steps", "1"], ["train", "mini", "--dry-run"]):
        code, err = said(capsys, *command)
        assert code == 2 and "home folder" in err and err.count("\n") == 1
    code, err = said(capsys, "run", graph, "--out", "~/pictures")
    assert code == 2 and "no home folder for ~" in err and sorted(os.listdir()) == ["graph.json", "output"]


def test_an_empty_home_is_none(monkeypatch, no_home):
    monkeypatch.setenv("HOME", "")
    assert cache_directory() is None


def test_a_working_folder_that_was_deleted(capsys, monkeypatch, workplace):
    (workplace / "gone").mkdir()
    monkeypatch.chdir(workplace / "gone")
    (workplace / "gone").rmdir()
    assert said(capsys, "--version")[0] == 0
    for command in (["nodes"], ["run", "x"], ["serve", "--no-open"], ["evaluate", "all"], ["cache"]):
        code, err = said(capsys, *command)
        assert code == 2 and "was deleted" in err and err.count("\n") == 1


def test_home_is_spelled_out_wherever_a_place_is_named(capsys, monkeypatch, home, graph):
    for name in ("in", "models", "out"):
        (home / name).mkdir()
    os.rename(graph, home / graph)
    for name, value in (("IMAGEN_MODELS", "~/models"), ("IMAGEN_CACHE", "~/c"), ("IMAGEN_TRAINING_DIR", "~/t")):
        monkeypatch.setenv(name, value)
    options = ["--input", "~/in", "--models", "~/models", "--out", "~/out"]
    assert said(capsys, "run", "~/graph.json", *options)[0] == 0 and (home / "out" / "a_00001_.png").is_file()
    assert runtime.model_directories_of_environment() == [home / "models"]
    assert cache_directory() == home / "c" and default_state_root() == home / "t"
    assert str(home / "x") in said(capsys, "train", "base64", "--max-steps", "1", "--teacher", "~/x")[1]
    monkeypatch.setenv("IMAGEN_PACK", "~/pack")
    assert str(home / "pack") in said(capsys, "nodes")[1]
    monkeypatch.delenv("IMAGEN_PACK")
    assert str(home / "x") in said(capsys, "inspect", "~/x")[1]
    assert list(Path().iterdir()) == []


@pytest.mark.parametrize(
    "arguments",
    [
        ["run", "graph.json", "--input", "none"],
        ["run", "graph.json", "--models", "none"],
        ["evaluate", "all", "--models-dir", "none"],
        ["evaluate", "sheet", "--out", "sheets", "--models-dir", "none"],
        ["train", "base64", "--max-steps", "1", "--from-weights", "none"],
        ["inspect", "none"],
    ],
)
def test_what_is_named_and_missing_is_an_error_and_is_not_made(capsys, monkeypatch, graph, arguments):
    if arguments[0] == "inspect":
        monkeypatch.delenv("IMAGEN_PACK")  # the tests' own knows no checkpoints
    code, err = said(capsys, *arguments)
    assert code == 2 and str(Path("none").absolute()) in err and os.listdir() == ["graph.json"]


def test_models_that_a_variable_names_must_be_there(capsys, monkeypatch, graph):
    monkeypatch.setenv("IMAGEN_MODELS", "none")
    code, err = said(capsys, "run", graph)
    assert code == 2 and "IMAGEN_MODELS" in err and str(Path("none").absolute()) in err


def test_a_new_output_folder_is_said_to_be_new(capsys, graph):
    assert "here is new" in said(capsys, "run", graph, "--out", "here")[1]
    assert "is new" not in said(capsys, "run", graph, "--out", "here")[1]


def test_no_place_for_temporary_files(capsys, monkeypatch, graph):
    monkeypatch.setattr(tempfile, "tempdir", None)
    monkeypatch.setattr(tempfile, "_candidate_tempdir_list", lambda: ["/proc/nothing"])
    code, err = said(capsys, "run", graph)
    assert code == 2 and "set TMPDIR" in err and "Traceback" not in err


def test_a_file_of_that_name_is_no_home():
    Path("~x").touch()
    assert place("~x") == Path("~x").absolute()


# Ends


@pytest.fixture
def temporary(tmp_path, monkeypatch):
    (tmp_path / "tmp").mkdir()
    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path / "tmp"))
    return tmp_path / "tmp"


def test_what_a_killed_run_left_goes_at_the_next_start(capsys, temporary, graph):
    left = [temporary / "imagen-0123456789ab", Path("output/sub/.imagen-0123456789ab.part")]
    kept = [temporary / "imagen-mine", temporary / "imagen-0123456789abcd", Path("output/.imagen-mine.part")]
    for folder in (*left, *kept):
        folder.mkdir(parents=True)
        (folder / "half").write_text("half")
    with folders.scratch_folder() as living:  # another process's, for all that the next one can see
        (living / "mine").touch()
        assert said(capsys, "run", graph)[0] == 0
        assert (living / "mine").exists()
    assert [folder.exists() for folder in (*left, *kept)] == [False, False, True, True, True]
    assert sorted(temporary.iterdir()) == sorted(kept[:2])


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGHUP])
def test_a_signal_ends_as_ctrl_c_does_once_and_nohup_is_heeded(number):
    before = signal.signal(number, signal.SIG_DFL)
    try:
        with pytest.raises(KeyboardInterrupt), ending.by_signals() as told:
            os.kill(os.getpid(), number)
        assert told.number == number and signal.getsignal(number) == signal.SIG_DFL
        signal.signal(number, signal.SIG_IGN)
        with ending.by_signals() as told:
            os.kill(os.getpid(), number)
        assert told.number is None
    finally:
        signal.signal(number, before)
