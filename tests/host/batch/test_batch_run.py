"""Is everything drawn once, whatever is lost or killed on the way, and does a second run do only what is left?"""

import contextlib
import json
import os
import signal
import subprocess
import sys
import threading
import time
from html.parser import HTMLParser
from pathlib import Path

import pytest
from batch_graphs import graph, jobs_of, plan_of, serving
from PIL import Image

from imagen_host.batch.crew import Crew, JobFailed, Task, WorkerLost
from imagen_host.batch.ledger import Ledger, opened
from imagen_host.batch.workers.drawing import Settings, drawer
from imagen_host.batch.workers.processes import hires
from imagen_host.batch.workers.servers import ServerWorker
from imagen_host.cli import main

ROOT = Path(__file__).resolve().parents[3]


def imagen(capsys, *arguments):
    code = main(["batch", *arguments])
    done = capsys.readouterr()
    return code, done.out, done.err


def write(prompt, rows, name="jobs.csv"):
    Path("graph.json").write_text(json.dumps(prompt))
    Path(name).write_text(rows)


def rows(count):
    return "prompt,seed\n" + "".join(f"a cube {i},{i}\n" for i in range(count))


class Fragile:
    """A worker that says which job it was given, and is lost on every `dies` job."""

    name = "fragile"

    def __init__(self, seen, dies=()):
        self.seen, self.dies = seen, dies

    def draw(self, task):
        seed = task.prompt["2"]["inputs"]["seed"]
        self.seen.append(seed)
        if seed in self.dies:
            raise WorkerLost("the machine burnt down")
        if seed == 3:
            raise JobFailed("three is not for me")
        return [(".txt", str(seed).encode())]

    def close(self):
        pass


@pytest.fixture
def quick(monkeypatch):
    monkeypatch.setattr("imagen_host.batch.crew.PAUSE", 0.001)


def drawn(registry, count, hires):
    plan, jobs = plan_of(registry), jobs_of(registry, rows(count))
    with Crew(jobs, lambda job: Task(plan.prompt(job), None), hires) as crew:
        return {result.job.cells["seed"]: result for result in crew}


def test_every_job_is_drawn_once_and_one_that_fails_is_told(registry):
    seen = []
    results = drawn(registry, 20, [lambda: Fragile(seen)] * 3)
    assert sorted(seen) == list(range(20)) and len(results) == 20
    assert results["3"].error == "three is not for me" and results["4"].pictures == [(".txt", b"4")]


def test_what_a_lost_worker_had_goes_to_another(registry, quick):
    seen, dying = [], [(5, 9), (5,), (), (), (), ()]
    results = drawn(registry, 12, [lambda: Fragile(seen, dying.pop(0))] * 2)
    assert len(results) == 12 and not results["5"].error and not results["9"].error
    assert len(seen) > 12


def test_a_job_that_every_worker_dies_of_fails_and_the_rest_is_drawn(registry, quick):
    results = drawn(registry, 8, [lambda: Fragile([], (5,))] * 2)
    assert len(results) == 8 and results["5"].error == "3 workers were lost on it, the last: the machine burnt down"


def test_nobody_left_is_an_error_with_its_reason(registry, quick):
    def nobody():
        raise WorkerLost("the line is dead")

    with pytest.raises(WorkerLost, match="no worker is left: the line is dead"):
        drawn(registry, 3, [nobody, nobody])


def test_jobs_are_made_when_a_worker_is_free_and_results_are_waited_for(registry):
    made, plan = [], plan_of(registry)
    jobs = (made.append(job) or job for job in jobs_of(registry, rows(50)))
    with Crew(jobs, lambda job: Task(plan.prompt(job), None), [lambda: Fragile([])] * 2) as crew:
        for number, _ in enumerate(crew, start=1):
            time.sleep(0.002)  # a slow disk
            assert len(made) <= number + 2 + 2 + 1  # being drawn, waiting to be taken, and one in the hand


def test_a_shard_is_for_one_process_and_a_foreign_file_is_left_alone(registry, tmp_path):
    job, other = jobs_of(registry, rows(2))
    (tmp_path / f"{job.name}.png").write_bytes(b"mine")
    with opened(tmp_path, "1of2") as ledger:
        with pytest.raises(FileExistsError, match="not of this batch"):
            ledger.keep(job, [(".png", b"new")])
        ledger.keep(other, [(".png", b"one"), (".png", b"two")], worker="w", seconds=1.0)
        with pytest.raises(ValueError, match="another imagen batch is at work"), opened(tmp_path, "1of2"):
            pass
        with opened(tmp_path, "2of2") as second:
            assert second.is_done(other) and not second.is_done(job)
    assert (tmp_path / f"{other.name}_2.png").read_bytes() == b"two"


