"""What a change makes the workflow redo: what depends on it, and nothing else."""

import polars as pl
import pytest

MODULES = "workflow/scripts/iclscope"
EXTRACTION = {"activations", "metrics"}
ANALYSIS = {"correlation", "selection", "agreement", "plots", "report", "index", "summary", "verdict"}


def rules(planned):
    return set(planned)


def test_comments_and_touched_scripts_rerun_nothing(study):
    for module in ("signals/metrics", "engine/scoring", "tasks/samples", "signals/correlation", "tables/judged"):
        path = study.folder / MODULES / f"{module}.py"
        path.write_text(path.read_text() + "\n# A remark.\n")
    for script in (study.folder / "workflow/scripts").glob("*.py"):
        script.touch()
    assert study.planned() == {}


def test_edit_of_metrics_spares_extraction_and_evaluation(study):
    path = study.folder / MODULES / "signals/metrics.py"
    path.write_text(path.read_text() + "\nassert True\n")
    planned = study.planned()
    assert planned["metrics"] == planned["correlation"] == 2
    assert not {"activations", "evaluation_block", "evaluation", "features", "pool", "quality"} & rules(planned)


def test_edit_of_scoring_spares_samples_and_activations(study):
    path = study.folder / MODULES / "engine/scoring.py"
    path.write_text(path.read_text() + "\nassert True\n")
    planned = study.planned()
    assert planned["evaluation_block"] == 4
    assert not {"pool", "sample", "activations", "metrics"} & rules(planned)


def test_new_mask_is_extracted_alone(study):
    study.configure(lambda config: config["masks"].append("prefix_lm"))
    planned = study.planned()
    assert planned["activations"] == planned["metrics"] == 2
    assert not {"evaluation_block", "evaluation", "features", "quality", "pool", "sample"} & rules(planned)


def test_a_new_mask_leaves_the_files_of_the_others_as_they_are(study):
    study.configure(lambda config: config["masks"].append("prefix_lm"))
    before = study.contents("results/activations/**/*.parquet") | study.contents("results/metrics/**/*.parquet")
    study.run("results/metrics/tiny/animals/prefix_lm.parquet", "results/metrics/tiny/sums/prefix_lm.parquet")
    after = study.contents("results/activations/**/*.parquet") | study.contents("results/metrics/**/*.parquet")
    new = {f"results/{s}/tiny/{d}/prefix_lm.parquet" for s in ("activations", "metrics") for d in ("animals", "sums")}
    assert after.keys() - before.keys() == new
    assert {file: after[file] for file in before} == before
    for data in ("animals", "sums"):
        log = (study.folder / f"logs/metrics/tiny-{data}.log").read_text()
        assert "prefix_lm: " in log
        assert "causal: " not in log
        log = (study.folder / f"logs/activations/tiny-{data}.log").read_text()
        assert "masks prefix_lm: " in log
        assert log.count("million parameters") == 1


def test_a_deleted_mask_is_extracted_alone(study):
    for stage in ("activations", "metrics"):
        (study.folder / f"results/{stage}/tiny/animals/causal.parquet").unlink()
    target = "results/metrics/tiny/animals/causal.parquet"
    planned = study.planned(target)
    assert (planned["activations"], planned["metrics"]) == (1, 1)
    study.run(target)
    assert "masks causal: " in (study.folder / "logs/activations/tiny-animals.log").read_text()
    assert not {"activations", "metrics"} & rules(study.planned())


def test_edit_of_a_mask_redoes_all_that_depends_on_it(study):
    path = study.folder / MODULES / "activations/masks.py"
    path.write_text(path.read_text() + "\nassert True\n")
    planned = study.planned()
    assert (planned["activations"], planned["metrics"], planned["massive"]) == (2, 2, 2)
    assert "evaluation_block" not in planned


def test_whole_activations_are_made_on_request_alone(study):
    study.configure(lambda config: config["activations"].update(store="full"))
    planned = study.planned()
    assert planned["token_activations"] == 4
    assert rules(planned) <= {"token_activations", "run_record", "run_record_of_dataset", "page", "index", "manifest"}
    result = study.snakemake("results/token_activations/tiny/sums/causal.parquet")
    assert result.returncode == 0
    assert "store: full writes about 0.00 GB for mask causal" in result.stderr
    frame = pl.read_parquet(study.folder / "results/token_activations/tiny/sums/causal.parquet")
    assert frame["candidate"].n_unique() == 8
    assert frame["layer"].n_unique() == 3


def test_settings_of_one_data_set_touch_only_its_files(study):
    study.configure(lambda config: config["datasets"]["animals"]["max_tokens"].update(candidates=90))
    before = study.times("results/*/**/*")
    study.run()
    changed = {file for file, time in study.times("results/*/**/*").items() if before.get(file) != time}
    assert changed
    assert not [file for file in changed if "sums" in file]


@pytest.mark.parametrize(("key", "blocks"), [("candidates", 1), ("items", 2)])
def test_growth_computes_new_blocks_only(study, key, blocks):
    old = study.times("results/evaluation/tiny/animals/blocks/*")
    before = pl.read_parquet(study.folder / "results/evaluation/tiny/animals.parquet")
    study.configure(lambda config: config["datasets"]["animals"].update({key: 12 if key == "candidates" else 16}))
    planned = study.planned("results/evaluation/tiny/animals.parquet")
    assert planned["evaluation_block"] == blocks
    assert "pool" not in planned
    study.run("results/evaluation/tiny/animals.parquet")
    new = study.times("results/evaluation/tiny/animals/blocks/*")
    assert {file: new[file] for file in old} == old
    after = pl.read_parquet(study.folder / "results/evaluation/tiny/animals.parquet")
    assert before.equals(after.join(before, on=["candidate", "item"], how="semi").sort("candidate", "item"))


def test_growth_keeps_the_earlier_rows(study):
    before = pl.read_parquet(study.folder / "results/samples/sums/candidates.parquet")
    study.configure(lambda config: config["datasets"]["sums"].update(candidates=12))
    study.run("results/samples/sums/candidates.parquet")
    after = pl.read_parquet(study.folder / "results/samples/sums/candidates.parquet")
    assert after.height == 12
    assert after.head(8).equals(before)


def test_device_and_batch_sizes_rerun_nothing_but_records_and_pages(study):
    def change(config):
        config["device"] = "cpu"
        config["evaluation"]["batch_tokens"] = 64
        config["activations"]["batch_tokens"] = 64

    study.configure(change)
    assert rules(study.planned()) <= {"run_record", "run_record_of_dataset", "page", "index", "manifest"}


def test_smallest_useful_effect_spares_everything_before_the_correlation(study):
    study.configure(lambda config: config["correlation"].update(smallest_useful_effect=0.3))
    assert not {"quality", "evaluation", "metrics", "features", "sample"} & rules(study.planned())


def test_same_seed_gives_the_same_bytes(finished, fresh):
    last = ("correlation", "selection", "agreement")  # all other tables are made on the way
    fresh.run(*(f"results/{stage}/tiny/{dataset}.parquet" for stage in last for dataset in ("animals", "sums")))
    stages = ("samples", "metrics", "features", "correlation", "headline", "selection", "gains", "agreement", "quality")
    for stage in (*stages, "reliability"):
        first, second = (study.contents(f"results/{stage}/**/*.parquet") for study in (finished, fresh))
        assert first.keys() == second.keys()
        assert [file for file in first if first[file] != second[file]] == []
