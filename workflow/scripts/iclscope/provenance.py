"""Where a result came from: versions, settings and upstream files; and a digest of the code that makes it."""

import ast
import functools
import hashlib
import importlib.metadata
import json
import platform
import subprocess
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

from iclscope.files import sha256

PACKAGE = Path(__file__).parent
SCRIPTS = PACKAGE.parent

# They carry, log and write results; they do not shape them.
PLUMBING = frozenset(
    {"__init__", "devices", "errors", "files", "jobs", "logs", "parquet", "progress", "provenance", "runs"}
)

LIBRARIES = (
    "torch", "transformers", "lm_eval", "datasets", "polars", "pyarrow", "numpy", "scipy", "scikit-learn",
    "scikit-activeml", "bm25s", "sentence-transformers", "snakemake",
)  # fmt: skip


def digest(value: Any) -> str:
    """First 16 hexadecimal digits of the SHA-256 of `value` as canonical JSON."""
    text = json.dumps(value, sort_keys=True, ensure_ascii=False, default=str)
    return hashlib.sha256(text.encode()).hexdigest()[:16]


def code_digest(script: str, scripts: Path = SCRIPTS) -> str:
    """Digest of `script` and of the package modules it imports, for Snakemake's `params`.

    Taken over the syntax trees without comments and docstrings, so that only a change of behaviour counts. Snakemake
    sees a changed script, but not a changed module that the script imports. Of `tables` only the declarations that a
    module names count; a folder beside the package's modules counts where a module names it in a string.
    """
    package = scripts / "iclscope"
    parts = {f"{script}.py": _behaviour(scripts / f"{script}.py")}  # the plain name is often that of a module too
    waiting = _imports(scripts / f"{script}.py", package)
    while waiting:
        name = waiting.pop()
        if name in parts:
            continue
        if name.startswith("tables:"):
            parts[name] = _declaration(package / "tables.py", name.removeprefix("tables:"))
            continue
        file = package / f"{name}.py"
        parts[name] = _behaviour(file)
        waiting |= _imports(file, package)
        parts |= {f"{name}/{path.name}": sha256(path) for path in _named_folders(file, package)}
    return digest(parts)


def of_file(
    settings: Any, inputs: Iterable[str | Path], seed: int | None = None, dtype: str | None = None
) -> dict[str, Any]:
    """The provenance record of one output file; the same for the same code, settings, versions and inputs.

    dtype: precision of the model, for stages that run one.
    """
    return {
        "settings": settings,
        "settings_digest": digest(settings),
        "seed": seed,
        "dtype": dtype,
        "inputs": {str(path): sha256(path) for path in inputs if Path(path).is_file()},
        "git_commit": git_commit(),
        "versions": versions(),
    }


@functools.cache
def versions() -> dict[str, str]:
    """Versions of Python and of the libraries that shape results."""
    installed = {d.name for d in importlib.metadata.distributions()}
    found = {name: importlib.metadata.version(name) for name in LIBRARIES if name in installed}
    return {"python": platform.python_version(), **found}


@functools.cache
def git_commit() -> str:
    """Commit of the workflow's checkout, with `+changes` if it differs from it; `unknown` outside git."""
    try:
        commit = _git("rev-parse", "HEAD")
        return commit + ("+changes" if _git("status", "--porcelain", "--untracked-files=no") else "")
    except (OSError, subprocess.CalledProcessError):
        return "unknown"


def _git(*words: str) -> str:
    result = subprocess.run(["git", *words], cwd=PACKAGE, capture_output=True, text=True, check=True, timeout=30)
    return result.stdout.strip()


def _behaviour(file: Path) -> str:
    """The syntax tree of a file without comments, positions and docstrings."""
    return ast.dump(_tree(file.read_text(encoding="utf-8")))


@functools.cache  # stages share most modules
def _tree(text: str) -> ast.Module:
    """The syntax tree of a source text without docstrings."""
    tree = ast.parse(text)
    for node in ast.walk(tree):
        documented = isinstance(node, ast.Module | ast.ClassDef | ast.FunctionDef | ast.AsyncFunctionDef)
        if documented and ast.get_docstring(node, clean=False) is not None:
            node.body = node.body[1:] or [ast.Pass()]
    return tree


def _imports(file: Path, package: Path) -> set[str]:
    """Modules of the package that a file imports, at its top or inside a function; `tables:NAME` for declarations."""
    modules: set[str] = set()
    for node in ast.walk(_tree(file.read_text(encoding="utf-8"))):
        if isinstance(node, ast.Import):
            modules |= {a.name.removeprefix("iclscope.") for a in node.names if a.name.startswith("iclscope.")}
        elif isinstance(node, ast.ImportFrom) and node.module == "iclscope":
            modules |= {alias.name for alias in node.names}
        elif isinstance(node, ast.ImportFrom) and node.module == "iclscope.tables":
            modules |= {f"tables:{alias.name}" for alias in node.names}
        elif isinstance(node, ast.ImportFrom) and (node.module or "").startswith("iclscope."):
            modules.add(node.module.removeprefix("iclscope."))
    return {m for m in modules if m not in PLUMBING and (m.startswith("tables:") or (package / f"{m}.py").is_file())}


def _declaration(file: Path, name: str) -> str:
    """A top-level definition of a file together with the top-level definitions it uses."""
    tree = _tree(file.read_text(encoding="utf-8"))
    top: Mapping[str, ast.stmt] = {
        target: node
        for node in tree.body
        for target in (
            [node.name]
            if isinstance(node, ast.FunctionDef | ast.ClassDef)
            else [t.id for t in getattr(node, "targets", []) if isinstance(t, ast.Name)]
        )
    }
    used, waiting = {}, {name}
    while waiting:
        current = waiting.pop()
        used[current] = ast.dump(top[current])
        names = {node.id for node in ast.walk(top[current]) if isinstance(node, ast.Name)}
        waiting |= {n for n in names if n in top} - used.keys()
    return json.dumps(used, sort_keys=True)


def _named_folders(file: Path, package: Path) -> list[Path]:
    """Files of the package's data folders that a module names in a string."""
    strings = {
        node.value
        for node in ast.walk(_tree(file.read_text(encoding="utf-8")))
        if isinstance(node, ast.Constant) and isinstance(node.value, str) and node.value.isidentifier()
    }
    folders = [package / s for s in sorted(strings) if (package / s).is_dir() and s != "__pycache__"]
    return [path for folder in folders for path in sorted(folder.iterdir()) if path.is_file()]
