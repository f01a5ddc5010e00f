"""What rules ask of a study, answered without Snakemake."""

from types import SimpleNamespace

import polars as pl
import pytest

from iclscope.matrix import blocks
from iclscope.runtime.provenance import digest
from iclscope.study import Study
from iclscope.tables import POOL

WHEEL = {"source": "wheel", "package": "p", "version": "1.0", "sha256": "0" * 64, "file": "m.gguf"}
BOOLQ = {
    "task": "boolq",
    "source": "files",
    "files": {"train": "local/train.jsonl"},
    "candidates": 5,
    "items": 7,
    "max_tokens": {"candidates": 9, "tokenizer": "far"},
}


@pytest.fixture
def config():
    return {
        "seed": 3,
        "models": {
            "near": {**WHEEL, "dtype": "float32"},
            "far": {"source": "hub", "repo": "o/m", "dtype": "bfloat16"},
        },
        "datasets": {
            "boolq": dict(BOOLQ),
            "sums": {**WHEEL, "task": "sums", "candidates": 4, "items": 4, "max_new_tokens": 3},
        },
        "masks": ["causal", "self_only"],
        "features": {"neighbours": 5},
        "activations": {"sites": ["resid"], "top_k": 8, "batch_tokens": 64},
        "evaluation": {"block": {"candidates": 3, "items": 4}, "batch_tokens": 128},
        "quality": {"targets": ["margin", "accuracy"]},
        "correlation": {"smallest_useful_effect": 0.2},
        "verdict": {"margin": {"nats": 0.1}},
    }


@pytest.fixture
def study(config, tmp_path, monkeypatch):
    """A study in a folder with a task file of its own."""
    (tmp_path / "config/tasks").mkdir(parents=True)
    (tmp_path / "config/tasks/mine.yaml").write_text("task: sums\noutput_type: generate_until\n")
    monkeypatch.chdir(tmp_path)
    return Study(config, pool=lambda dataset: f"{dataset}.parquet")


@pytest.fixture
def pool(study, tmp_path):
    """A pool of 9 candidates and 8 items of two splits."""
    ids = [("candidate", "train", n) for n in range(9)] + [("item", "test", n) for n in range(8)]
    filled = {"kind": "choice", "choices": ["no", "yes"]}
    texts = {name: "" for name, kind in POOL.schema.items() if kind == pl.String}
    numbers = {name: 0 for name, kind in POOL.schema.items() if kind.is_integer()}
    rows = [
        {**texts, **numbers, **filled, "role": role, "split": split, "id": n, "source_row": n} for role, split, n in ids
    ]
    POOL.write(pl.DataFrame(rows, schema=POOL.schema), tmp_path / "boolq.parquet", {})


def test_parts_come_in_the_order_of_the_config(study):
    assert (study.models, study.datasets) == (["near", "far"], ["boolq", "sums"])
    assert study.masks == ["causal", "self_only"]


def test_results_lie_where_the_config_puts_them(study, config):
    assert study.results == "results"
    config["pathvars"] = {"results": "elsewhere/results"}
    assert study.results == "elsewhere/results"


def test_one_data_set_leaves_the_others_out_of_the_config(study, config):
    assert study.part() is config
    alone = study.part("sums")
    assert list(alone["datasets"]) == ["sums"]
    assert {**alone, "datasets": config["datasets"]} == config


