"""Under the strategies of `tf.distribute`. A strategy stays with its process, so each has programs
of its own, in `programs`: they compare with the same steps without a strategy."""

from __future__ import annotations

import json
import socket
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest
from problems import run_python

PROGRAMS = Path(__file__).parent / "programs"


def run(name, *arguments):
    return run_python((PROGRAMS / name).read_text(encoding="utf8"), *arguments)


def test_two_replicas_in_one_process():
    assert "passed" in run("mirrored.py")


@pytest.mark.parametrize("tables", ["whole", "cut"])
def test_tables_on_two_parameter_servers(tables):
    assert "passed" in run("parameter_servers.py", tables)


def test_two_workers_come_to_the_same_bits():
    sockets = [socket.socket() for _ in range(2)]
    for each in sockets:
        each.bind(("127.0.0.1", 0))
    workers = [f"127.0.0.1:{each.getsockname()[1]}" for each in sockets]
    for each in sockets:
        each.close()
    tasks = [
        json.dumps({"cluster": {"worker": workers}, "task": {"type": "worker", "index": index}})
        for index in range(2)
    ]
    with ThreadPoolExecutor(2) as pool:
        first, second = pool.map(lambda task: run("workers.py", task), tasks)
    digests = [line for line in first.splitlines() if line.startswith(("Adam", "Adagrad", "fit"))]
    assert len(digests) == 3
    assert all(line in second for line in digests)
