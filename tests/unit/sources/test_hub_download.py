"""Models and data sets fetched from a hub: a server on this machine that speaks its HTTP interface."""

import hashlib
import io
import json
import multiprocessing
import random
from concurrent.futures import ProcessPoolExecutor
from pathlib import Path

import huggingface_hub
import polars as pl
import pytest

from hub_server import Hub, with_token
from iclscope.engine import models
from iclscope.plan import calibration, workload
from iclscope.runtime.errors import StudyError
from iclscope.runtime.files import sha256
from iclscope.runtime.jobs import Task
from iclscope.saes import published
from iclscope.saes.dictionary import load
from iclscope.sources import prepare_data, prepare_model
from iclscope.tasks.rows import read_rows
from preparing import source_of
from tiny import build_model, build_tokenizer

ROWS = [{"question": f"is {i} odd", "passage": f"Passage {i}.", "label": i % 2} for i in range(6)]
TASKS = Path(__file__).parents[3] / "config/tasks"


def parquet(rows):
    buffer = io.BytesIO()
    pl.DataFrame(rows).write_parquet(buffer)
    return buffer.getvalue()


@pytest.fixture(scope="module")
def files(tmp_path_factory):
    """A tiny model as a repository holds it."""
    folder = tmp_path_factory.mktemp("model")
    build_model("llama").save_pretrained(folder)
    build_tokenizer().save_pretrained(folder)
    return {path.name: path.read_bytes() for path in folder.iterdir()}


@pytest.fixture(scope="module")
def hub():
    server = Hub()
    yield server
    server.shutdown()
    server.server_close()