def test_what_a_killed_run_was_placing_is_drawn_over(registry, tmp_path):
    job = jobs_of(registry, rows(1))[0]
    ledger = Ledger(tmp_path)
    ledger.keep(job, [(".png", b"half")])
    lines = ledger.path.read_bytes().splitlines(keepends=True)
    ledger.path.write_bytes(lines[0] + lines[1][:40])  # killed while it wrote that all is done
    again = Ledger(tmp_path)
    assert not again.is_done(job)
    again.keep(job, [(".png", b"whole")])
    assert Ledger(tmp_path).is_done(job) and (tmp_path / f"{job.name}.png").read_bytes() == b"whole"


class Page(HTMLParser):
    def __init__(self, path):
        super().__init__()
        self.pictures, self.text = [], ""
        self.feed(path.read_text())

    def handle_starttag(self, tag, attributes):
        values = dict(attributes)
        self.pictures += [values["src"]] if tag == "img" else []
        assert not any(str(value).startswith(("http", "//")) for value in values.values())  # nothing from elsewhere

    def handle_data(self, text):
        self.text += text


def test_the_command_draws_reports_and_goes_on_where_it_stopped(capsys, registry, host, tmp_path):
    write(graph(), 'prompt,seed,4.word\na <b>cube</b>,1,please\na cone,2,no\n"a ring, thin",3,please\n')
    with serving(registry, host, tmp_path) as (url, state):
        code, out, err = imagen(capsys, "graph.json", "jobs.csv", "--server", url, "--out", "drawn")
        assert code == 1 and "jobs.csv, line 3: " in err and "say please, not no" in err and "2 drawn, 1 failed" in err
        pictures = sorted(Path("drawn").glob("*.png"))
        assert [path.name[:6] for path in pictures] == ["00001_", "00003_"]
        assert json.loads(Image.open(pictures[1]).text["prompt"])["1"]["inputs"]["text"] == "a ring, thin"
        page = Page(Path(out.strip()))
        assert page.pictures == [path.name for path in pictures] and "line 2: a <b>cube</b>, seed 1" in page.text
        assert "say please, not no — a cone, seed 2" in page.text

        write(graph(), 'prompt,seed,4.word\na cone,2,please\n"a ring, thin",3,please\na <b>cube</b>,1,please\n')
        prompts = len(state.queue.history.current())
        code, out, err = imagen(capsys, "graph.json", "jobs.csv", "--server", url, "--out", "drawn", "--json")
        assert code == 0 and len(state.queue.history.current()) == prompts + 1
        told = json.loads(out)
        assert (told["jobs"], told["done"], told["failed"], told["this_run"]["done_before"]) == (3, 3, 0, 2)
        next(iter(pictures)).unlink()
        code, _, err = imagen(capsys, "graph.json", "jobs.csv", "--server", url, "--out", "drawn")
        assert code == 0 and "1 drawn, 0 failed, 2 done before" in err


def test_shards_are_parts_of_the_whole(capsys, registry, host, tmp_path):
    write(graph(), rows(9))
    with serving(registry, host, tmp_path) as (url, _):
        for number in (1, 2, 3):
            shard = ("--shard", f"{number}/3", "--out", "drawn", "--quiet")
            assert imagen(capsys, "graph.json", "jobs.csv", "--server", url, *shard)[0] == 0
    assert (
        len(list(Path("drawn").glob("*.png"))) == 9 and json.loads(Path("drawn/report.json").read_text())["done"] == 9
    )


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (["graph.json", "jobs.csv", "--shard", "0/3"], "--shard '0/3': expected K/N"),
        (["graph.json", "jobs.csv", "--repeat", "0"], "--repeat is 0"),
        (["graph.json", "jobs.csv", "--server", "ftp://x"], "--server 'ftp://x' is no address"),
        (["graph.json", "jobs.csv", "--server", "http://127.0.0.1:9"], "127.0.0.1:9 does not answer"),
        (["graph.json", "jobs.csv", "--server", "x", "--workers", "2"], "leave --ray and --workers out"),
        (["graph.json", "none.csv"], "none.csv cannot be read"),
        (["nothing", "jobs.csv"], "no workflow 'nothing'"),
        (["broken.json", "jobs.csv"], "broken.json: node 2 'Base' (Picture): a value is too small"),
        (["graph.json", "bad.csv"], "bad.csv, line 2, column sed: a column is called"),
    ],
)
def test_wrong_input_is_one_line(capsys, arguments, words):
    write(graph(), rows(2))
    Path("broken.json").write_text(json.dumps(graph(steps=0)))
    Path("bad.csv").write_text("prompt,sed\na,1\n")
    code, out, err = imagen(capsys, *arguments)
    assert (code, out) == (2, "") and words in err and len(err.strip().splitlines()) == 1


