"""Demonstrations to ship: the file of picks, the task that the harness runs, and which pick is recommended."""

import json

import lm_eval
import numpy as np
import polars as pl
import pytest
import yaml
from datasets import disable_progress_bars
from lm_eval.models.huggingface import HFLM
from lm_eval.tasks import TaskManager
from lm_eval.tasks._yaml_loader import load_yaml

from iclscope.runtime.configuration import task_files
from iclscope.selection import picks
from iclscope.selection.picks import Judging, Pick, recommended_first
from iclscope.selection.sets import Chosen
from iclscope.selection.tried import Tried
from iclscope.statistics.gains.sets import Worth
from iclscope.tables import EVALUATION
from iclscope.tasks.exported import with_demonstrations
from iclscope.tasks.samples import Groups
from shot_studies import GENERATED, ITEMS, Study, sets_of

disable_progress_bars()


@pytest.fixture
def study(tmp_path, monkeypatch, tiny_model, tiny_tokenizer):
    monkeypatch.chdir(tmp_path)
    return Study(tmp_path, tiny_model, tiny_tokenizer)


def evaluated(task_file, model, tokenizer):
    """Log probabilities of every item and choice, as the harness gives them for a task file."""
    lm = HFLM(pretrained=model, tokenizer=tokenizer, batch_size=1)
    manager = TaskManager(include_path=str(task_file.parent), include_defaults=False)
    found = lm_eval.simple_evaluate(lm, tasks=["animals_pick"], task_manager=manager, bootstrap_iters=0)
    samples = sorted(found["samples"]["animals_pick"], key=lambda sample: sample["doc"]["i"])
    assert found["configs"]["animals_pick"]["num_fewshot"] == len(
        found["configs"]["animals_pick"]["fewshot_config"]["samples"]
    )
    return [[value for value, _ in sample["filtered_resps"]] for sample in samples]


@pytest.mark.filterwarnings("ignore")  # of the harness's own
def test_the_harness_gives_the_task_file_the_scores_of_shots(study, tiny_model, tiny_tokenizer):
    frame = sets_of(study.shots())
    lines, task_file = study.picks()
    assert yaml.safe_load(task_file.read_text())["fewshot_config"]["samples"] == lines[0]["documents"]
    (several,) = [line for line in lines if line["name"] == "balanced"]
    pairs = EVALUATION.read(study.files["evaluation"]).filter(pl.col("candidate") == lines[0]["candidates"][0])
    scores = {tuple(s["members"]): s["logprobs"] for s in frame.filter(pl.col("fold").is_null()).iter_rows(named=True)}
    scores[(pairs["candidate"][0],)] = pairs.sort("item")["logprobs"].to_list()
    order = np.argsort([json.loads(row["document"])["i"] for row in study.rows["item"]])
    for line in (lines[0], several):
        task_file.write_text(with_demonstrations("animals", "animals_pick", line["documents"], task_file))
        theirs = evaluated(task_file, tiny_model, tiny_tokenizer)
        np.testing.assert_allclose(np.array(scores[tuple(line["candidates"])])[order], theirs, atol=1e-4)


def test_a_line_says_all_that_shipping_takes(study):
    study.shots()
    lines, _ = study.picks()
    assert [(line["name"], line["k"]) for line in lines[1:]] == sorted(
        [(line["name"], line["k"]) for line in lines[1:]],
        key=lambda pair: -next(line["value"] for line in lines if (line["name"], line["k"]) == pair),
    )
    assert {(line["name"], line["k"]) for line in lines} == {
        ("top", 1), ("top", 3), ("balanced", 3), ("cover", 3), ("random", 3), ("random_balanced", 3),
    }  # fmt: skip
    rows = study.rows["candidate"]
    for line in lines:
        assert line["documents"] == [json.loads(rows[member]["document"]) for member in line["candidates"]]
        assert line["source_rows"] == [rows[member]["source_row"] for member in line["candidates"]]
        assert len(line["messages"]) == 1 + 2 * line["k"]
        assert line["model"] == {"name": "tiny", "source": "hub", "commit": "abc"}
        assert (line["split"], line["dataset"], line["items"]) == ("train", "animals", ITEMS)
        assert (line["over_balanced"] is None) == line["name"].startswith("random")
        assert ("halves of the items chose" in line["interval"]) == (not line["name"].startswith("random"))
        assert (line["deviation_order"] is None) == (line["k"] == 1 or line["name"].startswith("random"))


