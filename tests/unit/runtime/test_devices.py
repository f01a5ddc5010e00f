"""A free GPU for every job: locks that no two processes hold at once, tested with pretended devices."""

import os
import subprocess
import sys
import time
from itertools import pairwise
from pathlib import Path
from types import SimpleNamespace

import pytest
import torch

from iclscope.runtime import devices

# Takes one of the devices given, says when it had it, and works for a while.
JOB = """
import sys, time
from pathlib import Path
from iclscope.runtime import devices
devices.SECONDS_BETWEEN_TRIES = 0.02
place = devices.hold_one(sys.argv[3:], Path(sys.argv[1]))
start = time.monotonic()
print(place, start, flush=True)
time.sleep(float(sys.argv[2]))
print(time.monotonic(), flush=True)
"""


def start(locks, seconds, names):
    package = Path(devices.__file__).parents[2]
    command = [sys.executable, "-c", JOB, str(locks), str(seconds), *names]
    return subprocess.Popen(command, stdout=subprocess.PIPE, text=True, env={**os.environ, "PYTHONPATH": str(package)})


@pytest.fixture
def locks(tmp_path):
    return tmp_path / "locks"


def test_jobs_never_share_a_device_and_use_all(locks):
    jobs = [start(locks, 0.3, ["GPU-a", "GPU-b"]) for _ in range(5)]
    spans = []
    for job in jobs:
        output, _ = job.communicate(timeout=120)
        place, begin, end = map(float, output.split())
        spans.append((place, begin, end))
    assert {place for place, _, _ in spans} == {0.0, 1.0}
    for place in (0.0, 1.0):
        mine = sorted((begin, end) for used, begin, end in spans if used == place)
        assert all(earlier[1] <= later[0] for earlier, later in pairwise(mine))


def test_device_of_a_killed_job_is_free_again(locks):
    job = start(locks, 600, ["GPU-a"])
    assert job.stdout.readline().startswith("0 ")
    job.kill()
    job.wait()
    job.stdout.close()
    begin = time.monotonic()
    assert start(locks, 0, ["GPU-a"]).communicate(timeout=120)[0].startswith("0 ")
    assert time.monotonic() - begin < 60


@pytest.fixture
def machine(monkeypatch):
    """A machine with three pretended GPUs of which only the last is free; holds what was asked for."""
    taken = []
    monkeypatch.setattr(devices, "hold_one", lambda names: taken.append(list(names)) or len(names) - 1)
    monkeypatch.setattr(torch.cuda, "device_count", lambda: 3)
    monkeypatch.setattr(torch.cuda, "get_device_properties", lambda index: SimpleNamespace(uuid=f"uuid-{index}"))
    return taken


@pytest.mark.parametrize(
    ("asked", "given", "names"),
    [
        ("cuda", "cuda:2", ["uuid-0", "uuid-1", "uuid-2"]),
        ("cuda:1", "cuda:1", ["uuid-1"]),
    ],
)
def test_takes_a_free_gpu_or_the_one_asked_for(machine, asked, given, names):
    assert devices.take(torch.device(asked)) == torch.device(given)
    assert machine == [names]


@pytest.mark.parametrize("name", ["cpu", "mps"])
def test_other_devices_are_shared(machine, name):
    assert devices.take(torch.device(name)) == torch.device(name)
    assert machine == []


def test_a_process_keeps_to_its_device(locks):
    names = ["GPU-a", "GPU-b"]
    other = start(locks, 600, names)
    assert other.stdout.readline().startswith("0 ")
    assert [devices.hold_one(names, locks) for _ in range(3)] == [1, 1, 1]
    other.kill()
    other.communicate()
    assert devices.hold_one(names, locks) == 1


@pytest.mark.parametrize(
    ("cores", "gpus", "on_cpu", "size", "share"),
    [
        (8, 1, False, 0, 8),
        (8, 4, False, 0, 2),
        (2, 4, False, 0, 1),
        (2, 1, True, 0, 1),
        (3, 1, True, 0, 2),  # a third job with a model would find no core
        (8, 4, True, 0, 2),
        (8, 1, True, 1, 8),  # memory does not hold two
    ],
)
def test_jobs_with_a_model_share_the_cores(cores, gpus, on_cpu, size, share, tmp_path):
    with (tmp_path / "model.safetensors").open("wb") as weights:
        weights.truncate(size * devices.memory_mb() * 10**6)  # a hole on the disk
    assert devices.share_of_cores(cores, gpus, on_cpu, tmp_path / "source.json") == share


def test_a_machine_without_drivers_takes_the_cpu(monkeypatch):
    monkeypatch.setattr(devices, "DRIVERS", ("/nowhere",))
    monkeypatch.setattr(devices.platform, "machine", lambda: "x86_64")
    assert devices.is_cpu("auto")
    assert devices.is_cpu("cpu")
    assert not devices.is_cpu("cuda:1")
    monkeypatch.setattr(devices, "DRIVERS", ("/", "/nowhere"))
    assert not devices.is_cpu("auto")
