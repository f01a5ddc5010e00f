"""A whole study on a tiny random model, in a folder of its own with a copy of the workflow."""

import functools
import hashlib
import json
import os
import re
import shutil
import signal
import subprocess
import sys
import tempfile
from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import yaml

import warm
from iclscope.runtime.code_digest import of_scripts
from tiny import build_model, build_tokenizer

ROOT = Path(__file__).parents[2]
PARTS = ("Snakefile", "workflow", "config", "profiles", "envs")
TIMEOUT = 1800  # seconds that a run may take, on a machine that does other things too
PLACE = "        temporary.chmod(0o644)"  # where a file is about to take its final place
WAIT = """\
        import time

        if Path("hold").exists() and str(path) == Path("hold").read_text():
            Path("hold").unlink()
            Path("held").write_text(str(os.getpid()))
            while not Path("go").exists():
                time.sleep(0.05)
"""

# Starts Snakemake, which takes `python` for the Python that jobs run in.
PROGRAM = "import sys; sys.executable = {python!r}; from snakemake.cli import main; main()"
FOLDER = Path(tempfile.gettempdir(), f"iclscope-warm-{os.getpid()}")


def stand_ins() -> tuple[Path, Path]:
    """The program that starts Snakemake and the Python that runs it; warm where Linux is, as are its jobs then."""
    if sys.platform != "linux":
        return _program(FOLDER, sys.executable), Path(sys.executable)
    return _warm(json.dumps({name: value for name, value in os.environ.items() if name not in warm.OWN}))


@functools.cache
def _warm(variables: str) -> tuple[Path, Path]:
    """The same with processes that wait in this environment, which a test may change."""
    seed = yaml.safe_load((ROOT / "config/config.yaml").read_text())["seed"]
    environment = {**os.environ, "OMP_NUM_THREADS": "1"}
    of_jobs = {**environment, **warm.THREADS, "PYTHONHASHSEED": str(seed)}
    folder = FOLDER / hashlib.sha256(variables.encode()).hexdigest()[:8]
    program = _program(folder, warm.stand_in(warm.JOBS, "/.snakemake/scripts/", folder / "jobs", of_jobs))
    return program, warm.stand_in(warm.SNAKEMAKE, str(program), folder / "main", environment)


def snakemake_command() -> list[str | Path]:
    """What stands for `python -m snakemake`, and does the same."""
    program, python = stand_ins()
    return [python, program]


def _program(folder: Path, python: str | Path) -> Path:
    folder.mkdir(parents=True, exist_ok=True)
    (folder / "program.py").write_text(PROGRAM.format(python=str(python)))
    return folder / "program.py"


@dataclass(frozen=True)
class Study:
    """A copy of the workflow with a configuration of its own."""

    folder: Path

    @property
    def config(self) -> dict[str, Any]:
        return yaml.safe_load((self.folder / "config/config.yaml").read_text())

    def configure(self, change: Callable[[dict[str, Any]], Any]) -> None:
        """Apply `change` to the configuration."""
        config = self.config
        change(config)
        (self.folder / "config/config.yaml").write_text(yaml.safe_dump(config, sort_keys=False))

    def edit(self, file: str, old: str, new: str) -> None:
        """Replace text in a file of the workflow."""
        path = self.folder / file
        text = path.read_text()
        assert old in text
        path.write_text(text.replace(old, new, 1))

    def snakemake(self, *words: str) -> subprocess.CompletedProcess[str]:
        process = self._begin(stand_ins()[1], *words)
        try:
            output, errors = process.communicate(timeout=TIMEOUT)
        except subprocess.TimeoutExpired:
            os.killpg(process.pid, signal.SIGKILL)
            process.communicate()
            raise
        return subprocess.CompletedProcess(process.args, process.returncode, output, errors)

    def start(self, *words: str) -> subprocess.Popen[str]:
        """Begin a run in a process group of its own, as a shell does."""
        return self._begin(Path(sys.executable), *words)

    def _begin(self, python: Path, *words: str) -> subprocess.Popen[str]:
        program, _ = stand_ins()
        return subprocess.Popen(
            [python, program, "--cores", "2", "--scheduler", "greedy", *words],  # no program that solves equations
            cwd=self.folder,
            env={**os.environ, "PYTHONPATH": str(self.folder / "workflow/scripts"), "OMP_NUM_THREADS": "1"},
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
            start_new_session=True,
        )

    def run(self, *words: str) -> None:
        result = self.snakemake(*words)
        assert result.returncode == 0, result.stdout[-3000:] + result.stderr[-6000:]

    def planned(self, *words: str) -> Counter[str]:
        """How often each rule would run now."""
        result = self.snakemake("--dry-run", *words)
        assert result.returncode == 0, result.stderr[-6000:]
        text = result.stdout + result.stderr
        table = re.search(r"Job stats:\njob +count\n[- ]+\n(.*?)\ntotal", text, re.DOTALL)
        counts = Counter({name: int(n) for name, n in re.findall(r"(\w+) +(\d+)", table[1])} if table else {})
        del counts["all"]
        return counts

    def hold(self, target: str) -> None:
        """Let the next job that makes `target` wait, just before the file takes its place, for `let_go`."""
        self.edit("workflow/scripts/iclscope/runtime/files.py", PLACE, WAIT + PLACE)
        (self.folder / "hold").write_text(target)

    @property
    def held(self) -> int | None:
        """The process of the job that waits."""
        note = self.folder / "held"
        return int(note.read_text() or 0) or None if note.exists() else None

    def let_go(self) -> None:
        """Let the job that waits go on."""
        (self.folder / "go").touch()

    def times(self, pattern: str) -> dict[str, int]:
        """When each result was last written, in nanoseconds."""
        return {str(p.relative_to(self.folder)): p.stat().st_mtime_ns for p in self.folder.glob(pattern)}

    def contents(self, pattern: str) -> dict[str, bytes]:
        return {str(p.relative_to(self.folder)): p.read_bytes() for p in self.folder.glob(pattern)}


