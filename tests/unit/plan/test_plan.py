"""The plan of a study: what its lines say, from pools and architectures alone."""

import json

import numpy as np
import polars as pl
import pytest

from iclscope.engine import models
from iclscope.engine.prompts import PromptEncoder
from iclscope.plan import calibration, estimate, workload
from iclscope.plan.calibration import Rates
from iclscope.runtime.errors import StudyError
from iclscope.runtime.jobs import Job
from iclscope.tables import PLAN, POOL
from test_workload import candidate, item


@pytest.fixture
def config(default_config):
    sizes = {"task": "boolq", "source": "files", "candidates": 6, "items": 5}
    return {key: value for key, value in default_config.items() if key != "saes"} | {
        "models": {"tiny": {"source": "files", "path": "x", "dtype": "bfloat16"}},
        "datasets": {"animals": sizes | {"block": {"candidates": 4, "items": 5}}, "others": sizes},
        "plan": {"teraflops": 2.0, "gigabytes_per_second": 10.0},
        "masks": ["causal", "self_only"],
    }


LAYOUT = 1e-9  # seconds of a core for a token


@pytest.fixture
def planned(config, tiny_model, tiny_tokenizer, tmp_path, monkeypatch):
    """A function that plans the study of `config`, of models without weights."""
    monkeypatch.setattr(calibration, "layout", lambda *_: LAYOUT)
    tiny_model.config.save_pretrained(tmp_path / "tiny")
    tiny_tokenizer.save_pretrained(tmp_path / "tiny")
    document = json.dumps({"passage": "A sea.", "question": "is it deep", "label": 1})
    extra = {"split": "train", "cluster": None, "tokens": None, "document": document}
    rows = [{"role": "candidate", **candidate(n), "source_row": n, **extra} for n in range(8)]
    rows += [{"role": "item", **item(n), "source_row": n, **extra} for n in range(5)]
    POOL.write(pl.DataFrame(rows, schema=POOL.schema), tmp_path / "pool.parquet", {})

    def run():
        estimate.run(
            settings=config,
            pools=dict.fromkeys(config["datasets"], tmp_path / "pool.parquet"),
            models={"tiny": tmp_path / "tiny"},
            task_folders=dict.fromkeys(config["datasets"], tmp_path),
            table_out=tmp_path / "plan.parquet",
            text_out=tmp_path / "plan.txt",
            job=Job(1, {}),
        )
        return PLAN.read(tmp_path / "plan.parquet"), (tmp_path / "plan.txt").read_text()

    return run


def test_every_stage_has_a_line_for_its_model_and_data_set(planned):
    frame, text = planned()
    of_models = {"activations", "metrics", "features", "evaluation", "quality", "correlation", "selection", "plots"}
    of_models |= {"agreement", "shots", "learning", "representations", "budget"}
    for dataset in ("animals", "others"):
        mine = frame.filter(dataset=dataset)
        assert set(mine.filter(model="tiny")["stage"]) == of_models
        assert set(mine.filter(pl.col("model").is_null())["stage"]) == {"prepare", "sample", "learning", "report"}
    assert frame.filter(pl.col("dataset").is_null()).select("stage", "model").rows() == [("prepare", "tiny")]
    assert len(text.splitlines()) == 1 + 1 + frame.height + 1 + 3


def test_jobs_and_work_are_those_of_the_configuration(planned, config, tiny_model, tiny_tokenizer):
    frame, _ = planned()
    jobs = {(row["dataset"], row["stage"]): row["jobs"] for row in frame.filter(model="tiny").iter_rows(named=True)}
    assert jobs["animals", "activations"] == 1  # for all masks
    assert jobs["animals", "evaluation"] == 2  # its own blocks of four candidates
    assert jobs["others", "evaluation"] == 1
    read = frame.filter(dataset="animals", stage="activations").row(0, named=True)
    texts = [candidate(n)["prefix"].rstrip() for n in range(6)]
    assert read["tokens"] == 2 * sum(len(tiny_tokenizer(text)["input_ids"]) for text in texts)
    shape = workload.shape_of(tiny_model)
    assert 2 * shape.linear * read["tokens"] < read["flops"] < 2 * 2 * shape.linear * read["tokens"]


