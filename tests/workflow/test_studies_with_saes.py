"""A tiny study with a sparse autoencoder: what runs, what it finds, and that nothing runs without one."""

import json
import shutil

import polars as pl
import pytest
import torch

from iclscope.saes.dictionary import load

MIDDLE = {
    "source": "train",
    "site": "resid",
    "layer": 0.5,
    "width": 48,
    "k": 4,
    "tokens": 2000,
    "epochs": 4,
    "texts": "study",
    "controls": ["random"],
}
OWN = {"fetch_sae", "train_sae", "sae_features", "sae_features_of_both", "sae_metrics", "sae_screen"}
CORRELATIONS = [f"results/correlation/tiny/{dataset}.parquet" for dataset in ("animals", "sums")]
SCREEN, SELECTION = "results/sae_screen/tiny/animals/middle.parquet", "results/selection/tiny/animals.parquet"
SELECTORS = [f"sae_{way}{twin}" for way in ("nearest", "cover", "ridge") for twin in ("", "_random")]


def with_sae(study, **saes):
    study.configure(lambda config: config.update(saes={"middle": MIDDLE, **saes}))


@pytest.fixture(scope="module")
def trained(made_once, finished):
    """The finished tiny study with an SAE and its twin, up to correlations, and one screen and selection."""
    from study import Study

    def make(folder):
        shutil.copytree(finished.folder, folder, symlinks=True)
        study = Study(folder)
        with_sae(study)
        study.configure(lambda config: config["selection"].update(sae="middle", selectors=["random", *SELECTORS]))
        study.run(*CORRELATIONS, SCREEN, SELECTION)

    return Study(made_once("with_sae", make))


def test_without_saes_nothing_of_them_runs(fresh):
    assert not OWN & set(fresh.planned())


def test_with_one_it_runs_and_what_reads_it_and_nothing_else(study):
    assert study.planned() == {}
    with_sae(study)
    planned = study.planned()
    assert (planned["train_sae"], planned["sae_features_of_both"], planned["sae_metrics"]) == (1, 2, 4)
    assert (planned["correlation"], planned["sae_screen"]) == (2, 2)
    before = {
        "pool",
        "sample",
        "activations",
        "metrics",
        "features",
        "evaluation",
        "evaluation_block",
        "quality",
        "selection",
    }
    assert not {*before, "fetch_sae"} & set(planned)


def test_it_explains_more_than_its_twin_and_is_a_family_of_its_own(trained):
    training = pl.read_parquet(trained.folder / "results/saes/tiny/middle/training.parquet")
    last = training.row(-1, named=True)
    assert last["unexplained"] < last["untrained"]
    assert last["active"] <= 4
    correlation = pl.read_parquet(trained.folder / CORRELATIONS[0])
    saes = correlation.filter(pl.col("sae").is_not_null())
    assert set(saes.select("family", "sae").unique().iter_rows()) == {
        ("sae", "middle"), ("sae_random", "middle_random"),
    }  # fmt: skip
    assert set(saes["metric"]) == {
        "sae_active", "sae_distinct", "sae_unexplained", "sae_novelty", "sae_rare", "sae_similarity",
    }  # fmt: skip
    undefined = saes.filter(metric="sae_active")["reason"]
    assert undefined.str.contains("same number of active features by construction").all()
    defined = saes.filter(metric="sae_unexplained", pooling="all", target="gold_logprob")
    assert defined["rho"].null_count() == 0
    headline = pl.read_parquet(trained.folder / "results/headline/tiny/animals.parquet")
    assert 0 < headline.filter(target="gold_logprob")["sae_null_95"].item() < 1


def test_other_families_stay_as_they_were(finished, trained):
    for file in CORRELATIONS:
        before, after = (pl.read_parquet(study.folder / file) for study in (finished, trained))
        assert after.filter(pl.col("sae").is_null()).equals(before)