class TestSources:
    def test_a_wheel_is_named_by_package_and_version(self, study):
        assert study.wheel("models", "near") == "<resources>/wheels/p-1.0.whl"
        assert study.wheel("datasets", "sums") == "<resources>/wheels/p-1.0.whl"
        assert study.wheel("models", "far") == study.wheel("datasets", "boolq") == []
        wanted = {"package": "p", "version": "1.0", "sha256": "0" * 64, "key": "models.near"}
        assert study.wheel_settings("p", "1.0") == wanted

    def test_a_file_in_parts_needs_their_wheels_too(self, study, config):
        assert study.parts("near") == study.parts("far") == []
        config["models"]["near"]["parts"] = [{"package": "p2", "version": "1.1"}, {"package": "p3", "version": "1.0"}]
        assert study.parts("near") == ["<resources>/wheels/p2-1.1.whl", "<resources>/wheels/p3-1.0.whl"]

    def test_local_files_are_those_that_exist(self, study, config, tmp_path):
        assert study.local_files("datasets", "boolq") == []
        (tmp_path / "rows.jsonl").touch()
        config["datasets"]["boolq"]["files"] = {"train": f"{tmp_path}/rows.jsonl", "test": f"{tmp_path}/none.jsonl"}
        assert study.local_files("datasets", "boolq") == [f"{tmp_path}/rows.jsonl"]

    def test_a_folder_stands_for_its_files(self, study, config, tmp_path):
        for name in ("b", "a", "deeper/c"):
            (tmp_path / "model" / name).parent.mkdir(parents=True, exist_ok=True)
            (tmp_path / "model" / name).touch()
        config["models"]["near"] = {"source": "files", "path": f"{tmp_path}/model"}
        assert study.local_files("models", "near") == [f"{tmp_path}/model/{name}" for name in "ab"]

    def test_only_a_task_of_ones_own_has_files(self, study, config):
        assert study.task_files["sums"] == ["config/tasks/mine.yaml"]
        config["datasets"]["boolq"]["task"] = "arc_easy"
        assert Study(config, study.pool).task_files["boolq"] == []

    def test_an_encoder_on_this_machine_is_its_files(self, study, config, tmp_path):
        assert study.encoder_files == []
        (tmp_path / "encoder/deeper").mkdir(parents=True)
        for name in ("b", "deeper/a"):
            (tmp_path / "encoder" / name).touch()
        config["features"]["encoder"] = {"path": "encoder"}
        assert study.encoder_files == ["encoder/b", "encoder/deeper/a"]
        assert study.feature_settings("boolq")["encoder"] == {"path": "encoder"}

    def test_an_encoder_of_a_wheel_is_where_it_was_unpacked(self, study, config):
        config["features"]["encoder"] = {
            "source": "wheel",
            "package": "p",
            "version": "2",
            "sha256": "0",
            "folder": "m",
        }
        assert study.encoder_files == ["<resources>/encoders/p-2/source.json"]
        assert study.feature_settings("boolq")["encoder"] == {"path": "resources/encoders/p-2"}
        config["pathvars"] = {"resources": "/data/inputs"}
        assert study.feature_settings("sums")["encoder"] == {"path": "/data/inputs/encoders/p-2"}
        assert study.wheel_settings("p", "2") == {
            "package": "p", "version": "2", "sha256": "0", "key": "features.encoder",
        }  # fmt: skip

    def test_tokens_are_counted_by_the_named_model_else_the_first_without_its_weights(self, study):
        assert study.counting_model("boolq") == "<resources>/architectures/far/source.json"
        assert study.counting_model("sums") == "<resources>/models/near/source.json"

    def test_precision_does_not_prepare_a_model_anew(self, study, config):
        before = study.model_settings("near")
        config["models"]["near"]["dtype"] = "bfloat16"
        assert study.model_settings("near") == before == WHEEL

    def test_how_rows_are_used_does_not_fetch_them_anew(self, study):
        assert study.data_settings("boolq") == {key: BOOLQ[key] for key in ("task", "source", "files")}


