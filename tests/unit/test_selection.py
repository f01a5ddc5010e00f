import numpy as np
import polars as pl
import pytest

import planted
from iclscope.runtime.errors import StudyError
from iclscope.runtime.jobs import Job
from iclscope.selection import trial
from iclscope.selection.picks import ByChance, Half, with_study
from iclscope.selection.selectors import REGISTRY, Materials, Selector, resolve
from iclscope.selection.trial import Trial, search_curve, search_items
from iclscope.statistics.corrections import holm
from iclscope.statistics.resampling import Weights, random_half
from iclscope.tables import EVALUATION, FEATURES, SAMPLE, SELECTION

SELECTORS = [
    "random",
    "oracle",
    "search_2",
    "search_8",
    "length",
    "nearest",
    "nearest_bm25",
    "activation",
    "nll",
    "content_free",
]
TARGETS = ["accuracy", "gold_logprob", "gain"]


PROBE = {"site": "resid", "layer": 1}


def run(made, folder, selectors=SELECTORS, targets=TARGETS, splits=20, seed=1, probe=None):
    trial.run(
        files=trial.Files(
            metrics=made.metrics,
            **{name: made.paths[name] for name in ("evaluation", "features", "embeddings", "candidates")},
            item_rows=made.paths["items"],
            activations=made.paths["activations"] if probe else [],
        ),
        targets=targets,
        settings={"selectors": selectors, "splits": splits, "bootstrap": 200, **({"probe": probe} if probe else {})},
        selection_out=folder / "selection.parquet",
        job=Job(seed, {}),
    )
    return SELECTION.read(folder / "selection.parquet")


@pytest.fixture(scope="module")
def study(tmp_path_factory):
    folder = tmp_path_factory.mktemp("study")
    made = planted.write(folder, planted.Plan(effect=0.95))
    return made, run(made, folder)


def row(table, selector, target="gold_logprob"):
    return table.row(by_predicate=(pl.col("target") == target) & (pl.col("selector") == selector), named=True)


def judged(scores, selectors, splits=10, seed=0):
    """Selection table of selectors that need no materials."""
    rng = np.random.default_rng(seed)
    clusters = np.arange(scores.shape[1])
    materials = Materials(
        pl.DataFrame({"length": np.arange(len(scores))}), *(None,) * 4, np.zeros((0, len(scores))), np.array([])
    )
    weights = with_study(Weights.draw(len(scores), clusters, 100, rng))
    judging = np.stack([random_half(clusters, rng) for _ in range(splits)])
    compared = [*resolve(["random", "oracle"]), *selectors]
    fixed = {"random": ByChance(np.ones(len(scores)))}
    return Trial(compared, fixed, materials, judging, weights, seed).value(scores)


def test_table_has_every_selector_and_target_in_order(study):
    _, table = study
    assert table["selector"].to_list() == SELECTORS * 3
    assert table["target"].unique(maintain_order=True).to_list() == TARGETS


def test_random_is_the_mean_over_candidates(study):
    made, table = study
    random = row(table, "random")
    assert (random["gain"], random["search_items"]) == (0, 0)
    assert (random["low"], random["p"], random["standard_error"]) == (None, None, None)
    assert random["value"] == pytest.approx(made.scores.mean(), abs=0.3)  # halves differ in difficulty


def test_oracle_bounds_and_search_improves_with_items(study):
    _, table = study
    oracle = row(table, "oracle")
    assert oracle["kind"] == "bound"
    assert oracle["regret"] == 0
    assert oracle["p"] is None
    assert oracle["search_items"] == pytest.approx(20)
    gains = [row(table, name)["gain"] for name in ("random", "search_2", "search_8", "oracle")]
    assert gains == sorted(gains)
    assert 1 < row(table, "search_2")["search_items"] < row(table, "search_8")["search_items"] < 20


def test_planted_activation_signal_beats_random_and_noise_does_not(study):
    _, table = study
    found = row(table, "activation")
    assert found["gain"] > 0.8
    assert found["low"] > 0
    assert found["p"] < 0.05
    for name in ("length", "nearest", "nearest_bm25", "nll"):
        assert row(table, name)["p_holm"] > 0.05


