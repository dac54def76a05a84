"""Do rows become the jobs they should, and is a bad one refused in one line that names file, line and column?"""

from pathlib import Path

import pytest
from batch_graphs import graph, jobs_of, plan_of

from imagen_host.batch.rows import read_rows


def changed(job):
    return {(change.node, change.name): change.value for change in job.changes}


def test_a_table_sets_prompts_seeds_and_any_widget(registry):
    first, second = jobs_of(registry, 'prompt,seed,Base.width,2.preview\n"a red, round ball",7,9,yes\na cube,,,\n')
    values = {("1", "text"): "a red, round ball", ("2", "seed"): 7, ("2", "width"): 9, ("2", "preview"): True}
    assert changed(first) == values and changed(second) == {("1", "text"): "a cube"}
    assert [job.line for job in (first, second)] == [2, 3]


def test_lines_are_counted_where_a_cell_has_several(registry):
    jobs = jobs_of(registry, 'prompt\n"two\nlines"\n\na cube\n')
    assert [(job.line, job.cells["prompt"]) for job in jobs] == [(2, "two\nlines"), (5, "a cube")]


def test_the_other_forms(registry):
    of_table = jobs_of(registry, "prompt\tseed\na cube\t3\na cone\t3\n", "jobs.tsv")
    of_json = jobs_of(registry, '{"prompt": "a cube", "seed": 3}\n\n{"prompt": "a cone", "seed": 3}\n', "jobs.jsonl")
    of_text = jobs_of(registry, "a cube\n a cone \n", "jobs.txt")
    assert [job.key for job in of_table] == [job.key for job in of_json]
    assert [job.cells for job in of_text] == [{"prompt": "a cube"}, {"prompt": "a cone"}]


def test_a_key_is_the_content_of_a_job(registry):
    rows = "prompt,seed\na cube,1\na cone,1\na cube,2\na cube,1\n"
    jobs = jobs_of(registry, rows)
    assert len(jobs) == len({job.key for job in jobs}) == 3  # equal rows are one job
    swapped = jobs_of(registry, "seed,prompt\n2,a cube\n1,a cone\n1,a cube\n")
    assert {job.key for job in swapped} == {job.key for job in jobs}
    renamed = graph() | {"3": {**graph()["3"], "inputs": {"images": ["2", 0], "filename_prefix": "elsewhere"}}}
    assert jobs_of(registry, rows, prompt=renamed)[0].key == jobs[0].key
    assert jobs_of(registry, rows, prompt=graph(steps=2))[0].key != jobs[0].key


def test_the_key_knows_the_pictures_that_are_read(registry):
    prompt = {"1": {"class_type": "LoadImage", "inputs": {"image": "x.png"}}, "2": graph()["3"]}
    prompt["2"]["inputs"]["images"] = ["1", 0]
    Path("jobs.csv").write_text("LoadImage.image\nx.png\n")
    keys = {
        plan_of(registry, prompt, digest=lambda name, d=digest: d)
        .jobs(read_rows(Path("jobs.csv")), Path("jobs.csv"))[0]
        .key
        for digest in ("a", "b", None)
    }
    assert len(keys) == 3


def test_rows_are_repeated_with_seeds_counted_up(registry):
    jobs = jobs_of(registry, "prompt,seed\na,5\nb,\n", repeat=3)
    assert [changed(job)["2", "seed"] for job in jobs] == [5, 6, 7, 1, 2, 3]


def test_a_repeated_row_draws_no_picture_twice(registry):
    """A node that draws several pictures draws the second from the next seed."""
    jobs = jobs_of(registry, "prompt,seed\na,5\nb,\n", repeat=3, prompt=graph(batch_size=4))
    assert [changed(job)["2", "seed"] for job in jobs] == [5, 9, 13, 1, 5, 9]


def test_names(registry):
    rows = "prompt,seed,category,2.width\na/b: c,5,art,7\na cube,6,,8\n"
    jobs = jobs_of(registry, rows, name="{category}s/{index:03}_{prompt:.4}_{seed}_{2.width}")
    assert [job.name for job in jobs] == ["arts/001_a_b__5_7", "s/002_a cu_6_8"]
    cut = jobs_of(registry, "prompt\na red cube\n", name="{prompt:.6}/{prompt:.2}")
    assert [job.name for job in cut] == ["a red/a"]  # no space before the ending