def test_a_server_refuses_fails_and_is_lost(registry, host, tmp_path):
    with serving(registry, host, tmp_path) as (url, state):
        worker = ServerWorker(url)
        with pytest.raises(JobFailed, match="refuses it: node 1 is of the unknown class 'Nothing'"):
            worker.draw(Task({"1": {"class_type": "Nothing", "inputs": {}}}, None))
        with pytest.raises(JobFailed, match="refuses a part of it: a value is too small: steps: 0"):
            worker.draw(Task(graph(steps=0), None))
        broken = graph() | {"5": {"class_type": "Quiet", "inputs": {"value": ["6", 0]}}}
        broken |= {"6": {"class_type": "Broken", "inputs": {"value": ["7", 0]}}}
        broken |= {"7": {"class_type": "Number", "inputs": {"value": 1}}}
        with pytest.raises(JobFailed, match=r"node 6 \(Broken\) failed: the disk is on fire"):
            worker.draw(Task(broken, None))
        slow, lost = Task(graph(steps=1000, seconds_per_step=0.01), None), []
        drawing = threading.Thread(target=lambda: lost.append(pytest.raises(WorkerLost, worker.draw, slow)))
        drawing.start()
        while not state.queue.running:
            time.sleep(0.005)
        worker.close()
        drawing.join()
        while state.queue.running:  # it took its own prompt back
            time.sleep(0.005)
        assert lost
    with pytest.raises(WorkerLost, match="does not answer"):
        worker.draw(Task(graph(), None))


def test_models_stay_and_nothing_is_left_between_jobs(registry, flow):
    number = {"class_type": "Number", "inputs": {"value": 5}}
    with drawer(Settings()) as draw:
        shown = {"6": number, "7": {"class_type": "Show", "inputs": {"value": ["6", 0]}}}
        for seed in (1, 2, 2):  # the same twice: the saver saves again
            assert [ending for ending, _ in draw(graph(seed=seed) | shown, None)] == [".png"]
    assert [call for call in flow.CALLS if call[0] == "Number"] == [("Number", 5)]  # as a loader: once


def test_a_process_that_is_killed_loses_nothing(registry):
    plan, jobs = plan_of(registry, graph(seconds_per_step=0.05)), jobs_of(registry, rows(6))
    with Crew(jobs, lambda job: Task(plan.prompt(job), None), hires(2, Settings())) as crew:
        results = []
        for result in crew:
            results.append(result)
            if len(results) == 1:
                crew.workers[0].process.kill()
    assert sorted(result.job.cells["seed"] for result in results) == [str(i) for i in range(6)]
    assert all(not result.error and result.pictures for result in results)


def test_killed_with_kill_9_it_goes_on_and_draws_the_same(capsys):
    write(graph(seconds_per_step=0.2), rows(5))
    command = [sys.executable, "-m", "imagen_host", "batch", "graph.json", "jobs.csv", "--quiet"]
    environment = {**os.environ, "PYTHONPATH": str(ROOT), "OMP_NUM_THREADS": "1"}
    process = subprocess.Popen(command, env=environment, stderr=subprocess.DEVNULL)
    ledger = Path("output/results.jsonl")
    while not (ledger.exists() and ledger.read_text().count('"done"') >= 2):
        assert process.poll() is None
        time.sleep(0.02)
    process.send_signal(signal.SIGKILL)
    process.wait()
    before = {path.name: path.stat().st_mtime_ns for path in Path("output").glob("*.png")}
    done = ledger.read_text().count('"done"')
    with contextlib.suppress(FileNotFoundError):
        Path("output/report.html").unlink()
    code, out, err = imagen(capsys, "graph.json", "jobs.csv", "--quiet")
    assert code == 0 and f"{5 - done} drawn, 0 failed, {done} done before" in err
    after = {path.name: path.stat().st_mtime_ns for path in Path("output").glob("*.png")}
    assert len(after) == 5 and sum(after[name] == stamp for name, stamp in before.items()) >= done
    assert not [path for path in Path("output").glob(".imagen-*") if path.name != ".imagen-batch"]