def test_columns_are_consistent(study):
    _, table = study
    level = row(table, "random")["value"]
    mine = table.filter(target="gold_logprob")
    np.testing.assert_allclose(mine["gain"], mine["value"] - level, atol=1e-12)
    np.testing.assert_allclose(mine["regret"], row(table, "oracle")["value"] - mine["value"], atol=1e-12)
    tested = mine.filter(pl.col("p").is_not_null())
    np.testing.assert_allclose(tested["high"] - tested["low"], 2 * 1.959964 * tested["standard_error"], rtol=1e-5)
    assert (tested["p_holm"] >= tested["p"]).all()
    kinds = dict(mine.select("selector", "kind").iter_rows())
    assert (kinds["nearest"], kinds["search_8"]) == ("query", "static")


def test_shifted_target_gains_the_same_from_another_level(study):
    _, table = study
    gain, base = table.filter(target="gain"), table.filter(target="gold_logprob")
    assert gain.drop("target", "value").equals(base.drop("target", "value"))
    shift = (base["value"] - gain["value"]).to_numpy()
    np.testing.assert_allclose(shift, shift[0])
    assert shift[0] == pytest.approx(row(table, "random")["value"] - row(table, "random", "gain")["value"])


def test_shift_does_not_depend_on_the_order_of_targets(study, tmp_path):
    made, table = study
    turned = run(made, tmp_path, targets=["gain", "gold_logprob"])
    for target in ("gain", "gold_logprob"):
        np.testing.assert_allclose(
            turned.filter(target=target)["value"], table.filter(target=target)["value"], atol=1e-9
        )


def test_random_and_oracle_stand_behind_the_numbers_even_if_not_asked_for(study, tmp_path):
    made, table = study
    alone = run(made, tmp_path, selectors=["search_2"], targets=["gold_logprob"])
    assert alone["selector"].to_list() == ["search_2"]
    assert alone.drop("p_holm").row(0) == table.filter(target="gold_logprob", selector="search_2").drop("p_holm").row(0)


def test_same_seed_gives_the_same_bytes(tmp_path):
    made = planted.write(tmp_path, planted.Plan(candidates=20, items=20, layers=1))
    made_twice = []
    for _ in range(2):
        run(made, tmp_path, splits=5)
        made_twice.append((tmp_path / "selection.parquet").read_bytes())
    assert made_twice[0] == made_twice[1]


def test_selectors_that_a_data_set_cannot_serve_are_left_out(tmp_path):
    made = planted.write(tmp_path, planted.Plan(candidates=20, items=12, layers=1, generated=True))
    table = run(made, tmp_path, selectors=["random", "uncertainty", "nll"], splits=3)
    assert table["selector"].unique(maintain_order=True).to_list() == ["random", "nll"]


def test_selectors_never_see_the_items_that_judge():
    scores = np.random.default_rng(0).standard_normal((10, 12))
    seen = []

    def spy(materials, lesson, rng):
        seen.append(lesson.scores)
        return lesson.scores.mean(axis=1)

    table = judged(scores, [Selector("spy", spy, learns=True)])
    rng = np.random.default_rng(0)
    Weights.draw(10, np.arange(12), 100, rng)
    halves = [random_half(np.arange(12), rng) for _ in range(10)]
    for chosen, judges in zip(seen, halves, strict=True):
        np.testing.assert_array_equal(chosen, scores[:, ~judges])
    expected = [scores[np.argmax(scores[:, ~judges].mean(axis=1)), judges].mean() for judges in halves]
    spied = table.row(by_predicate=pl.col("selector") == "spy", named=True)
    assert spied["value"] == pytest.approx(np.mean(expected))
    assert spied["value"] == table.row(by_predicate=pl.col("selector") == "oracle", named=True)["value"]


def test_choosing_among_equals_gains_nothing():
    # All candidates are equally good; the best on one half is lucky there, and only there.
    gains = []
    for seed in range(20):
        scores = np.random.default_rng(seed).standard_normal((30, 40))
        gains.append(judged(scores, resolve(["search_8"]), seed=seed)["gain"].to_list())
    assert np.abs(np.mean(gains, axis=0)).max() < 0.05


