"""Models and data sets from the Hugging Face hub, at a commit that is written down."""

import logging
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import datasets
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

from iclscope.errors import StudyError
from iclscope.jsonl import Row

logger = logging.getLogger(__name__)

MODEL_FILES = ("*.safetensors", "*.json", "*.model", "*.txt", "*.jinja")
# Subfolders and `consolidated` files hold the same weights in other formats.
OTHER_FORMATS = ("*/*", "consolidated*")


def download_model(repo: str, revision: str | None, key: str) -> tuple[Path, str]:
    """Fetch the safetensors, config and tokenizer files of a model into the hub's cache.

    Returns the folder in the cache and the commit. An interrupted download goes on where it stopped.
    """
    logger.info("%s: fetching %s at %s", key, repo, revision or "its default branch")
    with _in_one_sentence(repo, revision, key):
        folder = huggingface_hub.snapshot_download(
            repo, revision=revision, allow_patterns=list(MODEL_FILES), ignore_patterns=list(OTHER_FORMATS)
        )
    return Path(folder), Path(folder).name


def download_architecture(repo: str, revision: str | None, key: str) -> tuple[Path, str]:
    """Fetch the config and tokenizer files of a model, as `download_model` does, but no weights."""
    logger.info("%s: fetching config and tokenizer of %s at %s", key, repo, revision or "its default branch")
    with _in_one_sentence(repo, revision, key):
        folder = huggingface_hub.snapshot_download(
            repo,
            revision=revision,
            allow_patterns=[pattern for pattern in MODEL_FILES if "safetensors" not in pattern],
            ignore_patterns=list(OTHER_FORMATS),
        )
    return Path(folder), Path(folder).name


def download_data(repo: str, name: str | None, revision: str | None, key: str) -> tuple[dict[str, list[Row]], str]:
    """Fetch all splits of a data set, configuration `name`; returns the rows of each split and the commit."""
    logger.info("%s: fetching %s %s at %s", key, repo, name or "", revision or "its default branch")
    datasets.disable_progress_bars()
    with _in_one_sentence(repo, revision, key):
        commit = huggingface_hub.HfApi().dataset_info(repo, revision=revision).sha
        try:
            splits = datasets.load_dataset(repo, name, revision=commit)
        except (ValueError, RuntimeError, FileNotFoundError, datasets.exceptions.DatasetsError) as error:
            raise StudyError(
                f"{key}.repo: {repo} cannot be loaded ({_first_line(error)}); set {key}.name to one of its "
                f"configurations, or {key}.revision to refs/convert/parquet if it is a script"
            ) from error
    return {str(split): list(rows) for split, rows in splits.items()}, commit


@contextmanager
def _in_one_sentence(repo: str, revision: str | None, key: str) -> Iterator[None]:
    """Turn the hub's errors into one sentence that names the config key and what to do."""
    try:
        yield
    except GatedRepoError as error:
        raise StudyError(
            f"{key}.repo: {repo} is behind a licence; accept it on https://huggingface.co/{repo}, then log in with "
            "`hf auth login` or set HF_TOKEN, and rerun"
        ) from error
    except RepositoryNotFoundError as error:
        raise StudyError(
            f"{key}.repo: the hub has no {repo}, or it is private; check the spelling, or log in with "
            "`hf auth login` or set HF_TOKEN"
        ) from error
    except RevisionNotFoundError as error:
        raise StudyError(
            f"{key}.revision: {repo} has no branch, tag or commit {revision}; choose one from "
            f"https://huggingface.co/{repo}/commits"
        ) from error
    except HFValidationError as error:
        raise StudyError(f"{key}.repo: {repo!r} is not a name of the form owner/name") from error
    except HfHubHTTPError as error:
        raise StudyError(
            f"{key}.repo: the hub would not give {repo} ({_first_line(error)}); try again later"
        ) from error
    except (LocalEntryNotFoundError, ConnectionError, HTTPError) as error:
        raise StudyError(
            f"{key}.repo: cannot reach the hub for {repo} ({_first_line(error)}); check the network and "
            f"HF_HUB_OFFLINE, or put the files on this machine and set {key}.source: files"
        ) from error


def _first_line(error: Exception) -> str:
    return next(iter(str(error).splitlines()), type(error).__name__)