def choice_rows(start: int, count: int) -> list[dict[str, Any]]:
    """Rows in the schema of BoolQ."""
    animals = ["whale", "trout", "bat", "eagle", "frog", "horse"]
    return [
        {
            "passage": f"The {animals[i % 6]} number {i} lives near lake {i * 7 % 13}.",
            "question": f"is the {animals[i % 6]} number {i} a fish",
            "idx": i,
            "label": int(i % 6 == 1),
        }
        for i in range(start, start + count)
    ]


def sum_rows(count: int) -> list[dict[str, Any]]:
    """Rows in the schema of ASDiv."""
    return [
        {
            "body": f"Anna has {i} apples and buys {i % 5 + 1} more.",
            "question": "How many apples has she?",
            "answer": f"{i + i % 5 + 1} (apples)",
        }
        for i in range(count)
    ]


def write_rows(path: Path, rows: list[dict[str, Any]]) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text("".join(json.dumps(row) + "\n" for row in rows), encoding="utf-8")


def tiny_config() -> dict[str, Any]:
    """The default configuration made small: a random model, two data sets of local rows, two masks."""
    config = yaml.safe_load((ROOT / "config/config.yaml").read_text())
    config["models"] = {"tiny": {"source": "files", "path": "local/tiny", "dtype": "float32"}}
    sizes = {"candidates": 8, "items": 8}
    config["datasets"] = {
        "animals": {
            "task": "boolq",
            "source": "files",
            "files": {"train": "local/train.jsonl", "validation": "local/validation.jsonl"},
            "max_tokens": {"candidates": 100, "items": 100, "tokenizer": "tiny"},
            **sizes,
        },
        "sums": {
            "task": "asdiv_generate",
            "source": "files",
            "files": {"validation": "local/sums.jsonl"},
            "max_new_tokens": 3,
            **sizes,
        },
    }
    del config["saes"], config["selection"]["sae"]  # with them every study would train one
    del config["features"]["encoder"]  # a wheel of 84 MB
    config["masks"] = ["causal", "self_only"]
    del config["shots"], config["learning"], config["representations"], config["budget"]
    config["evaluation"]["block"] = {"candidates": 4, "items": 8}
    config["correlation"] |= {"permutations": 200, "bootstrap": 100}
    config["selection"] |= {"splits": 4, "bootstrap": 100, "selectors": ["random", "search_half", "search_4", "length"]}
    return config


def build_study(folder: Path) -> Study:
    """Copy the workflow to `folder` and give it the tiny study."""
    for part in PARTS:
        source, target = ROOT / part, folder / part
        if source.is_dir():
            shutil.copytree(source, target, ignore=shutil.ignore_patterns("__pycache__"))
        else:
            target.parent.mkdir(parents=True, exist_ok=True)
            shutil.copy2(source, target)
    model = folder / "local/tiny"
    build_model("llama").save_pretrained(model)
    build_tokenizer().save_pretrained(model)
    write_rows(folder / "local/train.jsonl", choice_rows(0, 40))
    write_rows(folder / "local/validation.jsonl", choice_rows(100, 40))
    write_rows(folder / "local/sums.jsonl", sum_rows(60))
    (folder / "config/config.yaml").write_text(yaml.safe_dump(tiny_config(), sort_keys=False))
    (folder / ".snakemake").mkdir()
    (folder / ".snakemake/iclscope.code.json").write_bytes(code_digests())
    return Study(folder)


@functools.cache
def code_digests() -> bytes:
    """What a study keeps of the digests of its code, as every study that has the workflow as it is would find them."""
    with tempfile.TemporaryDirectory() as folder:
        memory = Path(folder, "code.json")
        of_scripts(memory)
        return memory.read_bytes()