def test_search_curve_of_noiseless_scores_is_flat_at_the_best():
    scores = np.repeat(np.arange(5.0)[:, None], 8, axis=1)
    half = Half.of(scores, np.arange(8) < 4, with_study(Weights.draw(5, np.arange(8), 3, np.random.default_rng(0))))
    curve = search_curve(scores[:, 4:], half, np.array([1, 2, 4]), np.random.default_rng(0))
    np.testing.assert_allclose(curve, 4 - 2)


def test_exchange_rate_reads_the_curve_backwards():
    sizes, curve = np.array([1, 2, 4, 8]), np.array([1.0, 2.0, 1.5, 3.0])
    assert search_items(-0.1, sizes, curve) == 0
    assert search_items(0.0, sizes, curve) == 0
    assert search_items(0.5, sizes, curve) == pytest.approx(0.5)
    assert search_items(1.5, sizes, curve) == pytest.approx(1.5)
    assert search_items(2.0, sizes, curve) == pytest.approx(2)  # the dip at 4 is filled
    assert search_items(2.5, sizes, curve) == pytest.approx(5)
    assert search_items(3.1, sizes, curve) is None


def test_holm_by_hand():
    np.testing.assert_allclose(holm(np.array([0.01, 0.04, 0.03, 0.005])), [0.03, 0.06, 0.06, 0.02])
    np.testing.assert_allclose(holm(np.array([0.6, 0.9])), [1.0, 1.0])


def test_unknown_selector_stops_before_any_work(tmp_path):
    made = planted.write(tmp_path, planted.Plan(candidates=6, items=8, layers=1))
    with pytest.raises(StudyError, match="'serch_8' is none of"):
        run(made, tmp_path, selectors=["serch_8"])


def test_too_few_items_are_refused(tmp_path):
    made = planted.write(tmp_path, planted.Plan(candidates=6, items=3, layers=1))
    with pytest.raises(StudyError, match="only 3 independent items"):
        run(made, tmp_path, selectors=["random"])


def test_embeddings_of_another_study_are_refused(tmp_path):
    made = planted.write(tmp_path, planted.Plan(candidates=8, items=8, layers=1))
    (tmp_path / "other").mkdir()
    other = planted.write(tmp_path / "other", planted.Plan(candidates=9, items=8, layers=1))
    made.paths["embeddings"] = other.paths["embeddings"]
    with pytest.raises(StudyError, match="another number of candidates than the evaluation, 8"):
        run(made, tmp_path, selectors=["random"])


def test_registered_selectors_can_all_run(tmp_path):
    made = planted.write(tmp_path, planted.Plan(candidates=16, items=12, layers=1, clusters=6))
    table = run(made, tmp_path, selectors=list(REGISTRY), splits=3, probe={"site": "resid", "layer": 0})
    place = list(REGISTRY).index("activation_each")
    each = [f"activation_{metric}" for metric in ("kurtosis", "mean")]  # the others are undefined
    assert table["selector"].unique(maintain_order=True).to_list() == [
        *list(REGISTRY)[:place],
        *each,
        *list(REGISTRY)[place + 1 :],
    ]


def test_probe_reads_the_site_and_layer_that_it_is_told(study, tmp_path):
    made, _ = study
    asked = {"selectors": ["random", "oracle", "probe"], "targets": ["gold_logprob"], "splits": 10}
    gains = [
        row(run(made, tmp_path, **asked, probe={"site": site, "layer": layer}), "probe")["gain"]
        for site, layer in (("resid", 1), ("resid", 0.5), ("resid", 1.0), ("mlp_out", 1))
    ]
    assert gains[0] == gains[1]  # the planted one, also as a share of the depth: the second of three blocks
    assert gains[0] > 2 * max(gains[2:])
    table = run(made, tmp_path, **asked, probe=PROBE)
    demonstrations = FEATURES.read(made.paths["features"])["length"].sum()
    assert row(table, "probe")["cost"] == 1.5 * demonstrations + 60 * 40 / 4 * 10
    assert "probe" not in run(made, tmp_path, **asked)["selector"].to_list()


