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
from typing import Any

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
    """Print rows with the same keys as a Markdown table."""
    columns = list(rows[0])
    lines = [columns, ["---"] * len(columns)]
    lines += [[f"{row[c]:.3g}" if isinstance(row[c], float) else str(row[c]) for c in columns] for row in rows]
    sys.stdout.write("".join(f"| {' | '.join(line)} |\n" for line in lines) + "\n")
    sys.stdout.flush()
