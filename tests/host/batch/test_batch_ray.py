"""Does a batch on a Ray cluster lose nothing when one of its three machines does?"""

import json
from pathlib import Path

import pytest
from batch_graphs import graph, jobs_of, plan_of

from imagen_host.batch.crew import Crew, Task
from imagen_host.batch.workers import ray_actors
from imagen_host.batch.workers.drawing import Settings
from imagen_host.cli import main

ray = pytest.importorskip("ray")
cluster_utils = pytest.importorskip("ray.cluster_utils")
NODE = {"num_cpus": 1, "object_store_memory": 80 * 2**20}
PATIENCE = {  # on a busy machine a node's helpers take long to begin, and a node whose helpers are late ends itself
    "RAY_agent_register_timeout_ms": "600000",
    "RAY_worker_register_timeout_seconds": "600",
    "RAY_health_check_initial_delay_ms": "120000",
    "RAY_health_check_timeout_ms": "120000",
    "RAY_USAGE_STATS_ENABLED": "0",
}


@pytest.fixture(autouse=True)
def patience(monkeypatch):
    for name, value in PATIENCE.items():
        monkeypatch.setenv(name, value)


@pytest.fixture
def cluster(patience):
    """Three nodes on this machine, the first with the driver."""
    nodes = cluster_utils.Cluster(initialize_head=True, head_node_args=NODE)
    others = [nodes.add_node(**NODE) for _ in range(2)]
    yield nodes, others
    ray.shutdown()
    nodes.shutdown()


def test_a_node_that_is_killed_loses_nothing(cluster, registry):
    nodes, others = cluster
    plan, jobs = (
        plan_of(registry, graph(seconds_per_step=0.2)),
        jobs_of(registry, rows(24) + "a cube that fails,24,no\n"),
    )
    with ray_actors.cluster(nodes.address, Settings(threads=1)) as hires:
        assert len(hires) == 3
        with Crew(jobs, lambda job: Task(plan.prompt(job), None), hires) as crew:
            results = []
            for result in crew:
                results.append(result)
                if len({item.worker for item in results}) == 3 and others:
                    nodes.remove_node(others.pop(), allow_graceful=False)
                    others.clear()
    assert not others, "no node was killed: one machine drew everything"
    results.sort(key=lambda result: int(result.job.cells["seed"]))
    assert [int(result.job.cells["seed"]) for result in results] == list(range(25))
    assert all(result.pictures and not result.error for result in results[:-1])
    assert not results[-1].pictures and "say please, not no" in results[-1].error


def test_the_command_begins_a_cluster_of_its_own(capsys):
    Path("graph.json").write_text(json.dumps(graph()))
    Path("jobs.csv").write_text(rows(3))
    code = main(["batch", "graph.json", "jobs.csv", "--ray", "--workers", "1", "--quiet"])
    assert code == 0, capsys.readouterr().err
    assert len(list(Path("output").glob("*.png"))) == 3 and not ray.is_initialized()


def rows(count):
    return "prompt,seed,4.word\n" + "".join(f"a cube {i},{i},\n" for i in range(count))