class TestSamples:
    @pytest.mark.parametrize("key", ["candidates", "items", "max_new_tokens", "block"])
    def test_a_larger_study_keeps_its_pool(self, study, config, key):
        before = study.pool_settings("boolq")
        config["datasets"]["boolq"][key] = 99
        assert study.pool_settings("boolq") == before
        assert before["max_tokens"] == BOOLQ["max_tokens"]

    def test_items_must_not_meet_the_candidates_and_these_do_not_ask(self, study):
        assert study.opposite("boolq", "items") == 5
        assert study.opposite("boolq", "candidates") == 0

    def test_candidates_that_are_all_ask_what_the_items_take(self, study, config):
        config["datasets"]["boolq"]["candidates"] = "all"
        assert study.opposite("boolq", "candidates") == 7
        assert study.opposite("boolq", "items") == "all"

    @pytest.mark.usefixtures("pool")
    def test_all_rows_are_those_of_the_pool(self, study, config):
        config["datasets"]["boolq"]["candidates"] = "all"
        assert (study.size("boolq", "candidate"), study.size("boolq", "item")) == (9, 7)
        assert study.matrix_settings("boolq") == {"candidates": 9, "items": 7}
        assert len(study.blocks("near", "boolq", 7)) == 3 * 2

    def test_numbers_need_no_pool(self, config):
        def none(dataset):
            raise AssertionError(dataset)

        assert Study(config, none).matrix_settings("boolq") == {"candidates": 5, "items": 7}


class TestMatrix:
    def test_blocks_cover_candidates_and_items_once(self, study):
        files = study.blocks("near", "boolq", 7)
        assert files[0] == "<results>/evaluation/near/boolq/blocks/c00000-00003_i00000-00004.parquet"
        found = [blocks.parse(file.rpartition("/")[2]) for file in files]
        assert sorted(found) == sorted(blocks.grid(5, 7, {"candidates": 3, "items": 4}))

    def test_growth_adds_blocks_only(self, study):
        assert set(study.blocks("near", "boolq", 4)) < set(study.blocks("near", "boolq", 8))

    def test_scores_of_a_block_depend_on_the_task_alone(self, study):
        assert study.block_settings("boolq") == {"task": "boolq", "max_new_tokens": None}
        assert study.block_settings("sums") == {"task": "sums", "max_new_tokens": 3}

    def test_a_serving_engine_shapes_them_too_wherever_it_listens(self, study, config):
        config["evaluation"]["engine"] = {"name": "server", "url": "http://one"}
        asked = study.block_settings("sums")
        assert asked == {"task": "sums", "max_new_tokens": 3, "engine_name": "server"}
        config["evaluation"]["engine"]["url"] = {"near": "http://two", "far": "http://three"}
        assert study.block_settings("sums") == asked

    def test_the_whole_matrix_is_asked_for_unless_reliability_stops_it(self, study, config):
        assert study.matrix_settings("boolq") == {"candidates": 5, "items": 7}
        assert study.all_blocks("near", "boolq") == study.blocks("near", "boolq", 7)
        config["evaluation"]["stop_at_reliability"] = 0.9
        asked = {"candidates": 5, "items": 7, "reliability": 0.9, "targets": ["margin", "accuracy"]}
        assert study.matrix_settings("boolq") == asked
        assert study.all_blocks("near", "boolq") == f"<results>/evaluation/near/boolq/needed/{digest(asked)}.json"

    def test_it_may_stop_after_each_column_of_blocks_but_the_last(self, study):
        assert study.stops("boolq") == [4]
        assert study.stops("sums") == []

    @pytest.mark.parametrize(
        ("alphas", "enough"),
        [
            ({"margin": 0.9, "accuracy": 0.95, "gain": 0.1}, True),  # nobody asked for gain
            ({"margin": 0.9, "accuracy": 0.89}, False),
            ({"margin": 0.9}, True),  # the data set has no accuracy
            ({"margin": None, "accuracy": 0.95}, False),
        ],
    )
    def test_every_target_must_be_reliable(self, study, config, alphas, enough):
        config["evaluation"]["stop_at_reliability"] = 0.9
        assert study.is_reliable("boolq", alphas) is enough


class TestActivations:
    def test_the_size_of_a_batch_shapes_nothing(self, study, config):
        before = study.extraction_digest("near", "code")
        config["activations"]["batch_tokens"] = 1
        assert study.extraction == {"sites": ["resid"], "top_k": 8}
        assert study.extraction_digest("near", "code") == before

    def test_settings_precision_and_code_do(self, study, config):
        before = study.extraction_digest("near", "code")
        assert study.extraction_digest("far", "code") != before
        assert study.extraction_digest("near", "other") != before
        config["activations"]["top_k"] = 9
        assert study.extraction_digest("near", "code") != before

    def test_whole_activations_are_made_where_they_are_kept(self, study, config):
        assert study.token_activations == []
        config["activations"]["store"] = "full"
        assert len(study.token_activations) == 2 * 2 * 2
        assert study.token_activations[0] == "<results>/token_activations/near/boolq/causal.parquet"