def client(endpoint, home):
    """A process whose libraries know the hub of this address, which they read when they are imported."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("HF_ENDPOINT", endpoint)
        patch.setenv("HF_HOME", str(home))
        patch.setenv("HF_HUB_DISABLE_TELEMETRY", "1")
        for name in ("HF_HUB_OFFLINE", "HF_TOKEN", "HF_HUB_CACHE", "HUGGING_FACE_HUB_TOKEN"):
            patch.delenv(name, raising=False)
        pool = ProcessPoolExecutor(1, mp_context=multiprocessing.get_context("spawn"))
        pool.submit(len, "").result()
    return pool


@pytest.fixture(scope="module")
def user(hub, tmp_path_factory):
    with client(hub.address, tmp_path_factory.mktemp("home")) as pool:
        yield pool


def fetch_model(user, folder, repo, token=None, **settings):
    call = {"name": "m", "settings": {"source": "hub", "repo": repo, **settings}, "wheel": None, "model_out": folder}
    return user.submit(with_token, token, prepare_model.run, **call).result(timeout=120)


def fetch_data(user, folder, repo, token=None, **settings):
    settings = {"source": "hub", "task": "boolq", "repo": repo, **settings}
    call = {"task": Task("boolq", TASKS, "datasets.d"), "settings": settings, "wheel": None, "data_out": folder}
    return user.submit(with_token, token, prepare_data.run, **call).result(timeout=120)


FETCH = {"model": fetch_model, "dataset": fetch_data}
KINDS = pytest.mark.parametrize("kind", FETCH)
KEY = {"model": "models.m", "dataset": "datasets.d"}


@pytest.fixture
def content(kind, files):
    """Files of a repository of either kind."""
    return files if kind == "model" else {"data/train.parquet": parquet(ROWS), "data/test.parquet": parquet(ROWS[:2])}


@pytest.fixture
def large(kind):
    return "model.safetensors" if kind == "model" else "data/train.parquet"


def refusal(fetch, *arguments, **settings):
    with pytest.raises(StudyError) as caught:
        fetch(*arguments, **settings)
    assert "\n" not in str(caught.value)
    assert not arguments[1].exists()
    return str(caught.value)


@KINDS
def test_public_repository_at_its_commit(hub, user, tmp_path, kind, content):
    repository = hub.add(kind, f"open/{kind}")
    repository.commit({**content, "README.md": b"# Old"}, "v1")
    commit = repository.commit({**content, "README.md": b"# New"}, "main")
    FETCH[kind](user, tmp_path / "x", f"open/{kind}")
    record = source_of(tmp_path / "x")
    assert (record["repo"], record["commit"]) == (f"open/{kind}", commit)
    if kind == "model":
        assert record["weights"] == {"model.safetensors": sha256(tmp_path / "x/model.safetensors")}
        assert (tmp_path / "x/model.safetensors").read_bytes() == content["model.safetensors"]
        models.load(tmp_path / "x", "float32", "cpu")
    else:
        assert read_rows(tmp_path / "x/train.jsonl") == ROWS
        assert record["rows"] == {"train": 6, "test": 2}


@KINDS
def test_revisions_are_branches_tags_or_commits(hub, user, tmp_path, kind, content):
    repository = hub.add(kind, f"many/{kind}")
    first = repository.commit({**content, "note.txt": b"1"}, "v1")
    second = repository.commit({**content, "note.txt": b"2"}, "main")
    for revision, commit in (("v1", first), ("main", second), (first, first), (None, second)):
        settings = {"revision": revision} if revision else {}
        FETCH[kind](user, tmp_path / "x", f"many/{kind}", **settings)
        assert source_of(tmp_path / "x")["commit"] == commit


@KINDS
def test_gated_repository_wants_a_token(hub, user, tmp_path, kind, content):
    repository = hub.add(kind, f"gated/{kind}")
    repository.token = "hf_right"
    repository.commit(content)
    for token in (None, "hf_wrong"):
        message = refusal(FETCH[kind], user, tmp_path / "x", f"gated/{kind}", token)
        assert message.startswith(f"{KEY[kind]}.repo: gated/{kind} is behind a licence; accept it")
        assert "hf auth login" in message
    FETCH[kind](user, tmp_path / "x", f"gated/{kind}", "hf_right")
    assert "hf_right" not in (tmp_path / "x/source.json").read_text()


@KINDS
def test_wrong_names_are_told(hub, user, tmp_path, kind, content):
    hub.add(kind, f"named/{kind}").commit(content)
    message = refusal(FETCH[kind], user, tmp_path / "x", f"named/{kind}", revision="v9")
    assert message.startswith(f"{KEY[kind]}.revision: named/{kind} has no branch, tag or commit v9")
    message = refusal(FETCH[kind], user, tmp_path / "x", "named/nothing")
    assert message.startswith(f"{KEY[kind]}.repo: the hub has no named/nothing, or it is private")


@KINDS
def test_a_connection_that_is_cut_is_taken_up_again(hub, user, tmp_path, kind, content, large):
    repository = hub.add(kind, f"cut/{kind}")
    commit = repository.commit(content)
    repository.cuts[large] = 1
    FETCH[kind](user, tmp_path / "x", f"cut/{kind}")
    assert len(hub.ranges(f"cut/{kind}/resolve/{commit}/{large}")) == 2
    if kind == "model":
        assert (tmp_path / "x" / large).read_bytes() == content[large]
    else:
        assert read_rows(tmp_path / "x/train.jsonl") == ROWS


def test_a_large_download_is_resumed_where_it_was_cut(hub, user, tmp_path, files):
    chunk = huggingface_hub.constants.DOWNLOAD_CHUNK_SIZE
    large = random.Random(0).randbytes(2 * chunk + 1000)
    repository = hub.add("model", "large/model")
    commit = repository.commit({**files, "large.safetensors": large})
    repository.cuts["large.safetensors"] = 1
    fetch_model(user, tmp_path / "x", "large/model")
    assert hub.ranges(f"large/model/resolve/{commit}/large.safetensors") == [None, f"bytes={chunk}-"]
    assert (tmp_path / "x/large.safetensors").read_bytes() == large


def test_after_a_download_that_failed_only_the_missing_files_are_fetched(hub, user, tmp_path, files):
    repository = hub.add("model", "flaky/model")
    commit = repository.commit(files)
    repository.cuts["model.safetensors"] = 1000
    message = refusal(fetch_model, user, tmp_path / "x", "flaky/model")
    assert message.startswith("models.m.repo: ")
    assert "flaky/model" in message
    repository.cuts.clear()
    fetch_model(user, tmp_path / "x", "flaky/model")
    assert len(hub.ranges(f"flaky/model/resolve/{commit}/tokenizer.json")) == 1
    assert (tmp_path / "x/model.safetensors").read_bytes() == files["model.safetensors"]


@KINDS
@pytest.mark.parametrize("file", ["large", "small"])
def test_a_file_with_a_wrong_checksum_is_refused_and_fetched_again(hub, user, tmp_path, kind, content, large, file):
    name = f"damaged/{kind}-{file}"
    path = large if file == "large" else "config.json" if kind == "model" else "README.md"
    repository = hub.add(kind, name)
    repository.commit({"README.md": b"---\nlicense: mit\n---\n", **content})
    repository.damaged.add(path)
    message = refusal(FETCH[kind], user, tmp_path / "x", name)
    assert message.startswith(f"{KEY[kind]}.repo: {name}: {path} has the checksum")
    assert "rerun to fetch it again" in message
    repository.damaged.clear()
    FETCH[kind](user, tmp_path / "x", name)
    assert source_of(tmp_path / "x")["commit"] in repository.commits


@KINDS
def test_no_network(tmp_path, kind):
    with client("http://127.0.0.1:9", tmp_path / "home") as alone:
        message = refusal(FETCH[kind], alone, tmp_path / "x", f"open/{kind}")
    assert message.startswith(f"{KEY[kind]}.repo: cannot reach the hub for open/{kind} (")
    assert "check the network" in message


def test_pickled_weights_only_where_the_config_says_so(hub, user, tmp_path, files):
    import torch

    buffer = io.BytesIO()
    torch.save(build_model("llama").state_dict(), buffer)
    pickled = {name: data for name, data in files.items() if not name.endswith(".safetensors")}
    hub.add("model", "pickled/model").commit({**pickled, "pytorch_model.bin": buffer.getvalue()})
    message = refusal(fetch_model, user, tmp_path / "x", "pickled/model")
    assert message.startswith("models.m.repo: no .safetensors weights in ")
    fetch_model(user, tmp_path / "x", "pickled/model", weights="pickle")
    assert not list((tmp_path / "x").glob("*.bin"))
    assert source_of(tmp_path / "x")["weights_format"] == "pickle"
    loaded, _ = models.load(tmp_path / "x", "float32", "cpu")
    ids = torch.arange(9)[None]
    torch.testing.assert_close(loaded(ids).logits, build_model("llama")(ids).logits)


def test_pickled_weights_that_would_run_code_are_refused(hub, user, tmp_path, files):
    import torch

    class Harmful:
        def __reduce__(self):
            return (open, (str(tmp_path / "harm"), "w"))

    buffer = io.BytesIO()
    torch.save({"model.embed_tokens.weight": Harmful()}, buffer)
    others = {name: data for name, data in files.items() if not name.endswith(".safetensors")}
    hub.add("model", "harmful/model").commit({**others, "pytorch_model.bin": buffer.getvalue()})
    message = refusal(fetch_model, user, tmp_path / "x", "harmful/model", weights="pickle")
    assert message.startswith("models.m.weights: harmful/model has no pickled weights that can be read safely")
    assert not (tmp_path / "harm").exists()


CODE = """
from pathlib import Path
from transformers import LlamaConfig, LlamaForCausalLM

