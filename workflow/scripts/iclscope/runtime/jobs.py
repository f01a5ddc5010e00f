"""What every job of the workflow does around its stage: log, provenance, signals, and errors in one sentence.

And the values that stages take together, made of what Snakemake says about a job.
"""

import errno
import logging
import signal
import sys
from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any, NamedTuple

from iclscope.runtime import logs, provenance
from iclscope.runtime.code_digest import registries
from iclscope.runtime.configuration import task_files
from iclscope.runtime.errors import MEMORY_WORDS, StudyError

logger = logging.getLogger(__name__)

FULL = {errno.ENOSPC, errno.EDQUOT, errno.EFBIG}
FULL_WORDS = ("no space left on device", "disk quota exceeded", "file too large")


class PreparedModel(NamedTuple):
    """A prepared model: its folder, the precision of its weights and the device that runs it (`auto` picks one)."""

    folder: str | Path
    dtype: str = "float32"
    device: str = "auto"

    @property
    def name(self) -> str:
        """Its name in the config."""
        return Path(self.folder).name


class Task(NamedTuple):
    """The task of a data set: name, folder of its file, if it has one, config key of the data set for errors."""

    name: str
    folder: str | Path
    key: str


class Job(NamedTuple):
    """What a stage's outputs come from: the seed, where the rule's params name it, and their provenance record."""

    seed: int
    provenance: Mapping[str, Any]


def folder_of(source: str | Path) -> Path:
    """The folder of a `source.json`, which stands for all that was prepared beside it."""
    return Path(source).parent


def by_name(names: Iterable[str], files: Iterable[str]) -> dict[str, str]:
    """Name → file, from as many names and files in the same order."""
    return dict(zip(names, files, strict=True))


def by_stem(files: Iterable[str]) -> dict[str, str]:
    """Name → file, from files that are named after what they are of."""
    return {Path(file).stem: file for file in files}


def task(snakemake: Any) -> Task:
    """The task that the `settings` of a rule name, for the data set of its wildcards."""
    return task_of(snakemake.params.settings, snakemake.wildcards.dataset)


def task_of(settings: Mapping[str, Any], dataset: str) -> Task:
    """The task that the settings of a data set name."""
    return Task(settings["task"], task_files.folder(settings["task"]), f"datasets.{dataset}")


def present(snakemake: Any, *names: str) -> dict[str, Any]:
    """Those inputs of a rule by name; None for one that this job has not."""
    return {name: snakemake.input.get(name) or None for name in names}


def prepared_model(snakemake: Any) -> PreparedModel:
    """The model that is among the inputs of a rule, with the `dtype` of its params."""
    return PreparedModel(folder_of(snakemake.input.model), snakemake.params.dtype, snakemake.config["device"])


def reading(snakemake: Any) -> dict[str, Any]:
    """How the study will read activations off the model of a rule's wildcards: masks, sites and dtype."""
    config = snakemake.config
    masks, sites = config["masks"], config["activations"]["sites"]
    return {"masks": masks, "sites": sites, "dtype": config["models"][snakemake.wildcards.model]["dtype"]}


def only_refuses(check: Callable[..., None]) -> Callable[..., None]:
    """`check` itself, which may end a job and shapes nothing: the digest of the rule's code passes over it."""
    return check


def section(snakemake: Any, name: str) -> dict[str, Any]:
    """A section of the config, with the `settings` of the rule: those that shape its outputs, and the others."""
    return {**snakemake.config[name], **snakemake.params.settings}


@contextmanager
def job(snakemake: Any, settings: Any = None) -> Iterator[Job]:
    """Run the block as a Snakemake job: yield what its outputs come from, and log to the rule's log file.

    settings: what shapes the outputs, where the rule's params have no `settings`.

    A `StudyError` ends the job with its one sentence, and so does a full disk or memory; anything else keeps its
    traceback, in the log too. A job that is asked to terminate takes its unfinished files away first. Functions of the
    study's own that the stage may use are registered before it begins.
    """
    with logs.to_file(snakemake.log[0]), _tidy_end():
        try:
            load_extensions()
            made = provenance.of_file(
                settings=snakemake.params.get("settings", settings),
                inputs=snakemake.input,
                seed=snakemake.config["seed"],
                dtype=snakemake.params.get("dtype"),
            )
            yield Job(snakemake.params.get("seed"), made)
        except StudyError as error:
            logger.error("%s", error)
            sys.exit(1)
        except Exception as error:
            logger.exception("rule %s failed", snakemake.rule)
            sentence = _exhausted(error) or _in_extension(error)
            if sentence is None:
                raise
            logger.error("rule %s: %s", snakemake.rule, sentence)
            sys.exit(1)


def extension_files() -> list[Path]:
    """Python files with functions of the study's own: beside its configuration, and of the workflow."""
    folders = dict.fromkeys((folder / "extensions").resolve() for folder in task_files.config_folders())
    return [file for folder in folders for file in sorted(folder.glob("*.py"))]


def load_extensions() -> None:
    """Run those of the study's own files that register something in a module which this process has imported.

    Others are left alone: what they import may be missing from the environment of this stage, and takes time.
    """
    for file in extension_files():
        if registries(file) & sys.modules.keys():
            try:
                exec(compile(file.read_bytes(), file, "exec"), {"__name__": file.stem, "__file__": str(file)})
            except Exception as error:
                raise StudyError(_in_extension(error) or f"{file}: {type(error).__name__}: {error}") from error


def _in_extension(error: BaseException) -> str | None:
    """The sentence for an error in a file of the study's own, with the last line of it that was at work."""
    place, step = None, error.__traceback__
    while step is not None:
        file = step.tb_frame.f_code.co_filename
        place = (file, step.tb_lineno) if Path(file).parent.name == "extensions" else place
        step = step.tb_next
    return place and f"{place[0]}, line {place[1]}: {type(error).__name__}: {error}; mend the file"


@contextmanager
def _tidy_end() -> Iterator[None]:
    """Let SIGTERM end the block as an error would, so that its `finally` clauses run."""
    before = signal.signal(signal.SIGTERM, lambda number, _: sys.exit(128 + number))
    try:
        yield
    finally:
        signal.signal(signal.SIGTERM, before)


def _exhausted(error: BaseException | None) -> str | None:
    """The sentence for an error that comes of a full disk or memory, however libraries wrap it."""
    while error is not None:
        text = str(error).lower()
        if getattr(error, "errno", None) in FULL or any(words in text for words in FULL_WORDS):
            return f"no space is left for its output ({error}); free some or move the folder, then rerun"
        if isinstance(error, MemoryError) or any(words in text for words in MEMORY_WORDS):
            return (
                f"memory is not enough ({str(error).splitlines()[0] if text else 'MemoryError'}); lower batch_tokens "
                "or evaluation.block, or use a machine with more, then rerun"
            )
        error = error.__cause__ or error.__context__
    return None
