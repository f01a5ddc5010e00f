"""The hub is played by replaced functions: what it would answer, and what the user is told."""

from types import SimpleNamespace

import datasets
import huggingface_hub
import pytest
from huggingface_hub.errors import (
    GatedRepoError,
    HfHubHTTPError,
    HFValidationError,
    HTTPError,
    LocalEntryNotFoundError,
    OfflineModeIsEnabled,
    RepositoryNotFoundError,
    RevisionNotFoundError,
)

from iclscope.runtime.errors import StudyError
from iclscope.sources import hub

COMMIT = "0123456789abcdef0123456789abcdef01234567"


# The least of an HTTP answer that the hub's errors ask for.
ANSWER = SimpleNamespace(headers={}, request=None, status_code=503)


def refuse(error):
    def call(*_, **__):
        raise error

    return call


REFUSALS = [
    (GatedRepoError("gated", response=ANSWER), "models.m.repo", "hf auth login"),
    (RepositoryNotFoundError("404", response=ANSWER), "models.m.repo", "spelling"),
    (RevisionNotFoundError("404", response=ANSWER), "models.m.revision", "no branch, tag or commit v9"),
    (HFValidationError("bad name"), "models.m.repo", "owner/name"),
    (HfHubHTTPError("503 Service Unavailable", response=ANSWER), "models.m.repo", "503 Service Unavailable"),
    (LocalEntryNotFoundError("no connection"), "models.m.repo", "source: files"),
    (OfflineModeIsEnabled("offline"), "models.m.repo", "HF_HUB_OFFLINE"),
    (ConnectionError("refused"), "models.m.repo", "check the network"),
    (HTTPError("[Errno 111] Connection refused"), "models.m.repo", "check the network"),
]


@pytest.mark.parametrize(("error", "key", "advice"), REFUSALS, ids=lambda value: type(value).__name__)
def test_refusal_for_a_model_names_the_key_and_the_way_out(monkeypatch, error, key, advice):
    monkeypatch.setattr(huggingface_hub, "snapshot_download", refuse(error))
    with pytest.raises(StudyError) as caught:
        hub.download_model("owner/model", "v9", "models.m")
    message = str(caught.value)
    assert message.startswith(f"{key}: ")
    assert "owner/model" in message
    assert advice in message
    assert "\n" not in message


@pytest.mark.parametrize(("error", "key", "advice"), REFUSALS, ids=lambda value: type(value).__name__)
def test_refusal_for_data_names_the_key_and_the_way_out(monkeypatch, error, key, advice):
    monkeypatch.setattr(huggingface_hub.HfApi, "dataset_info", refuse(error))
    with pytest.raises(StudyError) as caught:
        hub.download_data("owner/data", None, "v9", "datasets.d")
    assert str(caught.value).startswith(key.replace("models.m", "datasets.d") + ": ")
    assert advice in str(caught.value)


def test_model_comes_without_other_formats_and_with_its_commit(monkeypatch, tmp_path):
    asked = {}

    def download(repo, **options):
        asked.update(options, repo=repo)
        return str(tmp_path / COMMIT)

    monkeypatch.setattr(huggingface_hub, "snapshot_download", download)
    folder, commit = hub.download_model("owner/model", "main", "models.m")
    assert (folder, commit) == (tmp_path / COMMIT, COMMIT)
    wanted = ["config.json", "model-00001-of-00002.safetensors", "tokenizer.model", "merges.txt", "chat_template.jinja"]
    others = ["original/params.json", "onnx/model.safetensors", "consolidated.safetensors", "pytorch_model.bin"]
    chosen = huggingface_hub.utils.filter_repo_objects(
        wanted + others,
        allow_patterns=asked["allow_patterns"],
        ignore_patterns=asked["ignore_patterns"],
    )
    assert list(chosen) == wanted
    assert (asked["repo"], asked["revision"]) == ("owner/model", "main")


def test_architecture_comes_without_weights(monkeypatch, tmp_path):
    asked = {}
    monkeypatch.setattr(
        huggingface_hub, "snapshot_download", lambda repo, **options: asked.update(options) or str(tmp_path / COMMIT)
    )
    assert hub.download_model("owner/model", None, "models.m", hub.ARCHITECTURE_FILES) == (tmp_path / COMMIT, COMMIT)
    wanted = ["config.json", "tokenizer.json", "tokenizer.model"]
    weights = ["model.safetensors", "model-00001-of-00002.safetensors", "pytorch_model.bin", "original/params.json"]
    chosen = huggingface_hub.utils.filter_repo_objects(
        wanted + weights, allow_patterns=asked["allow_patterns"], ignore_patterns=asked["ignore_patterns"]
    )
    assert list(chosen) == wanted


def info(_, repo, revision=None):
    return huggingface_hub.DatasetInfo(id=repo, sha=COMMIT, tags=[], downloads=0, likes=0, private=False, siblings=[])


def test_data_comes_at_the_commit_that_is_written_down(monkeypatch):
    asked = []

    def load(repo, name, revision, cache_dir):
        asked.append((repo, name, revision))
        rows = [{"question": "q", "choices": {"text": ["a", "b"]}}]
        return datasets.DatasetDict({"train": datasets.Dataset.from_list(rows * 2)})

    monkeypatch.setattr(huggingface_hub.HfApi, "dataset_info", info)
    monkeypatch.setattr(datasets, "load_dataset", load)
    splits, commit = hub.download_data("owner/data", "main", "v1", "datasets.d")
    assert splits == {"train": [{"question": "q", "choices": {"text": ["a", "b"]}}] * 2}
    assert commit == COMMIT
    assert asked == [("owner/data", "main", COMMIT)]


def test_wrong_configuration_of_data_is_explained(monkeypatch):
    monkeypatch.setattr(huggingface_hub.HfApi, "dataset_info", info)
    monkeypatch.setattr(
        datasets, "load_dataset", refuse(ValueError("BuilderConfig 'x' not found. Available: ['main', 'socratic']"))
    )
    with pytest.raises(StudyError) as caught:
        hub.download_data("owner/data", "x", None, "datasets.d")
    assert str(caught.value).startswith("datasets.d.repo: ")
    assert "socratic" in str(caught.value)
    assert "datasets.d.name" in str(caught.value)


def test_a_file_of_which_the_hub_gives_no_checksum_is_told(tmp_path, caplog):
    (tmp_path / "config.json").write_text("{}")
    with caplog.at_level("WARNING", "iclscope"):
        hub.check_snapshot(tmp_path, "models.m.repo: owner/model")
    assert "models.m.repo: owner/model: the checksum of config.json is not known" in caplog.text
