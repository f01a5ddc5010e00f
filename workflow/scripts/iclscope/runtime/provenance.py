"""Where a result came from: versions, settings and upstream files."""

import contextlib
import functools
import hashlib
import importlib.metadata
import json
import platform
import subprocess
from collections.abc import Iterable
from pathlib import Path
from typing import Any

from iclscope.runtime.files import sha256

PACKAGE = Path(__file__).parent

LIBRARIES = (
    "torch", "transformers", "lm_eval", "datasets", "polars", "pyarrow", "numpy", "scipy", "scikit-learn",
    "scikit-activeml", "bm25s", "sentence-transformers", "snakemake",
)  # fmt: skip


def digest(value: Any) -> str:
    """First 16 hexadecimal digits of the SHA-256 of `value` as canonical JSON."""
    text = json.dumps(value, sort_keys=True, ensure_ascii=False, default=str)
    return hashlib.sha256(text.encode()).hexdigest()[:16]


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
    found = {"python": platform.python_version()}
    for name in LIBRARIES:
        with contextlib.suppress(importlib.metadata.PackageNotFoundError):
            found[name] = importlib.metadata.version(name)
    return found


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