def test_probe_of_a_block_that_the_model_has_not_is_refused(study, tmp_path):
    made, _ = study
    with pytest.raises(StudyError, match=r"selection\.probe\.layer: there is no block 3, the model has 3"):
        run(made, tmp_path, selectors=["random", "probe"], probe={"site": "resid", "layer": 3})


def test_searches_learn_the_labels_of_their_items(tmp_path):
    """Planted: candidates provoke a label; halves have as many of either, and two of each tell all that there is."""
    rng, labels = np.random.default_rng(0), np.arange(40) % 2
    made = planted.write(tmp_path, planted.Plan(items=40, clusters=20))
    ability = rng.standard_normal((60, 1))
    gold = ability + 5 * ability[::-1] * np.where(labels, 1, -1)
    EVALUATION.write(planted.evaluation(gold, np.zeros(40)), made.paths["evaluation"], {})
    items = SAMPLE.read(made.paths["items"]).with_columns(gold=pl.Series(labels, dtype=pl.Int32))
    SAMPLE.write(items, made.paths["items"], {})
    table = run(made, tmp_path, ["random", "oracle", "search_4", "search_strat_4"], ["gold_logprob"], splits=40)
    assert row(table, "search_strat_4")["gain"] == pytest.approx(row(table, "oracle")["gain"])
    assert row(table, "search_4")["gain"] < 0.8 * row(table, "search_strat_4")["gain"]
    assert row(table, "search_strat_4")["cost"] == row(table, "search_4")["cost"]


def test_evaluation_that_stopped_early_is_judged_on_its_items_alone(study, tmp_path):
    made, _ = study
    few = EVALUATION.read(made.paths["evaluation"]).filter(pl.col("item") < 12)
    stopped = planted.Planted(made.ability, made.scores[:, :12], dict(made.paths), made.metrics)
    stopped.paths["evaluation"] = tmp_path / "evaluation.parquet"
    EVALUATION.write(few, stopped.paths["evaluation"], {})
    table = run(stopped, tmp_path, selectors=["random", "oracle", "nearest", "nearest_bm25"], targets=["gold_logprob"])
    assert row(table, "random")["value"] == pytest.approx(made.scores[:, :12].mean(), abs=0.3)
    assert row(table, "oracle")["search_items"] == pytest.approx(6)


def test_more_candidates_are_valued_beside_the_single_pick(study):
    _, table = study
    oracle, search = row(table, "oracle"), row(table, "search_8")
    assert oracle["gain"] > oracle["top_5"] > oracle["top_10"] > 0
    assert search["top_10"] < oracle["top_10"]
    random = row(table, "random")
    assert (random["top_5"], random["top_10"]) == (0, 0)


def test_cost_counts_the_tokens_that_each_choice_needs(study):
    made, table = study
    demonstrations = FEATURES.read(made.paths["features"])["length"].sum()
    costs = {name: row(table, name)["cost"] for name in SELECTORS}
    prompt, pairs = 10, 60 * 40  # tokens of an item's prompt, candidates x items
    assert (costs["random"], costs["nearest_bm25"]) == (0, 0)
    assert costs["nll"] == demonstrations
    assert costs["nearest"] == demonstrations + 40 * prompt
    assert costs["content_free"] == demonstrations + 60 * 12  # tokens of the questions without content
    assert costs["search_8"] == demonstrations + 60 * 8 * prompt
    assert costs["oracle"] == demonstrations + pairs / 2 * prompt
    assert costs["length"] == demonstrations / 2 + pairs / 4 * prompt
    assert costs["activation"] == costs["length"] + 2 * demonstrations  # two masks


def test_part_of_the_error_is_due_to_the_candidates(study):
    _, table = study
    tested = table.filter(pl.col("p").is_not_null())
    assert (tested["error_candidates"] <= tested["standard_error"] + 1e-12).all()
    assert (tested["error_candidates"] > 0).all()