@pytest.mark.parametrize(
    ("template", "words"),
    [
        ("{colour}", "nothing is called {colour}; there are {index}, {key}, {line}, {prompt}"),
        ("{index", "expected '}'"),
        ("{index:z}", "--name '{index:z}': "),
        ("../{index}", "no file name"),
        ("{prompt}", "line 3: --name '{prompt}' calls its picture 'a', as that of line 2"),
        ("x" * 201 + "{index}", "no file name"),
    ],
)
def test_a_template_that_names_nothing_is_refused(registry, template, words):
    with pytest.raises(ValueError) as caught:
        jobs_of(registry, "prompt,seed\na,1\na,2\n", name=template)
    assert words in str(caught.value) and "\n" not in str(caught.value)


@pytest.mark.parametrize(
    ("file", "text", "words"),
    [
        ("jobs.csv", "prompt,seed\na,1\nb,many\n", "jobs.csv, line 3, column seed: 'many' is no INT"),
        ("jobs.csv", "prompt,2.width\na,0\n", "jobs.csv, line 2, column 2.width: a value is too small"),
        ("jobs.csv", "prompt,2.width\na,99999\n", "column 2.width: a value is too large"),
        (
            "jobs.csv",
            "prompt,2.weight\na,1\n",
            "column 2.weight: node 2 has no input 'weight'; did you mean 'height'?",
        ),
        ("jobs.csv", "prompt,Base2.width\na,1\n", "line 2, column Base2.width: no node 'Base2'"),
        ("jobs.csv", "prompt,2.preview\na,perhaps\n", "column 2.preview: expected true or false"),
        (
            "jobs.csv",
            "prompt,colour\na,red\n",
            "line 2, column colour: a column is called prompt, negative, seed, NODE",
        ),
        ("jobs.csv", "prompt,3.images\na,b\n", "column 3.images: this input takes a link of type IMAGE"),
        ("jobs.csv", "prompt,prompt\na,b\n", "line 1, column prompt: two columns have this name"),
        ("jobs.csv", "prompt,\na,b\n", "line 1: column 2 has no name"),
        ("jobs.csv", "prompt\na,b\n", "line 2: 2 cells for 1 columns"),
        ("jobs.csv", 'prompt\n"a" b\n', "line 2: ',' expected after '\"'"),
        ("jobs.csv", "prompt\n", "holds no jobs"),
        ("jobs.csv", "", "holds no jobs"),
        ("jobs.jsonl", '{"prompt": "a"}\n{"prompt": }\n', "jobs.jsonl, line 2: no JSON"),
        ("jobs.jsonl", "[1]\n", "line 1: no object"),
        ("jobs.jsonl", "[" * 100_000, "line 1: no JSON (nested too deep)"),
        ("jobs.jsonl", '{"seed": 1.5}\n', "line 1, column seed: 1.5 is no INT"),
        ("jobs.jsonl", '{"seed": true}\n', "line 1, column seed: true is no INT"),
        ("jobs.jsonl", '{"seed": [1, 2]}\n', "line 1, column seed: a list is no value"),
        ("jobs.jsonl", '{"2.seconds_per_step": NaN}\n', "column 2.seconds_per_step: nan is no value"),
        ("jobs.xlsx", "x", "jobs.xlsx: a file of jobs ends in .csv, .tsv, .jsonl or .txt"),
    ],
)
def test_a_bad_row_is_one_line(registry, file, text, words):
    with pytest.raises(ValueError) as caught:
        jobs_of(registry, text, file)
    assert words in str(caught.value) and "\n" not in str(caught.value)


def test_bytes_that_are_no_text_and_a_file_that_is_not_there(registry):
    Path("jobs.csv").write_bytes(b"prompt\na cube\n\xff\xfe\n")
    with pytest.raises(ValueError, match="jobs.csv, line 3: these bytes are no UTF-8"):
        read_rows(Path("jobs.csv"))
    with pytest.raises(ValueError, match="none.csv cannot be read"):
        read_rows(Path("none.csv"))
