"""What the benchmarks share: the machine's name, a table on the terminal, and a JSON file in results/benchmarks."""

import json
import os
import platform
import resource
import statistics
import sys
import time
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any, NamedTuple

ROOT = Path(__file__).parents[2]
FOLDER = ROOT / "results/benchmarks"


def machine() -> dict[str, Any]:
    """What the numbers were measured on."""
    import torch  # a process that measures memory without it should not count it

    info = Path("/proc/cpuinfo")
    lines = info.read_text(encoding="utf-8").splitlines() if info.exists() else []
    names = [line.partition(": ")[2] for line in lines if line.startswith("model name")]
    return {
        "processor": names[0] if names else platform.processor(),
        "cores": os.cpu_count(),
        "threads": torch.get_num_threads(),
        "gpu": torch.cuda.get_device_name() if torch.cuda.is_available() else None,
        "torch": torch.__version__,
    }


def seconds(run: Callable[[], Any], rounds: int = 1) -> float:
    """Wall-clock time of a call: the median of `rounds`."""
    times = []
    for _ in range(rounds):
        start = time.perf_counter()
        run()
        times.append(time.perf_counter() - start)
    return statistics.median(times)


class Cost(NamedTuple):
    """Of a piece of work: seconds of the clock, and of the processor in all threads."""

    seconds: float
    processor: float


def cost(run: Callable[[], Any]) -> Cost:
    """What a call costs in this process."""
    start, spent = time.perf_counter(), time.process_time()
    run()
    return Cost(time.perf_counter() - start, time.process_time() - spent)


def in_turns(ways: Mapping[str, Callable[[], Cost]], rounds: int) -> dict[str, list[Cost]]:
    """The costs of every way, which take turns, so that what else the machine does meets all of them alike."""
    costs: dict[str, list[Cost]] = {name: [] for name in ways}
    for _ in range(rounds):
        for name, run in ways.items():
            costs[name].append(run())
    return costs


def peak_memory() -> float:
    """Largest resident memory of this process so far, in MB.

    From Linux's own file where there is one: `ru_maxrss` of a new process begins at what its parent had.
    """
    status = Path("/proc/self/status")
    if not status.exists():
        return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024
    (line,) = (line for line in status.read_text(encoding="utf-8").splitlines() if line.startswith("VmHWM:"))
    return int(line.split()[1]) / 1024


def read(name: str) -> dict[str, Any]:
    """What an earlier run wrote, without the machine; empty before there is one."""
    file = FOLDER / f"{name}.json"
    found = json.loads(file.read_text()) if file.is_file() else {}
    return {key: value for key, value in found.items() if key != "machine"}


def write(name: str, results: Mapping[str, Any]) -> None:
    """Write results/benchmarks/`name`.json, with the machine."""
    FOLDER.mkdir(parents=True, exist_ok=True)
    (FOLDER / f"{name}.json").write_text(json.dumps({"machine": machine(), **results}, indent=2) + "\n")


def show(rows: Sequence[Mapping[str, Any]]) -> None:
    """Print rows as a Markdown table, with a column for every key of any of them."""
    columns = list(dict.fromkeys(key for row in rows for key in row))
    lines = [columns, ["---"] * len(columns)]
    cells = [[row.get(column, "") for column in columns] for row in rows]
    lines += [[f"{cell:.3g}" if isinstance(cell, float) else str(cell) for cell in row] for row in cells]
    sys.stdout.write("".join(f"| {' | '.join(line)} |\n" for line in lines) + "\n")
    sys.stdout.flush()
