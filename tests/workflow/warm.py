"""Programs that begin with their libraries loaded: most of what a job on a tiny model does is to import torch.

A process that has imported the libraries, and nothing of the workflow, waits for scripts: one process for Snakemake's,
one for those of jobs. In place of Python a stand-in is started that hands the script over; the process forks, and the
copy runs the script with the files, folder, environment and signals of the stand-in. Whatever is not such a script, or
has an environment of its own, is run by Python as ever.
"""

import array
import atexit
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
from pathlib import Path

# Those that start threads when they are imported, polars and pyarrow, cannot be copied.
JOBS = (
    "torch", "transformers.modeling_utils", "transformers.generation", "transformers.models.auto.modeling_auto",
    "transformers.models.auto.tokenization_auto", "transformers.models.llama.modeling_llama",
    "transformers.models.qwen2.modeling_qwen2", "safetensors.torch", "scipy.stats", "scipy.optimize",
    "matplotlib.pyplot", "jinja2", "jsonschema", "requests", "snakemake.script",
)  # fmt: skip
SNAKEMAKE = ("snakemake.cli", "numpy", "jinja2", "jsonschema", "yaml")

# What may differ between a job and the process that it is copied from: where things are, and what polars sets.
OWN = {"PYTHONPATH", "PWD", "OLDPWD", "SHLVL", "_", "TMPDIR", "TMP", "TEMP", "TEMPDIR", "_RJEM_MALLOC_CONF",
       "ICLSCOPE_RUN", "ICLSCOPE_CONFIG", "PYTEST_CURRENT_TEST"}  # fmt: skip
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


class Warm:
    """A waiting process of this one, started when it is first asked for; it ends with it."""

    def __init__(self, libraries: tuple[str, ...], scripts: str) -> None:
        """libraries: what it imports. scripts: part of the paths of the scripts that it runs."""
        self.libraries, self.scripts = libraries, scripts
        self.process: subprocess.Popen[bytes] | None = None

    def stand_in(self, folder: Path, environment: dict[str, str]) -> Path:
        """What is to be started in place of Python.

        folder: a short path for files of its own. environment: that of the scripts, for as long as this process lives.
        """
        file, address = folder / "python", folder / "socket"
        if self.process is None:
            folder.mkdir(parents=True, exist_ok=True)
            command = [sys.executable, __file__, str(address), *self.libraries]
            self.process = subprocess.Popen(command, env=environment, stdin=subprocess.PIPE, stdout=subprocess.PIPE)
            file.write_text(STAND_IN.format(python=sys.executable, address=str(address), scripts=self.scripts))
            file.chmod(0o755)
            atexit.register(self.process.communicate)
            assert self.process.stdout
            assert self.process.stdout.readline() == b"ready\n"
        return file


def serve(address: str, libraries: list[str]) -> None:
    """Import the libraries and run scripts, each in a copy of this process, until the standard input ends."""
    if "snakemake.cli" in libraries:
        sys.modules["pyarrow"] = None  # pandas, which the plugin for Slurm imports, does without
    for library in libraries:
        __import__(library)
    sys.modules.pop("pyarrow", None)
    assert len(os.listdir("/proc/self/task")) == 1, "a process with threads cannot be copied"
    gc.freeze()  # no copy looks for garbage in what all share
    signal.signal(signal.SIGCHLD, signal.SIG_IGN)  # nobody waits for the copies
    with socket.socket(socket.AF_UNIX) as server:
        server.bind(address)
        server.listen(64)
        os.write(1, b"ready\n")
        while True:
            ready, _, _ = select.select([server, 0], [], [])
            if 0 in ready:
                return
            stand_in = server.accept()[0]
            if os.fork() == 0:
                break
            stand_in.close()
    signal.signal(signal.SIGCHLD, signal.SIG_DFL)
    attend(stand_in)


def attend(stand_in: socket.socket) -> None:
    """Run the script that a stand-in asks for in one more copy; tell it how that ended, and pass on its signals."""
    head, rights, _, _ = stand_in.recvmsg(8, socket.CMSG_SPACE(3 * array.array("i").itemsize))
    files = array.array("i", rights[0][2])
    request = b""
    while len(request) < int.from_bytes(head, "big"):
        request += stand_in.recv(1 << 20)
    folder, words, environment = json.loads(request)
    others = dict(os.environ).items() ^ environment.items()
    if {name for name, _ in others} - OWN:
        os._exit(0)  # the stand-in turns into Python
    stand_in.sendall(b"y")
    job = os.fork()
    if job == 0:
        stand_in.close()
        begin(folder, words, environment, list(files))
        return
    watch(stand_in, job)


def begin(folder: str, words: list[str], environment: dict[str, str], files: list[int]) -> None:
    """Turn this copy into what Python would be, given `words`: a script and its arguments."""
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
    runpy.run_path(words[0], run_name="__main__")


def watch(stand_in: socket.socket, job: int) -> None:
    """Wait for the job; kill it when the stand-in is gone."""
    descriptor = os.pidfd_open(job)
    while True:
        ready, _, _ = select.select([stand_in, descriptor], [], [])
        if descriptor in ready:
            status = os.waitstatus_to_exitcode(os.waitpid(job, 0)[1])
            stand_in.sendall(bytes([status if status >= 0 else 128 - status]))
            os._exit(0)
        numbers = stand_in.recv(16)
        for number in numbers or [signal.SIGKILL]:
            signal.pidfd_send_signal(descriptor, number)


if __name__ == "__main__":
    serve(sys.argv[1], sys.argv[2:])