def test_gains_are_differences_of_means_over_items_that_did_not_choose(study):
    target = "gold_logprob"
    frame = study.shots(primary=target).cast({target: pl.Float64})
    lines, _ = study.picks(primary=target)
    mean = frame.group_by("name", "k", "fold", "set").agg(pl.mean(target), pl.len()).sort("set")
    random = mean.filter(name="random")[target].mean()
    for name in ("balanced", "top", "cover"):
        (line,) = [line for line in lines if (line["name"], line["k"]) == (name, 3)]
        halves = mean.filter(pl.col("name") == name, pl.col("fold").is_not_null())
        value = (halves[target] * halves["len"]).sum() / ITEMS
        assert line["value"] == pytest.approx(value)
        assert line["gain"] == pytest.approx(value - random)
        orders = frame.filter(pl.col("name") == name, pl.col("fold").is_null()).group_by("order").agg(pl.mean(target))
        assert line["deviation_order"] == pytest.approx(orders[target].std())
        even = mean.filter(name="random_balanced")[target].mean()
        assert line["over_balanced"]["gain"] == pytest.approx(value - even)
    pairs = EVALUATION.read(study.files["evaluation"]).cast({target: pl.Float64})
    (one,) = [line for line in lines if line["k"] == 1]
    assert one["value"] - one["gain"] == pytest.approx(pairs.filter(pl.col("candidate") >= 0)[target].mean())
    assert one["zero_shot"] == pytest.approx(pairs.filter(candidate=-1)[target].mean())
    best = pairs.filter(pl.col("candidate") >= 0).group_by("candidate").agg(pl.mean(target)).sort(target)
    assert one["candidates"] == [best["candidate"][-1]]


def test_intervals_allow_for_halves_that_chose_for_each_other(study, monkeypatch):
    study.shots(random_sets=16)  # so many that the items have fewer degrees of freedom
    found = {}
    for rho in (0.0, 1.0):
        monkeypatch.setattr(picks, "crossed_of", lambda *_, rho=rho: rho)
        found[rho] = {(line["name"], line["k"]): line for line in study.picks(random_sets=16)[0]}
    for key, apart in found[0.0].items():
        together = found[1.0][key]
        assert together["gain"] == apart["gain"]
        if key[0].startswith("random"):
            assert (together["low"], together["high"]) == (apart["low"], apart["high"])
        else:
            assert together["low"] < apart["low"] < apart["high"] < together["high"]
            over = [line["over_balanced"] for line in (together, apart)]
            assert over[0]["low"] < over[1]["low"]


def test_generated_answers_are_judged_by_the_right_answer(tmp_path, monkeypatch, tiny_model, tiny_tokenizer):
    monkeypatch.chdir(tmp_path)
    study = Study(tmp_path, tiny_model, tiny_tokenizer, GENERATED)
    study.shots(primary="accuracy")
    lines, task_file = study.picks(primary="accuracy")
    assert {line["target"] for line in lines} == {"gold_logprob"}
    assert lines[0]["name"] in ("random", "top", "cover")
    assert task_files.read(task_file).fields["output_type"] == "generate_until"


def test_a_definition_with_functions_is_included_from_where_it_stands(tmp_path, monkeypatch):
    tasks = tmp_path / "config/tasks"
    tasks.mkdir(parents=True)
    (tasks / "utils.py").write_text("def text(doc):\n    return doc['q']\n")
    own = "task: own\ntag: mine\nfewshot_split: train\ndoc_to_text: !function utils.text\n"
    (tasks / "own.yaml").write_text(own)
    monkeypatch.chdir(tmp_path)
    output = tmp_path / "results/picks/m/d.yaml"
    output.parent.mkdir(parents=True)
    output.write_text(with_demonstrations("own", "d_pick", [{"q": "ü"}], output))
    found = TaskManager(include_path=str(output.parent), include_defaults=False).task_index["d_pick"]
    loaded = load_yaml(found.yaml_path)
    assert loaded["doc_to_text"]({"q": 3}) == 3
    assert (loaded["fewshot_split"], loaded["tag"]) == (None, None)
    assert loaded["fewshot_config"] == {"sampler": "first_n", "samples": [{"q": "ü"}]}
    (tasks / "own.yaml").write_text(own + "fewshot_config: {samples: !function utils.text}\n")
    assert yaml.safe_load(with_demonstrations("own", "d_pick", [{}], output))["num_fewshot"] == 1
    (tasks / "own.yaml").write_text(own + "fewshot_config: {doc_to_text: !function utils.text}\n")
    assert with_demonstrations("own", "d_pick", [{}], output).startswith("# own formats demonstrations by functions")


