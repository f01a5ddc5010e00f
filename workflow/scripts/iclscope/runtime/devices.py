"""Where models run; which GPU a job takes: one that no other job of this machine holds, as a lock file per device says.

Snakemake counts GPUs but does not say which one a job may use, and the same goes for two runs on one machine. A lock
belongs to an open file of the job's process, so that it is free again whenever the process ends, however it ends.
"""

import fcntl
import getpass
import logging
import os
import platform
import tempfile
import time
from collections.abc import Sequence
from pathlib import Path
from typing import IO, TYPE_CHECKING

from iclscope.runtime.errors import StudyError

if TYPE_CHECKING:
    import torch

logger = logging.getLogger(__name__)

LOCKS = Path(tempfile.gettempdir(), f"iclscope-{getpass.getuser()}-devices")  # of this machine: no shared folder
SECONDS_BETWEEN_TRIES = 1.0

DRIVERS = ("/dev/nvidiactl", "/dev/kfd", "/dev/dxg")  # of NVIDIA, of AMD, of either in Windows' Linux

_held: dict[Path, IO[str]] = {}  # open until the process ends


def pick(name: str) -> "torch.device":
    """The device of the config key `device`; `auto` is a GPU where there is one, else the CPU."""
    import torch  # takes seconds, and locking needs none of it

    if name == "auto":
        if torch.cuda.is_available():
            return torch.device("cuda")
        return torch.device("mps" if torch.backends.mps.is_available() else "cpu")
    device = torch.device(name)
    if device.type == "cuda" and not torch.cuda.is_available():
        raise StudyError(f"device: {name} is asked for, but this machine has no usable GPU; set device: auto or cpu")
    if device.type == "mps" and not torch.backends.mps.is_available():
        raise StudyError(f"device: {name} is asked for, but this machine has no Metal device; set device: auto or cpu")
    return device


def is_cpu(name: str) -> bool:
    """Whether `pick` will take the CPU, as far as the machine shows without torch: it takes seconds to import."""
    if name != "auto":
        return name == "cpu"
    apple = (platform.system(), platform.machine()) == ("Darwin", "arm64")
    return not (apple or any(Path(driver).exists() for driver in DRIVERS))


def memory_mb() -> int:
    """Memory of this machine in megabytes."""
    return os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES") // 1_000_000


def needed_mb(model: str | Path) -> int:
    """Memory in megabytes that a job needs with the model of a `source.json`: while it is loaded, its weights twice."""
    weights = sum(file.stat().st_size for file in Path(model).parent.glob("*.safetensors"))
    return 4000 + 2 * weights // 1_000_000


def share_of_cores(cores: int, gpus: int | None, on_cpu: bool, model: str | Path | None) -> int:
    """Cores of a job, beside others on as many GPUs.

    On a CPU two jobs share the cores where memory holds two models: while one loads its own or lays out prompts, the
    other computes.
    """
    jobs = gpus or 1
    if not on_cpu:
        return max(1, cores // jobs)  # GPUs limit how many there are
    if model is None or 2 * needed_mb(model) <= memory_mb():
        jobs = max(jobs, 2)
    return -(-cores // jobs)


def take(device: "torch.device") -> "torch.device":
    """The GPU to use for `device`: itself if it has an index, else a free one; waits until it is free.

    The process holds the GPU until it ends. Devices other than CUDA's are shared and returned as they are.
    """
    if device.type != "cuda":
        return device
    import torch

    wanted = range(torch.cuda.device_count()) if device.index is None else [device.index]
    names = [str(torch.cuda.get_device_properties(index).uuid) for index in wanted]
    return torch.device("cuda", wanted[hold_one(names)])


def hold_one(names: Sequence[str], locks: Path = LOCKS) -> int:
    """Lock one of the named devices until this process ends; returns its place among them. Waits if none is free.

    A process that holds one of them already keeps to it.

    names: what tells the devices of a machine apart, however many of them a process sees.
    """
    locks.mkdir(parents=True, exist_ok=True)
    paths = [locks / f"{name}.lock" for name in names]
    waiting = False
    while True:
        for place in sorted(range(len(paths)), key=lambda place: paths[place] not in _held):
            if _hold(paths[place]):
                return place
        if not waiting:
            logger.info("all of %d devices are taken; waiting for one", len(names))
        waiting = True
        time.sleep(SECONDS_BETWEEN_TRIES)


def _hold(path: Path) -> bool:
    """Whether this process holds the lock file now; it does not wait."""
    if path in _held:
        return True
    file = path.open("w")
    try:
        fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        file.close()
        return False
    _held[path] = file
    return True
