"""Programs that begin with their libraries loaded: most of what a job on a tiny model does is to import torch.

A process that has imported the libraries, and nothing of the workflow, waits for scripts: one process for Snakemake's,
one for those of jobs. In place of Python a stand-in is started that hands the script over; the process forks, and the
copy runs the script with the files, folder, environment and signals of the stand-in. Whatever is not such a script, or
has another environment than the process was started with, is run by Python as ever.
"""

import array
import atexit
import contextlib
import gc
import json
import os
import random
import runpy
import select
import signal
import socket
import subprocess
import sys
import threading
import traceback
from pathlib import Path
from typing import NamedTuple

JOBS = (
    "torch", "polars", "pyarrow.parquet", "transformers.modeling_utils", "transformers.generation",
    "transformers.models.auto.modeling_auto", "transformers.models.auto.tokenization_auto",
    "transformers.models.llama.modeling_llama", "transformers.models.qwen2.modeling_qwen2", "safetensors.torch",
    "scipy.stats", "scipy.optimize", "matplotlib.pyplot", "jinja2", "jsonschema", "requests", "snakemake.script",
)  # fmt: skip
# Threads that may be missing from a copy: jemalloc's start again in it, and that of polars only tidies what it spilled.
MISSED = {"jemalloc_bg_thd", "polars-ooc-clea"}
SNAKEMAKE = ("snakemake.cli", "polars", "pyarrow.parquet", "requests", "jinja2", "jsonschema", "yaml")

# What may differ between a job and the process that it is copied from: where things are, and what polars sets.
OWN = {"PYTHONPATH", "PWD", "OLDPWD", "SHLVL", "_", "TMPDIR", "TMP", "TEMP", "TEMPDIR", "_RJEM_MALLOC_CONF",
       "ICLSCOPE_RUN", "ICLSCOPE_CONFIG", "ICLSCOPE_API_KEY", "PYTEST_CURRENT_TEST"}  # fmt: skip
# As Snakemake sets them for a job with one thread.
THREADS = {f"{name}_NUM_THREADS": "1" for name in ("OMP", "GOTO", "NUMEXPR", "MKL", "OPENBLAS")}
THREADS["VECLIB_MAXIMUM_THREADS"] = "1"
STAND_IN = """\
#!{python} -IS
import array, json, os, signal, socket, sys
try:
    if {scripts!r} not in "".join(sys.argv[1:2]):
        raise OSError("another script")
    server = socket.socket(socket.AF_UNIX)
    server.connect({address!r})
    request = json.dumps([os.getcwd(), sys.argv[1:], dict(os.environ)]).encode()
    server.sendmsg([len(request).to_bytes(8, "big")],
                   [(socket.SOL_SOCKET, socket.SCM_RIGHTS, array.array("i", [0, 1, 2]))])
    server.sendall(request)
    for number in (signal.SIGINT, signal.SIGTERM):
        signal.signal(number, lambda number, _: server.sendall(bytes([number])))
    if server.recv(1) != b"y":
        raise OSError("not here")
except OSError:
    os.execv({python!r}, [{python!r}, *sys.argv[1:]])
status = server.recv(1)
os._exit(status[0] if status else 1)
"""


def stand_in(libraries: tuple[str, ...], scripts: str, folder: Path, environment: dict[str, str]) -> Path:
    """What is to be started in place of Python; the process that waits is started here, and ends with this one.

    libraries: what it imports. scripts: part of the paths of the scripts that it runs. folder: a short path for files
    of its own. environment: that of the scripts.
    """
    folder.mkdir(parents=True, exist_ok=True)
    file, address = folder / "python", folder / "socket"
    command = [sys.executable, __file__, str(address), *libraries]
    process = subprocess.Popen(command, env=environment, stdin=subprocess.PIPE, stdout=subprocess.PIPE)
    file.write_text(STAND_IN.format(python=sys.executable, address=str(address), scripts=scripts))
    file.chmod(0o755)
    atexit.register(process.communicate)
    assert process.stdout
    assert process.stdout.readline() == b"ready\n"
    return file


def serve(address: str, libraries: list[str]) -> None:
    """Import the libraries and run scripts, each in a copy of this process, until the standard input ends."""
    for library in libraries:
        __import__(library)
    threads = (task for task in Path("/proc/self/task").iterdir() if task.name != str(os.getpid()))
    others = {(task / "comm").read_text().strip() for task in threads} - MISSED
    assert not others, f"a process with threads cannot be copied: {', '.join(others)}"
    gc.freeze()  # no copy looks for garbage in what all share
    with socket.socket(socket.AF_UNIX) as server:
        server.bind(address)
        server.listen(64)
        os.write(1, b"ready\n")
        request = copies(server)
    if request:
        begin(request)


