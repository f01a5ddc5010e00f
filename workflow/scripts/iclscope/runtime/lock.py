"""One run at a time in a folder; and no job that outlives its run may write over what a later one made.

A run holds a lock that ends with its process, however that ends, and writes its name into the locked file. Its jobs
know the name from their environment and compare both before a file takes its final place.
"""

import datetime
import fcntl
import os
import platform
from pathlib import Path
from typing import TextIO

from iclscope.runtime.errors import StudyError

LOCK = Path(".snakemake/iclscope.lock")  # in the folder in which Snakemake runs, as the jobs do
RUN = "ICLSCOPE_RUN"


def begin() -> TextIO:
    """Begin a run of this folder: lock it for as long as the returned file is open, and name the run for its jobs."""
    LOCK.parent.mkdir(exist_ok=True)
    file = LOCK.open("a+", encoding="utf-8")
    try:
        fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError as error:
        file.seek(0)
        holder = file.read()
        file.close()
        raise StudyError(
            f"another run ({holder}) is at work in {Path.cwd()}; wait for its end or stop it, or give this run a "
            "folder of its own with --directory"
        ) from error
    now = datetime.datetime.now(datetime.UTC).isoformat()
    os.environ[RUN] = f"process {os.getpid()} on {platform.node()} since {now}"
    file.truncate(0)
    file.write(os.environ[RUN])
    file.flush()
    os.fsync(file.fileno())  # jobs on other machines read it too
    return file


def check_current() -> None:
    """Refuse to go on in a job whose run is over while a later one has begun."""
    own = os.environ.get(RUN)
    if own is None:  # no run, but a function called by hand
        return
    current = LOCK.read_text(encoding="utf-8") if LOCK.exists() else "none"
    if current != own:
        raise StudyError(f"the run of this job ({own}) is over and another ({current}) has begun; nothing is written")


def give_jobs(**variables: object) -> None:
    """Set environment variables for the jobs of this run; a path goes before what stands there."""
    for name, value in variables.items():
        before = os.environ.get(name, "").split(os.pathsep) if name.endswith("PATH") else []
        os.environ[name] = os.pathsep.join(dict.fromkeys([str(value), *filter(None, before)]))
