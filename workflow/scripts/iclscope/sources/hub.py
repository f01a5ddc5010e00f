"""Models and data sets from the Hugging Face hub, at a commit that is written down, with every checksum checked."""

import hashlib
import logging
import re
import tempfile
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path

import huggingface_hub
from huggingface_hub.errors import (
    GatedRepoError,
    HfHubHTTPError,
    HFValidationError,
    HTTPError,
    LocalEntryNotFoundError,
    RepositoryNotFoundError,
    RevisionNotFoundError,
)

from iclscope.runtime.errors import StudyError, first_line
from iclscope.runtime.files import sha256
from iclscope.tasks.rows import Row

logger = logging.getLogger(__name__)

HUB = "https://huggingface.co"

ARCHITECTURE_FILES = ("*.json", "*.model", "*.txt", "*.jinja")  # config and tokenizer
MODEL_FILES = ("*.safetensors", *ARCHITECTURE_FILES)
PICKLED_WEIGHTS = ("*.bin",)
CODE = ("*.py",)  # of models that transformers does not know
# Subfolders and `consolidated` files hold the same weights in other formats.
OTHER_FORMATS = ("*/*", "consolidated*")


def download_model(
    repo: str, revision: str | None, key: str, patterns: Sequence[str] = MODEL_FILES
) -> tuple[Path, str]:
    """Fetch those files of a model that match `patterns` into the hub's cache.

    Returns the folder in the cache and the commit. After an interruption, files that are whole are not fetched again.
    """
    return _snapshot(repo, revision, key, patterns, OTHER_FORMATS)


def download_folder(repo: str, folder: str, names: Sequence[str], revision: str, key: str) -> tuple[Path, str]:
    """Fetch files of one folder of a repository, as `download_model` does; refuses a folder that lacks one of them."""
    snapshot, commit = _snapshot(repo, revision, key, [f"{folder}/{name}" for name in names])
    if missing := [name for name in names if not (snapshot / folder / name).is_file()]:
        raise StudyError(
            f"{key}.folder: {repo} has no {' or '.join(missing)} in {folder}; correct folder or format, see "
            f"{HUB}/{repo}/tree/{commit}"
        )
    return snapshot / folder, commit


def _snapshot(
    repo: str, revision: str | None, key: str, patterns: Sequence[str], ignored: Sequence[str] = ()
) -> tuple[Path, str]:
    """Fetch those files of a repository that match patterns; the folder in the hub's cache, and the commit."""
    logger.info("%s: fetching %s at %s", key, repo, revision or "its default branch")
    with _in_one_sentence(repo, revision, key, f"{HUB}/{repo}"):
        folder = huggingface_hub.snapshot_download(
            repo, revision=revision, allow_patterns=list(patterns), ignore_patterns=list(ignored)
        )
    check_snapshot(Path(folder), f"{key}.repo: {repo}")
    return Path(folder), Path(folder).name


def download_data(repo: str, name: str | None, revision: str | None, key: str) -> tuple[dict[str, list[Row]], str]:
    """Fetch all splits of a data set, configuration `name`; returns the rows of each split and the commit."""
    import datasets  # takes a second, and models need none of it

    logger.info("%s: fetching %s %s at %s", key, repo, name or "", revision or "its default branch")
    datasets.disable_progress_bars()
    # Tables built of the files live no longer than this call: the cache would keep those of files that arrived damaged.
    page = f"{HUB}/datasets/{repo}"
    with _in_one_sentence(repo, revision, key, page), tempfile.TemporaryDirectory() as scratch:
        commit = huggingface_hub.HfApi().dataset_info(repo, revision=revision).sha
        if commit is None:
            raise StudyError(f"{key}.repo: the hub names no commit of {repo}; set {key}.revision to one")
        cache = Path(huggingface_hub.constants.HF_HUB_CACHE, f"datasets--{repo.replace('/', '--')}", "snapshots")
        try:
            splits = datasets.load_dataset(repo, name, revision=commit, cache_dir=scratch)
        except datasets.exceptions.DatasetNotFoundError as error:  # it is there, since its commit is known
            raise StudyError(_behind_a_licence(repo, key, page)) from error
        except (ValueError, RuntimeError, FileNotFoundError, datasets.exceptions.DatasetsError) as error:
            check_snapshot(cache / commit, f"{key}.repo: {repo}")
            raise StudyError(
                f"{key}.repo: {repo} cannot be loaded ({first_line(error)}); set {key}.name to one of its "
                f"configurations, or {key}.revision to refs/convert/parquet if it is a script"
            ) from error
        check_snapshot(cache / commit, f"{key}.repo: {repo}")
        return {str(split): list(rows) for split, rows in splits.items()}, commit


def check_snapshot(folder: Path, source: str) -> None:
    """Compare every file of a snapshot in the hub's cache with its checksum; one that differs is thrown away.

    The cache names a file after what the hub says of its content: the SHA-256 of large files, git's SHA-1 of others.
    source: how an error begins. Raises StudyError with the first file that differs.
    """
    for path in sorted(path for path in folder.rglob("*") if path.is_file()):
        content = path.resolve()
        if re.fullmatch("[0-9a-f]{64}", content.name):
            found = sha256(content)
        elif re.fullmatch("[0-9a-f]{40}", content.name):
            data = content.read_bytes()
            found = hashlib.sha1(b"blob %d\0" % len(data) + data).hexdigest()
        else:  # a server that gives no checksum, or a system without links
            logger.warning("%s: the checksum of %s is not known", source, path.name)
            continue
        if found != content.name:
            path.unlink()
            content.unlink(missing_ok=True)
            raise StudyError(
                f"{source}: {path.relative_to(folder)} has the checksum {found}, but the hub says {content.name}; it "
                "is thrown away, rerun to fetch it again"
            )


@contextmanager
def _in_one_sentence(repo: str, revision: str | None, key: str, page: str) -> Iterator[None]:
    """Turn the hub's errors into one sentence that names the config key and what to do.

    page: where a browser shows the repository.
    """
    try:
        yield
    except GatedRepoError as error:
        raise StudyError(_behind_a_licence(repo, key, page)) from error
    except RepositoryNotFoundError as error:
        raise StudyError(
            f"{key}.repo: the hub has no {repo}, or it is private; check the spelling, or log in with "
            "`hf auth login` or set HF_TOKEN"
        ) from error
    except RevisionNotFoundError as error:
        raise StudyError(
            f"{key}.revision: {repo} has no branch, tag or commit {revision}; choose one from {page}/commits"
        ) from error
    except HFValidationError as error:
        raise StudyError(f"{key}.repo: {repo!r} is not a name of the form owner/name") from error
    except HfHubHTTPError as error:
        raise StudyError(f"{key}.repo: the hub would not give {repo} ({first_line(error)}); try again later") from error
    except (LocalEntryNotFoundError, ConnectionError, HTTPError, TimeoutError) as error:
        raise StudyError(
            f"{key}.repo: cannot reach the hub for {repo} ({first_line(error)}); check the network and "
            f"HF_HUB_OFFLINE, or put the files on this machine and set {key}.source: files"
        ) from error
    except OSError as error:
        if error.errno is not None:  # of this machine, such as a full disk
            raise
        raise StudyError(f"{key}.repo: {repo} did not arrive whole ({first_line(error)}); rerun") from error


def _behind_a_licence(repo: str, key: str, page: str) -> str:
    return (
        f"{key}.repo: {repo} is behind a licence; accept it on {page}, then log in with `hf auth login` or set "
        "HF_TOKEN, and rerun"
    )