def test_saes_count_the_texts_that_they_read_and_their_own_work(planned, config, tiny_model, tiny_tokenizer):
    middle = {"source": "train", "site": "resid", "layer": 0.5, "width": 100, "k": 4, "texts": "study"}
    config["saes"] = {"middle": middle | {"tokens": 5000, "epochs": 3, "controls": ["random"]}}
    frame, _ = planned()
    trained = frame.filter(pl.col("stage") == "saes", pl.col("dataset").is_null()).row(0, named=True)
    texts = [candidate(n)["prefix"].rstrip() for n in range(5, 8)]  # the first five rows are items
    assert trained["tokens"] == sum(len(tiny_tokenizer(text)["input_ids"]) for text in texts)
    shape = workload.shape_of(tiny_model)
    model = 2 / 3 * 2 * shape.linear * trained["tokens"]  # two of three blocks
    own = 12 * 100 * 32 * 3 * trained["tokens"]  # three epochs
    assert 0.7 * own + model < trained["flops"] < 1.3 * (own + model)
    read = frame.filter(stage="saes", dataset="animals").row(0, named=True)
    demonstrations = sum(len(tiny_tokenizer(candidate(n)["prefix"].rstrip())["input_ids"]) for n in range(6))
    questions = sum(len(tiny_tokenizer(item(n)["question"])["input_ids"]) for n in range(5))
    assert read["tokens"] == pytest.approx(demonstrations + questions, rel=0.1)
    assert read["bytes"] == 2 * 4 * 6 * read["tokens"]  # of the SAE and its twin


def test_hours_follow_from_the_rates_and_the_start_of_jobs(planned, config):
    slow, _ = planned()
    config["plan"]["teraflops"] *= 1e-6
    slower, _ = planned()
    line = pl.col("stage") == "evaluation"
    begin, wait = (frame.filter(line)["start_share"] * frame.filter(line)["hours"] * 3600 for frame in (slow, slower))
    assert begin.to_list() == pytest.approx(wait.to_list())
    jobs = slow.filter(line)["jobs"]
    assert (begin / jobs).to_list() == pytest.approx([calibration.START] * 2, rel=1e-3)
    work = slower.filter(line)["hours"] * (1 - slower.filter(line)["start_share"]) * 3600
    assert work.to_list() == pytest.approx((slower.filter(line)["flops"] / 2e6).to_list())


def test_without_sets_of_demonstrations_they_cost_nothing(planned, config):
    del config["shots"]
    assert "shots" not in planned()[0]["stage"].to_list()


def test_questions_are_counted_with_further_rows_where_learning_curves_want_them(planned, config, tiny_tokenizer):
    config["representations"] = {"layers": 2}
    config["learning"] |= {"pool": 1, "test": 1, "representations": ["encoder"]}
    frame = planned()[0].filter(stage="representations", dataset="animals")
    asked = [candidate(n)["question"].rstrip() for n in range(6)] + [item(n)["question"].rstrip() for n in range(5)]
    assert frame["tokens"].to_list() == [sum(len(tiny_tokenizer(text)["input_ids"]) for text in asked)]
    assert frame["bytes"].to_list() == [4 * 32 * 2 * 11]
    assert frame["jobs"].to_list() == [1]
    config["learning"]["representations"] = ["layer_3"]
    further = [candidate(n)["question"].rstrip() for n in (6, 7)]
    more = planned()[0].filter(stage="representations", dataset="animals")
    assert more["tokens"].to_list() == [sum(len(tiny_tokenizer(text)["input_ids"]) for text in asked + further)]
    assert more["jobs"].to_list() == [2]


def test_learning_curves_cost_a_run_per_split_start_and_strategy(planned, config):
    config["learning"] |= {"seeds": 10, "strategies": ["random"], "representations": ["encoder"]}
    once = planned()[0].filter(stage="learning")
    assert once.filter(dataset="animals").select("model", "jobs").rows() == [(None, 1), ("tiny", 2)]
    config["learning"] |= {"seeds": 20}
    config["representations"] = {"layers": 2}
    config["learning"]["representations"] = ["encoder", "layer_3"]
    work = pl.col("hours") * (1 - pl.col("start_share"))
    (more,), (before,) = (
        frame.filter(dataset="animals", model="tiny").select(work).row(0)
        for frame in (planned()[0].filter(stage="learning"), once)
    )
    assert more == pytest.approx(4 * before)
    del config["learning"]
    assert "learning" not in planned()[0]["stage"].to_list()