def test_features_are_screened_and_selectors_go_by_them(trained):
    screen = pl.read_parquet(trained.folder / SCREEN)
    assert screen["prevalence"].is_between(0.1, 0.9).all()
    assert screen["p_maxt"].is_between(0, 1).all()
    assert set(pl.read_parquet(trained.folder / SELECTION)["selector"]) == {"random", *SELECTORS}


def test_items_are_no_texts_of_the_sae_and_none_shows_its_answer(trained):
    features = pl.read_parquet(trained.folder / "results/sae_features/tiny/animals/middle.parquet")
    items = features.filter(role="item")
    assert (items["position"] < items["question_end"]).all()
    assert (items["answer_end"] == 0).all()
    samples = pl.read_parquet(trained.folder / "results/samples/animals/items.parquet")
    contexts = pl.read_parquet(trained.folder / "results/saes/tiny/middle/features.parquet")["contexts"].explode()
    named = samples["question"].str.extract(r"(number \d+) lives").drop_nulls()
    assert len(named) == 8
    seen = contexts.str.replace_all("[«»]", "").str.extract_all(r"number \d+ lives").explode().drop_nulls()
    assert len(seen)
    assert not set(seen) & {f"{name} lives" for name in named}


def test_a_dictionary_from_a_folder_reads_what_the_trained_one_reads(trained, tmp_path):
    from study import Study

    study = Study(tmp_path / "study")
    shutil.copytree(trained.folder, study.folder, symlinks=True)
    shutil.copytree(study.folder / "results/saes/tiny/middle", study.folder / "local/sae")
    given = {**{key: MIDDLE[key] for key in ("site", "texts", "tokens")}, "source": "files", "path": "local/sae"}
    with_sae(study, given={**given, "model": "tiny", "layer": 1})
    target = "results/sae_features/tiny/animals/given.parquet"
    assert set(study.planned(target)) == {"fetch_sae", "train_sae", "sae_features"}
    study.run(target)
    ours, theirs = (
        pl.read_parquet(study.folder / f"results/sae_features/tiny/animals/{n}.parquet") for n in ("middle", "given")
    )
    assert ours.select("role", "id", "position", "features").equals(theirs.select("role", "id", "position", "features"))
    with_sae(study, given={**given, "model": "tiny", "layer": 2})
    result = study.snakemake(target)
    assert result.returncode != 0
    assert "saes.given: the SAE leaves" in result.stdout + result.stderr
    assert "correct site and layer" in result.stdout + result.stderr


def test_stored_features_rebuild_activations_with_the_stored_error(trained):
    frame = pl.read_parquet(trained.folder / "results/sae_features/tiny/animals/middle.parquet")
    folder = trained.folder / "results/saes/tiny/middle"
    dictionary = load(folder, "saes.middle")
    about = json.loads((folder / "cfg.json").read_text())["metadata"]
    from transformers import AutoModelForCausalLM, AutoTokenizer

    from iclscope.engine.prompts import encode_demonstration

    model = AutoModelForCausalLM.from_pretrained(trained.folder / "local/tiny")
    tokenizer = AutoTokenizer.from_pretrained(trained.folder / "local/tiny")
    rows = pl.read_parquet(trained.folder / "results/samples/animals/candidates.parquet")
    for row in rows.iter_rows(named=True):
        ids = encode_demonstration(tokenizer, row).ids
        with torch.inference_mode():
            states = model(torch.tensor([ids]), output_hidden_states=True).hidden_states[about["layer"] + 1][0]
        for one in frame.filter(role="candidate", id=row["id"]).iter_rows(named=True):
            codes = torch.zeros(dictionary.width)
            codes[one["features"]] = torch.tensor(one["values"])
            rest = states[one["position"]] - dictionary.decode(codes)
            assert float(rest.square().sum()) == pytest.approx(one["error"], rel=1e-2)
            centred = states[one["position"]] - torch.tensor(about["mean"])
            assert float(centred.square().sum()) == pytest.approx(one["energy"], rel=1e-3)
    assert frame.filter(role="candidate")["position"].min() == 1
    assert frame["error"].is_finite().all()
