"""A mask, a metric, a pooling and a selector of the study's own, each in one file, without a change of the package."""

import textwrap

import polars as pl

EXTENSIONS = {
    "nearby.py": """
        import numpy as np

        from iclscope.activations.masks import causal, mask


        @mask
        def nearby(segments):
            return causal(segments) & ~np.tri(segments.tokens, k=-4, dtype=bool)
        """,
    "peak.py": """
        from iclscope.signals.metrics import metric


        @metric()
        def peak(stats):
            return stats.pooled[0] * 0 + FACTOR


        FACTOR = 7.0
        """,
    "second.py": """
        import numpy as np

        from iclscope.signals.poolings import pooling


        @pooling("second")
        def second_token(spans):
            return np.ones_like(spans["n_tokens"]), np.full_like(spans["n_tokens"], 2)
        """,
    "latest.py": """
        import numpy as np

        from iclscope.selection.selectors import register


        @register("latest")
        def latest_candidate(materials, lesson, rng):
            return np.arange(materials.features.height, dtype=float)
        """,
}


def test_a_study_uses_functions_of_its_own_and_follows_their_changes(study):
    folder = study.folder / "config/extensions"
    folder.mkdir()
    for name, text in EXTENSIONS.items():
        (folder / name).write_text(textwrap.dedent(text))
    study.configure(lambda c: c["masks"].append("nearby"))
    study.configure(lambda c: c["metrics"].update(names=["mean", "peak"], poolings=["all", "second"]))
    study.configure(lambda c: c["selection"]["selectors"].append("latest"))
    assert "evaluation_block" not in study.planned()
    study.run("results/selection/tiny/sums.parquet")

    metrics = pl.read_parquet(study.folder / "results/metrics/tiny/sums/nearby.parquet")
    assert set(metrics["pooling"]) == {"all", "second"}
    assert set(metrics.filter(metric="peak")["value"]) == {7.0}
    selection = pl.read_parquet(study.folder / "results/selection/tiny/sums.parquet")
    assert "latest" in set(selection["selector"])

    study.edit("config/extensions/peak.py", "FACTOR = 7.0", "FACTOR = 8.0  # larger")
    planned = study.planned("results/selection/tiny/sums.parquet")
    assert planned["metrics"] == 1
    assert "activations" not in planned
    study.edit("config/extensions/peak.py", "FACTOR = 8.0  # larger", "FACTOR = 7.0")
    study.edit("config/extensions/latest.py", "latest_candidate", "the_latest_candidate")
    assert set(study.planned("results/selection/tiny/sums.parquet")) == {"selection"}

    study.edit("config/extensions/latest.py", "materials.features.height", "materials.features.rows_there_are")
    result = study.snakemake("results/selection/tiny/sums.parquet")
    assert result.returncode != 0
    assert "config/extensions/latest.py, line 9: AttributeError: " in result.stdout + result.stderr