def test_generating_is_bound_by_memory_or_by_arithmetic():
    assert calibration.given(100.0, 200.0, 2, LAYOUT) == Rates(1e14, 1e14, 256 * 200e9, calibration.START, LAYOUT)
    assert calibration.given(1.0, 500.0, 2, LAYOUT).generation == 1e12


def test_a_device_that_is_faster_than_the_core_which_lays_out_prompts_waits_for_it(planned, monkeypatch):
    line = pl.col("stage").is_in(["evaluation", "shots"])
    bound, text = planned()
    at_work = pl.col("hours") * (1 - pl.col("start_share")) * 3600
    shares = bound.filter(line).select(layout=LAYOUT * pl.col("tokens") / at_work, of="layout_share")
    assert shares["of"].to_list() == pytest.approx(shares["layout"].to_list())
    assert bound.filter(~line)["layout_share"].unique().to_list() == [0]
    assert f"The device sets the pace: a core lays out prompts meanwhile, in {shares['of'].max():.0%} of" in text
    monkeypatch.setattr(calibration, "layout", lambda *_: 3.0)
    waiting, text = planned()
    assert waiting.filter(line)["layout_share"].to_list() == [1.0] * 4
    assert waiting.filter(line).select(at_work).to_series().to_list() == pytest.approx(
        (3.0 * waiting.filter(line)["tokens"]).to_list()
    )
    assert "the device waits for the core that lays out prompts: evaluation of animals with tiny, " in text


def test_a_core_lays_out_what_is_scored(tiny_tokenizer):
    samples = [([candidate(n) for n in range(3)], [item(n) for n in range(5)])]
    assert 0 < calibration.layout(PromptEncoder(tiny_tokenizer), samples, "auto") < 1e-2


def test_a_serving_engine_is_said_not_to_be_counted(planned, config):
    frame, text = planned()
    config["evaluation"]["engine"] = {"name": "server", "url": "http://one"}
    same, more = planned()
    assert same.equals(frame)
    assert more == text + estimate.SERVED
    assert "serving engine" in estimate.SERVED


def test_more_rows_than_the_data_has_are_refused(planned, config):
    config["datasets"]["others"]["candidates"] = 9
    with pytest.raises(StudyError, match=r"datasets\.others\.candidates: 9 are asked for, but the data has 8"):
        planned()


def test_a_machine_is_measured_by_the_engine_itself(planned, config, monkeypatch):
    monkeypatch.setattr(calibration, "SECONDS", 0.2)
    del config["plan"]
    frame, text = planned()
    assert "TFLOP/s at scoring" in text
    assert (frame["hours"] > 0).all()


def test_published_saes_count_with_their_width_or_with_one_that_many_have(planned, config, tmp_path):
    of = {"site": "resid", "texts": "study", "model": "tiny", "layer": 1, "tokens": 5000}
    flops = {}
    for width in (64, 2**14):
        shapes = {"W_enc": (32, width), "b_enc": width, "W_dec": (width, 32), "b_dec": 32, "threshold": width}
        np.savez(tmp_path / "params.npz", **{name: np.zeros(shape, np.float32) for name, shape in shapes.items()})
        config["saes"] = {"one": {**of, "source": "files", "path": str(tmp_path), "format": "gemma_2"}}
        flops[width] = planned()[0].filter(stage="saes")["flops"].to_list()
    assert flops[64] < flops[2**14]
    config["saes"] = {"one": {**of, "source": "hub", "repo": "a/b", "folder": "x", "revision": "main"}}
    assert planned()[0].filter(stage="saes")["flops"].to_list() == flops[2**14]


def test_a_large_model_is_measured_on_a_few_of_its_layers(tiny_model, tmp_path, monkeypatch):
    tiny_model.config.save_pretrained(tmp_path)
    shape = workload.shape_of(tiny_model)
    monkeypatch.setattr(calibration, "MOST_WEIGHTS", shape.linear * 2 / 3)
    small = calibration.random_model(tmp_path, "bfloat16", "cpu")
    assert len(workload.shape_of(small).blocks) == 2
    assert small.dtype == models.DTYPES["bfloat16"]