class TestEnds:
    def test_final_tables_run_over_data_sets_then_models(self, study):
        tables = study.final_tables(study.datasets)
        assert set(tables) == {
            "correlation", "headline", "quality", "reliability", "variance", "selection", "gains", "agreement",
        }  # fmt: skip
        pairs = ["near/boolq", "far/boolq", "near/sums", "far/sums"]
        assert tables["quality"] == [f"<results>/quality/{pair}.parquet" for pair in pairs]

    def test_a_data_set_may_stay_a_wildcard(self, study):
        files = study.final_tables(["{dataset}"])["headline"]
        assert files == [f"<results>/headline/{model}/{{dataset}}.parquet" for model in ("near", "far")]
        assert study.tables["headline"] == "<results>/headline/{model}/{dataset}.parquet"

    def test_the_verdict_knows_the_smallest_effect_and_the_margins(self, study):
        assert study.verdict_settings == {"smallest_useful_effect": 0.2, "margin": {"nats": 0.1}}

    def test_a_study_ends_with_its_page_summary_verdict_and_record(self, study):
        names = ["report/index.html", "summary.parquet", "verdict.json", "run.json"]
        assert study.ends == [f"<results>/{name}" for name in names]


def test_features_are_asked_for_by_the_matrix_only_where_scores_are_calibrated(study, config):
    assert study.calibrating == []
    config["quality"]["targets"] = ["accuracy", "margin_calibrated"]
    assert study.calibrating == "<results>/features/{model}/{dataset}.parquet"


def test_features_follow_the_task_which_asks_questions_without_content(study):
    assert study.feature_settings("boolq") == {"neighbours": 5, "task": "boolq"}


def test_saes_are_of_their_model_and_bring_their_twins(config, tmp_path):
    config["saes"] = {
        "own": {"source": "train", "texts": "study", "controls": ["random"]},
        "theirs": {
            "source": "files",
            "model": "far",
            "path": "x",
            "texts": {"files": [str(tmp_path / "a"), str(tmp_path / "b")]},
        },
    }
    config["selection"] = {"selectors": ["sae_cover"], "sae": "theirs"}
    study = Study(config, pool=lambda dataset: "pool")
    assert study.saes("near") == ["own", "own_random"]
    assert study.saes("far") == ["own", "own_random", "theirs"]
    (tmp_path / "b").touch()
    assert study.sae_texts("theirs") == [str(tmp_path / "b")]
    assert study.sae_pools("theirs", "pool") == study.sae_texts("own") == []
    assert study.sae_pools("own", "items") == [f"<results>/samples/{d}/items.parquet" for d in ("boolq", "sums")]
    assert study.fetched_sae("near", "own") == []
    assert study.sae_part("near", "own_random", "cfg.json") == "<results>/saes/near/own/cfg.json"
    of = SimpleNamespace(model="far", dataset="boolq")
    assert study.selecting_codes(of) == ["<results>/sae_features/far/boolq/theirs.parquet"]
    assert study.selecting_dictionary(of) == "<results>/saes/far/theirs/features.parquet"
    assert study.selecting_codes(SimpleNamespace(model="near", dataset="boolq")) == []
    del config["saes"]
    assert study.saes() == study.sae_training == study.sae_screens == study.sae_metrics(of) == []


def test_a_preview_takes_the_tokenizer_of_the_counting_model_alone(study):
    assert study.tokenizer("boolq") == study.counting_model("boolq") == "<resources>/architectures/far/source.json"
    assert study.counting_model("sums") == "<resources>/models/near/source.json"
    assert study.tokenizer("sums") == "<resources>/tokenizers/near/source.json"