def copies(server: socket.socket) -> "Request | None":
    """Copy this process for each stand-in, and attend to it, until the standard input ends.

    Returns what to do in each copy, and None in this process.
    """
    running: dict[int, tuple[int, socket.socket]] = {}  # process and stand-in, by the descriptor of the process
    while True:
        asking = {asker.fileno(): number for number, (_, asker) in running.items()}
        ready, _, _ = select.select([server, 0, *running, *asking], [], [])
        if 0 in ready:
            return None
        for number in ready:
            if number in running:
                tell(number, *running.pop(number))
            elif asking.get(number) in running:
                pass_on(asking[number], running[asking[number]][1])
        if server in ready:
            asker = server.accept()[0]
            request = request_of(asker)
            if request is None:
                asker.close()  # it turns into Python
            elif (job := os.fork()) == 0:
                for other in (asker, *(other for _, other in running.values())):
                    other.close()
                return request
            else:
                running[os.pidfd_open(job)] = job, asker
                for file in request.files:
                    os.close(file)


class Request(NamedTuple):
    """What a stand-in asks for: where to run, a script and its arguments, the environment, and files 0 to 2."""

    folder: str
    words: list[str]
    environment: dict[str, str]
    files: list[int]


def request_of(asker: socket.socket) -> Request | None:
    """What a stand-in asks for, which it is told that it gets; None if this process cannot do it."""
    head, rights, _, _ = asker.recvmsg(8, socket.CMSG_SPACE(3 * array.array("i").itemsize))
    files = array.array("i", rights[0][2]).tolist()
    text = b""
    while len(text) < int.from_bytes(head, "big"):
        text += asker.recv(1 << 20)
    folder, words, environment = json.loads(text)
    if {name for name, _ in dict(os.environ).items() ^ environment.items()} - OWN:
        for file in files:
            os.close(file)
        return None
    asker.sendall(b"y")
    return Request(folder, words, environment, files)


def tell(descriptor: int, job: int, asker: socket.socket) -> None:
    """Tell a stand-in how its job ended."""
    status = os.waitstatus_to_exitcode(os.waitpid(job, 0)[1])
    os.close(descriptor)
    with asker, contextlib.suppress(OSError):  # it may be gone
        asker.sendall(bytes([status if status >= 0 else 128 - status]))


def pass_on(descriptor: int, asker: socket.socket) -> None:
    """Send a job the signals of its stand-in; kill it when that is gone."""
    for number in asker.recv(16) or [signal.SIGKILL]:
        signal.pidfd_send_signal(descriptor, number)


def begin(request: Request) -> None:
    """Turn this copy into what Python would be, run the script to its end, and end with its status."""
    folder, words, environment, files = request
    for number, file in enumerate(files):
        os.dup2(file, number)
        os.close(file)
    sys.stdin, sys.stdout = os.fdopen(0), os.fdopen(1, "w", buffering=1)
    sys.stderr = os.fdopen(2, "w", buffering=1, errors="backslashreplace")
    os.chdir(folder)
    before = os.environ.get("PYTHONPATH", "").split(os.pathsep)
    os.environ.clear()
    os.environ.update(environment)
    paths = [path for path in environment.get("PYTHONPATH", "").split(os.pathsep) if path]
    sys.path[:] = [*paths, *(path for path in sys.path[1:] if path not in before)]
    sys.argv = words
    random.seed()
    sys.modules["numpy"].random.seed()
    signal.signal(signal.SIGINT, signal.default_int_handler)
    sys.path.insert(0, str(Path(words[0]).parent))
    os._exit(status_of(words[0]))  # to take the libraries down one by one takes longer than many a job


def status_of(script: str) -> int:
    """Run a script to its end, as Python would; returns its exit status."""
    status = 0
    try:
        runpy.run_path(script, run_name="__main__")
    except SystemExit as end:
        status = end.code if isinstance(end.code, int) else int(end.code is not None)
        if isinstance(end.code, str):
            sys.stderr.write(f"{end.code}\n")
    except BaseException as error:
        traceback.print_exc()
        status = 128 + signal.SIGINT if isinstance(error, KeyboardInterrupt) else 1
    threading._shutdown()
    atexit._run_exitfuncs()
    sys.stdout.flush()
    sys.stderr.flush()
    return status


if __name__ == "__main__":
    serve(sys.argv[1], sys.argv[2:])