Path({mark!r}).touch()


class OwnConfig(LlamaConfig):
    model_type = "own"


class OwnModel(LlamaForCausalLM):
    config_class = OwnConfig
"""


def config_of_own(files):
    return json.dumps(
        json.loads(files["config.json"])
        | {
            "model_type": "own",
            "auto_map": {"AutoConfig": "own.OwnConfig", "AutoModelForCausalLM": "own.OwnModel"},
        }
    ).encode()


def test_code_of_a_model_runs_only_where_the_config_says_so(hub, user, tmp_path, files):
    mark = tmp_path / "ran"
    code = CODE.format(mark=str(mark)).encode()
    hub.add("model", "own/model").commit({**files, "config.json": config_of_own(files), "own.py": code})
    message = refusal(fetch_model, user, tmp_path / "x", "own/model")
    assert message.startswith("models.m.trust_remote_code: the model brings Python code of its own, which is not run")
    assert not mark.exists()
    fetch_model(user, tmp_path / "x", "own/model", trust_remote_code=True)
    assert mark.exists()
    assert source_of(tmp_path / "x")["trust_remote_code"] is True
    call = {"folder": tmp_path / "x", "dtype": "float32", "device": "cpu"}
    user.submit(with_token, None, load_name, **call).result(timeout=120)


def test_the_plan_reads_a_trusted_model_by_its_own_code(hub, user, tmp_path, files):
    code = CODE.format(mark=str(tmp_path / "ran")).encode()
    hub.add("model", "own/plan").commit({**files, "config.json": config_of_own(files), "own.py": code})
    message = refusal(fetch_architecture, user, tmp_path / "x", "own/plan")
    assert message.startswith("models.m.trust_remote_code: the model brings Python code of its own, which is not run")
    fetch_architecture(user, tmp_path / "x", "own/plan", trust_remote_code=True)
    assert not list((tmp_path / "x").glob("*.safetensors"))
    assert (
        user.submit(with_token, None, parameters_of, folder=tmp_path / "x").result(timeout=120)
        == [build_model("llama").num_parameters()] * 2
    )


def fetch_sae(user, target, repo, **settings):
    asked = {"source": "hub", "repo": repo, "format": "sparsify", "revision": "main", "folder": "layers.3", **settings}
    call = {"name": "one", "settings": asked, "sae_out": target / "source.json"}
    return user.submit(with_token, None, published.run, **call).result(timeout=120)


def test_an_sae_of_the_hub_comes_with_its_commit_and_without_the_rest_of_its_repository(hub, user, tmp_path):
    import torch
    from safetensors.torch import save

    rng = torch.Generator().manual_seed(0)
    shapes = {"encoder.weight": (9, 4), "encoder.bias": (9,), "W_dec": (9, 4), "b_dec": (4,)}
    weights = {name: torch.randn(shape, generator=rng) for name, shape in shapes.items()}
    whole = {"cfg.json": json.dumps({"d_in": 4, "k": 2}).encode(), "sae.safetensors": save(weights)}
    content = {f"{layer}/{name}": data for layer in ("layers.3", "layers.4") for name, data in whole.items()}
    repository = hub.add("model", "own/saes")
    commit = repository.commit({**content, "layers.5/cfg.json": b"{}"}, "main")
    fetch_sae(user, tmp_path / "x", "own/saes")
    record = source_of(tmp_path / "x")
    assert (record["repo"], record["folder"], record["commit"]) == ("own/saes", "layers.3", commit)
    assert record["sha256"]["sae.safetensors"] == hashlib.sha256(whole["sae.safetensors"]).hexdigest()
    torch.testing.assert_close(load(tmp_path / "x", "k").decoder, weights["W_dec"])
    for wrong, said in {
        "layers.5": "saes.one.folder: own/saes has no sae.safetensors in layers.5; correct folder or format",
        "layers.9": "saes.one.folder: own/saes has no cfg.json or sae.safetensors in layers.9",
    }.items():
        assert said in refusal(fetch_sae, user, tmp_path / "y", "own/saes", folder=wrong)
    said = refusal(fetch_sae, user, tmp_path / "y", "own/saes", revision="v9")
    assert said.startswith("saes.one.revision: own/saes has no branch, tag or commit v9")
    said = refusal(fetch_sae, user, tmp_path / "y", "own/saes", format="gemma_2")
    assert "has no params.npz in layers.3" in said


def fetch_architecture(user, folder, repo, **settings):
    call = {"name": "m", "settings": {"source": "hub", "repo": repo, **settings}, "architecture_out": folder}
    return user.submit(with_token, None, prepare_model.prepare_architecture, **call).result(timeout=120)


def parameters_of(folder):
    """Of a model of which only the config is there: counted, and made up for measuring."""
    made_up = calibration.random_model(folder, "float32", "cpu")
    return [workload.architecture(folder).parameters, made_up.num_parameters()]


def load_name(**call):
    """Load a model that cannot be handed from one process to another; its class says that its own code ran."""
    assert type(models.load(**call)[0]).__name__ == "OwnModel"
