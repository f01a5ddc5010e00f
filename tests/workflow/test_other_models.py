"""Studies of models of other kinds than the usual one."""

import polars as pl
import pytest

from architectures import save


def give(study, kind, masks, sites):
    """Let the study be about a model of another architecture, and about one data set of choices."""
    save(kind, study.folder / "local" / kind)
    study.configure(lambda c: c["models"].update(tiny={**c["models"]["tiny"], "path": f"local/{kind}"}))
    study.configure(lambda c: c["datasets"].pop("sums"))
    study.configure(lambda c: c.update(masks=masks))
    study.configure(lambda c: c["activations"].update(sites=sites))


@pytest.mark.parametrize(
    ("kind", "masks", "sites", "wanted"),
    [
        ("bloom", ["causal", "self_only"], ["resid"], "masks: models.tiny (BloomForCausalLM) can be read under causal"),
        ("gpt_neo", ["bidirectional"], ["resid"], "masks: models.tiny (GPTNeoForCausalLM) does not follow bidirection"),
        ("mamba", ["causal"], ["mlp_out"], "activations.sites: models.tiny (MambaForCausalLM) has none of mlp_out"),
    ],
)
def test_what_cannot_be_read_stops_the_study_before_any_other_job(fresh, kind, masks, sites, wanted):
    give(fresh, kind, masks, sites)
    result = fresh.snakemake()
    assert result.returncode != 0
    assert wanted in result.stdout + result.stderr
    assert not list((fresh.folder / "results").glob("*/*"))
    assert not list(fresh.folder.glob("resources/models/*"))


def test_a_mask_that_came_after_the_model_was_prepared_is_refused_before_the_matrix(fresh):
    give(fresh, "gpt_neo", ["causal"], ["resid"])
    fresh.run("--until", "sample")
    fresh.configure(lambda c: c["masks"].append("bidirectional"))
    result = fresh.snakemake("--cores", "1")  # on more cores a block may begin beside the activations
    assert result.returncode != 0
    assert "masks: models.tiny (GPTNeoForCausalLM) does not follow bidirection" in result.stdout + result.stderr
    assert not list(fresh.folder.glob("results/evaluation/**/*.parquet"))
    assert not list(fresh.folder.glob("results/features/**/*.parquet"))


def test_a_study_of_models_that_lack_a_site_says_why(fresh):
    give(fresh, "mixtral", ["causal"], ["mlp_act", "resid"])
    save("mamba", fresh.folder / "local/mamba")
    fresh.configure(lambda c: c["models"].update(other={**c["models"]["tiny"], "path": "local/mamba"}))
    fresh.run()
    for model, reason in (("tiny", "a mixture of experts"), ("other", "the block has no MLP")):
        metrics = pl.read_parquet(fresh.folder / f"results/metrics/{model}/animals/causal.parquet")
        absent = metrics.filter(pl.col.site == "mlp_act")
        assert absent["reason"].str.starts_with(reason).all()
        assert 0 < absent.height == absent["value"].null_count() == metrics.filter(pl.col.site == "resid").height
        correlation = pl.read_parquet(fresh.folder / f"results/correlation/{model}/animals.parquet")
        lacking = correlation.filter(pl.col.site == "mlp_act")
        assert lacking["rho"].null_count() == lacking.height
    assert (fresh.folder / "results/report/animals.html").is_file()