def test_documents_survive_the_task_file(tmp_path, monkeypatch):
    (tmp_path / "config/tasks").mkdir(parents=True)
    (tmp_path / "config/tasks/own.yaml").write_text("task: own\ndoc_to_text: '{{q}}'\n")
    monkeypatch.chdir(tmp_path)
    odd = ["a\u2028b\x85\t'\"\\ : # 😀\n\n ", "\r\nyes", "!function utils.x", "0123", "1e3", "{{q}}", "\x00\x1b", "no"]
    documents = [{"q": odd, "n": [1, 2.5, 1e22, True, None], "o": {"é": odd[0]}}]
    output = tmp_path / "d.yaml"
    output.write_text(with_demonstrations("own", "d_pick", documents, output), encoding="utf-8")
    assert load_yaml(output)["fewshot_config"]["samples"] == documents


def pick(name, k, value, verdict):
    tried = Tried(name, k, tuple(range(k)), {}, {}, 9.0)
    return Pick(tried, value, {"margin": Worth(0.0, None, None, None)}, None, (None, 0.1), verdict)


BASE = [pick("random", 4, 0.4, "reference"), pick("random_balanced", 4, 0.5, "reference")]


@pytest.mark.parametrize(
    ("others", "wanted"),
    [
        ([pick("top", 4, 0.9, "undecided")], ("random_balanced", 4, "random will do")),
        ([pick("top", 4, 0.9, "lowers accuracy")], ("random_balanced", 4, "random will do")),
        ([pick("top", 4, 0.9, "beats random")], ("top", 4, "beats random")),
        ([pick("top", 4, 0.9, "beats random"), pick("top", 1, 0.86, "beats random")], ("top", 1, "beats random")),
        ([pick("top", 4, 0.9, "beats random"), pick("top", 1, 0.80, "beats random")], ("top", 4, "beats random")),
        ([pick("top", 1, 0.3, "beats random")], ("random_balanced", 4, "random will do")),
        ([pick("top", 4, 0.54, "beats random")], ("random_balanced", 4, "random will do")),  # within the margin
    ],
)
def test_the_fewest_demonstrations_that_come_near_the_best_are_recommended(others, wanted):
    first, *rest = recommended_first([*BASE, *others], 0.05)
    assert (first.tried.name, first.tried.k, first.verdict) == wanted
    assert len(rest) == len(BASE) + len(others) - 1
    assert [one.value for one in rest] == sorted((one.value for one in rest), reverse=True)


def test_without_labels_random_sets_are_recommended():
    assert recommended_first(BASE[:1], 0.05)[0].tried.name == "random"


def judged(rng, gain, accuracy=0.0, items=40, study_tables=1):
    """Picks of a study in which the chosen set gains `gain` over 12 random sets."""
    base = rng.normal(size=items)

    def sets(number, shift, name, k):
        scores = (
            base + shift + rng.normal(scale=0.3, size=(number, 1)) * (number > 1) + rng.normal(size=(number, items))
        )
        right = (rng.random((number, items)) < 0.5 + accuracy * (number == 1)).astype(float)
        return Tried(name, k, tuple(range(k)), {"gold_logprob": scores, "correct": right}, {}, 1.0)

    tried = {
        ("zero_shot", 0): sets(1, 0, "zero_shot", 0),
        ("random", 1): sets(12, 0, "random", 1),
        ("random", 4): sets(12, 0, "random", 4),
        ("top", 4): sets(1, gain, "top", 4),
    }
    groups = Groups(rng.integers(0, 2, items), np.arange(items), None)
    chosen = Chosen("gold_logprob", np.empty((0, 0)), groups, None, np.zeros(items, bool))
    judging = Judging.of(tried, chosen, ["gold_logprob", "accuracy"])
    (found,) = [one for one in judging.picks(study_tables) if not one.drawn]
    return found


def test_a_planted_gain_is_found_and_none_is_seen_where_there_is_none():
    rng = np.random.default_rng(4)
    assert judged(rng, 2.0).verdict == "beats random"
    assert judged(rng, -2.0).verdict == "worse than random"
    assert judged(rng, 2.0, accuracy=-0.45).verdict == "lowers accuracy"
    false = [judged(rng, 0.0).verdict == "beats random" for _ in range(200)]
    assert np.mean(false) <= 0.05
