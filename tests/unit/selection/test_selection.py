import numpy as np
import polars as pl
import pytest

import planted
from iclscope.runtime.errors import StudyError
from iclscope.runtime.jobs import Job
from iclscope.selection import trial
from iclscope.selection.selectors import REGISTRY, Materials, Selector, resolve
from iclscope.selection.trial import Trial, pool_of
from iclscope.selection.worth import Judge
from iclscope.tables import BEST_POSSIBLE, EVALUATION, FEATURES, GAINS, SAMPLE, SELECTION

SELECTORS = [
    "random", "search_2", "search_8", "search_half", "length", "nearest", "nearest_bm25", "activation", "nll",
    "content_free",
]  # fmt: skip
TARGETS = ["accuracy", "gold_logprob", "gain"]
POOL = 8


PROBE = {"site": "resid", "layer": 1}


def run(made, folder, selectors=SELECTORS, targets=TARGETS, splits=20, seed=1, pool=POOL, probe=None):
    trial.run(
        files=trial.Files(
            metrics=made.metrics,
            **{name: made.paths[name] for name in ("evaluation", "features", "embeddings", "candidates")},
            item_rows=made.paths["items"],
            activations=made.paths["activations"] if probe else [],
            representations=made.paths["representations"],
            codes={"mid": made.paths["sae_features"], "mid_random": made.paths["sae_features_random"]},
            dictionary=made.paths["sae_dictionary"],
        ),
        targets=targets,
        settings={"selectors": selectors, "pool": pool, "splits": splits, "bootstrap": 200}
        | ({"probe": probe} if probe else {}),
        selection_out=folder / "selection.parquet",
        gains_out=folder / "gains.parquet",
        job=Job(seed, {}),
    )
    return SELECTION.read(folder / "selection.parquet")


@pytest.fixture(scope="module")
def study(tmp_path_factory):
    folder = tmp_path_factory.mktemp("study")
    made = planted.write(folder, planted.Plan(effect=0.95))
    return made, run(made, folder)


@pytest.fixture(scope="module")
def curves(study):
    made, _ = study
    return GAINS.read(made.paths["evaluation"].parent / "gains.parquet")


def row(table, selector, target="gold_logprob"):
    return table.row(by_predicate=(pl.col("target") == target) & (pl.col("selector") == selector), named=True)


def curve(table, selector, target="gold_logprob"):
    """Pool → row of a selector."""
    rows = table.filter(target=target, selector=selector).rows(named=True)
    return {row["pool"]: row for row in rows}


def judged(scores, selectors, splits=10, seed=0, pool=4):
    """Selection table of selectors that need no materials."""
    clusters = np.arange(len(scores)), np.arange(scores.shape[1])
    materials = Materials(
        pl.DataFrame({"length": np.arange(len(scores))}), *(None,) * 4, np.zeros((0, len(scores))), np.array([])
    )
    made = Trial.of({"selectors": ["search_half"], "splits": splits, "pool": pool}, materials, clusters[1], seed)
    names = {s.name: s for s in [*made.selectors, *selectors]}
    made = Trial(list(names.values()), *(getattr(made, f) for f in list(Trial.__dataclass_fields__)[1:]))
    named = {name: names[name].kind for name in ["search_half", *(s.name for s in selectors)]}
    return made, made.value(scores, Judge(named, pool, made.searches, *clusters, 50, seed))[0]


def test_table_has_every_selector_and_target_in_order(study):
    _, table = study
    assert table["selector"].to_list() == SELECTORS * 3
    assert table["target"].unique(maintain_order=True).to_list() == TARGETS
    assert table["pool"].unique().to_list() == [POOL]


def test_random_is_the_mean_over_candidates(study):
    made, table = study
    random = row(table, "random")
    assert (random["gain"], random["search_items"]) == (0, 0)
    assert (random["low"], random["p"], random["standard_error"]) == (None, None, None)
    assert random["value"] == pytest.approx(made.scores.mean(), abs=1e-6)


def test_search_improves_with_items_and_is_its_own_measure(study):
    _, table = study
    gains = [row(table, name)["gain"] for name in ("random", "search_2", "search_8", "search_half")]
    assert gains == sorted(gains)
    for name, items in (("search_2", 2), ("search_8", 8), ("search_half", 20)):
        found = row(table, name)
        assert found["search_items"] == pytest.approx(items)
        assert found["search_low"] <= items <= (found["search_high"] or np.inf) + 1e-3
        assert found["kind"] == "static"


def test_planted_activation_signal_beats_random_and_noise_does_not(study):
    _, table = study
    found = row(table, "activation")
    assert found["gain"] > 0.8
    assert found["low"] > 0
    assert found["p_holm"] < 0.01
    assert found["search_low"] > 4
    for name in ("length", "nearest", "nearest_bm25", "nll"):
        assert row(table, name)["p_holm"] > 0.05


def test_columns_are_consistent(study):
    _, table = study
    level = row(table, "random")["value"]
    mine = table.filter(target="gold_logprob")
    np.testing.assert_allclose(mine["gain"], mine["value"] - level, atol=1e-12)
    np.testing.assert_allclose(mine["regret"] + mine["gain"], row(table, "random")["regret"], atol=1e-12)
    tested = mine.filter(pl.col("p").is_not_null())
    np.testing.assert_allclose((tested["high"] + tested["low"]) / 2, tested["gain"])
    assert (tested["high"] - tested["low"] > 2 * 1.96 * tested["standard_error"]).all()  # Student's t
    assert (tested["p_holm"] >= tested["p"]).all()
    kinds = dict(mine.select("selector", "kind").iter_rows())
    assert (kinds["nearest"], kinds["search_8"]) == ("query", "static")


def test_curves_hold_the_declared_pool_and_every_size_up_to_all_candidates(study, curves):
    _, table = study
    search = curve(curves, "search_8")
    assert list(search) == [4, 8, 16, 30, 60]
    for name in SELECTORS[1:]:
        at_pool = curve(curves, name)[POOL]
        assert (at_pool["gain"], at_pool["low"]) == (row(table, name)["gain"], row(table, name)["low"])
        assert at_pool["p"] == row(table, name)["p"]
    gains = [point["gain"] for point in search.values()]
    assert gains == sorted(gains)
    assert curves.filter(selector="random").is_empty()


def test_a_single_pick_has_no_interval_and_the_tails_of_the_candidates(curves):
    single = curve(curves, "search_half")[60]
    assert (single["low"], single["high"]) == (None, None)
    assert 1 / 61 <= single["p"] < 0.1
    learned = curve(curves, "activation")
    assert list(learned) == [4, 8, 30]  # from half of the candidates: all of these, and up to half of them
    assert learned[30]["low"] is None
    assert learned[8]["low"] is not None


def test_the_best_possible_gain_bounds_what_any_choice_for_all_gains(curves):
    best = curve(curves, BEST_POSSIBLE)
    assert list(best) == [4, 8, 16, 30]
    for size in (4, 8, 16, 30):
        assert best[size]["low"] < best[size]["gain"] < best[size]["high"]
        assert curve(curves, "search_half")[size]["gain"] < best[size]["high"]
    # Ability is standard normal: the expected maximum of four is 1.03, of eight 1.42.
    assert best[4]["gain"] == pytest.approx(1.03, abs=0.3)
    assert best[8]["gain"] == pytest.approx(1.42, abs=0.4)


def test_nothing_is_possible_where_all_candidates_are_equally_good(tmp_path):
    made = planted.write(tmp_path, planted.Plan(candidates=20, items=12, layers=1))
    rng = np.random.default_rng(0)
    EVALUATION.write(
        planted.evaluation(np.tile(rng.standard_normal(12), (20, 1)), np.zeros(12)), made.paths["evaluation"], {}
    )
    table = run(made, tmp_path, selectors=["random", "search_2", "nll"], targets=["gold_logprob"], splits=3)
    np.testing.assert_allclose(table["gain"], 0, atol=1e-9)
    assert table["p"].null_count() == table["regret"].null_count() == 3
    assert GAINS.read(tmp_path / "gains.parquet").filter(selector=BEST_POSSIBLE).is_empty()


@pytest.mark.parametrize(("declared", "candidates", "pool"), [(16, 1000, 16), (16, 48, 12), (2, 48, 2), (16, 6, 2)])
def test_pools_are_as_declared_but_at_most_a_quarter_of_the_candidates(declared, candidates, pool):
    assert pool_of(declared, candidates) == pool


def test_a_pool_for_which_a_selector_has_too_few_candidates_is_undefined_with_a_reason(tmp_path):
    made = planted.write(tmp_path, planted.Plan(candidates=6, items=8, layers=1))
    table = run(made, tmp_path, selectors=["random", "length", "nll"], targets=["gold_logprob"], splits=2)
    assert row(table, "length")["gain"] is None
    assert row(table, "length")["reason"] == "it chooses among 3 candidates: too few"
    assert row(table, "nll")["gain"] is not None


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


def test_searches_stand_behind_the_exchange_rate_even_if_not_asked_for(study, tmp_path):
    made, table = study
    alone = run(made, tmp_path, selectors=["search_2"], targets=["gold_logprob"])
    assert alone["selector"].to_list() == ["search_2"]
    others = ("p_holm", "search_low", "search_high")
    same = table.filter(target="gold_logprob", selector="search_2")
    assert alone.drop(others).row(0) == same.drop(others).row(0)
    np.testing.assert_allclose(alone.select(others[1:]), same.select(others[1:]))  # but for float rounding


def test_same_seed_gives_the_same_bytes(tmp_path):
    made = planted.write(tmp_path, planted.Plan(candidates=20, items=20, layers=1))
    made_twice = []
    for _ in range(2):
        run(made, tmp_path, splits=5)
        made_twice.append([(tmp_path / f"{name}.parquet").read_bytes() for name in ("selection", "gains")])
    assert made_twice[0] == made_twice[1]


def test_selectors_that_a_data_set_cannot_serve_are_left_out(tmp_path):
    made = planted.write(tmp_path, planted.Plan(candidates=20, items=12, layers=1, generated=True))
    table = run(made, tmp_path, selectors=["random", "uncertainty", "nll"], splits=3)
    assert table["selector"].unique(maintain_order=True).to_list() == ["random", "nll"]


def test_learners_that_a_data_set_cannot_serve_are_left_out():
    scores = np.random.default_rng(0).standard_normal((20, 12))
    _, table = judged(scores, [Selector("mute", lambda *_: None, learns=True)])
    assert table["selector"].to_list() == ["search_half"]


def test_selectors_never_see_the_items_that_judge():
    scores = np.random.default_rng(0).standard_normal((16, 12))
    seen = []

    def spy(materials, lesson, rng):
        seen.append(lesson.scores)
        return lesson.scores.mean(axis=1)

    made, table = judged(scores, [Selector("spy", spy, learns=True, tried=6)])
    rng = np.random.default_rng(3)
    gains = []
    for chosen, judges in zip(seen, made.judging, strict=True):
        np.testing.assert_array_equal(chosen, scores[:, ~judges])
        quality = scores[:, judges].mean(axis=1)
        pools = rng.permuted(np.tile(np.arange(16), (4000, 1)), axis=1)[:, :4]
        picked = pools[np.arange(4000), np.argmax(chosen.mean(axis=1)[pools], axis=1)]
        gains.append(quality[picked].mean() - quality.mean())
    spied = table.row(by_predicate=pl.col("selector") == "spy", named=True)
    assert spied["gain"] == pytest.approx(np.mean(gains), abs=0.01)
    assert spied["gain"] == table.row(by_predicate=pl.col("selector") == "search_half", named=True)["gain"]


def test_choosing_among_equals_gains_nothing():
    # All candidates are equally good; the best on one half is lucky there, and only there.
    gains = []
    for seed in range(20):
        scores = np.random.default_rng(seed).standard_normal((30, 40))
        gains.append(judged(scores, resolve(["search_8"]), seed=seed)[1]["gain"].to_list())
    assert np.abs(np.mean(gains, axis=0)).max() < 0.05


def test_unknown_selector_stops_before_any_work(tmp_path):
    made = planted.write(tmp_path, planted.Plan(candidates=6, items=8, layers=1))
    with pytest.raises(StudyError, match="'serch_8' is none of"):
        run(made, tmp_path, selectors=["serch_8"])


def test_too_few_items_are_refused(tmp_path):
    made = planted.write(tmp_path, planted.Plan(candidates=6, items=3, layers=1))
    with pytest.raises(StudyError, match="only 3 independent items"):
        run(made, tmp_path, selectors=["random"])


def test_candidates_of_too_few_passages_are_refused(tmp_path):
    made = planted.write(tmp_path, planted.Plan(candidates=9, items=8, layers=1))
    sample = SAMPLE.read(made.paths["candidates"])
    shared = sample.with_columns(cluster=pl.format("passage {}", pl.col("id") // 3))
    SAMPLE.write(shared, made.paths["candidates"], {})
    with pytest.raises(StudyError, match="only 3 independent candidates, 4 are needed"):
        run(made, tmp_path, selectors=["random"])


def test_candidates_that_share_a_passage_make_gains_less_certain(tmp_path):
    made = planted.write(tmp_path, planted.Plan(candidates=40, items=20, layers=1, alpha=0.95))
    alone = run(made, tmp_path, selectors=["search_8"], targets=["gold_logprob"], splits=4)
    order = np.argsort(made.ability)  # neighbours in ability share a passage
    passage = np.empty(40, dtype=int)
    passage[order] = np.arange(40) // 4
    sample = SAMPLE.read(made.paths["candidates"]).with_columns(cluster=pl.Series(passage).cast(pl.String))
    SAMPLE.write(sample, made.paths["candidates"], {})
    shared = run(made, tmp_path, selectors=["search_8"], targets=["gold_logprob"], splits=4)
    assert shared["gain"].to_list() == alone["gain"].to_list()
    assert shared["error_candidates"][0] > 1.3 * alone["error_candidates"][0]


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
    asked = {"selectors": ["random", "search_half", "probe"], "targets": ["gold_logprob"], "splits": 10}
    gains = [
        row(run(made, tmp_path, **asked, probe={"site": site, "layer": layer}), "probe")["gain"]
        for site, layer in (("resid", 1), ("resid", 0.5), ("resid", 1.0), ("mlp_out", 1))
    ]
    assert gains[0] == gains[1]  # the planted one, also as a share of the depth: the second of three blocks
    assert gains[0] > 2 * max(gains[2:])
    table = run(made, tmp_path, **asked, probe=PROBE)
    demonstrations = FEATURES.read(made.paths["features"])["length"].sum()
    lessons = demonstrations / 2 + 60 * 40 / 4 * 10
    assert row(table, "probe")["cost"] == pytest.approx(lessons + POOL * demonstrations / 60)
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
    table = run(made, tmp_path, ["random", "search_half", "search_4", "search_strat_4"], ["gold_logprob"], splits=40)
    assert row(table, "search_strat_4")["gain"] == pytest.approx(row(table, "search_half")["gain"])
    assert row(table, "search_4")["gain"] < 0.8 * row(table, "search_strat_4")["gain"]
    assert row(table, "search_strat_4")["cost"] == row(table, "search_4")["cost"]


def test_evaluation_that_stopped_early_is_judged_on_its_items_alone(study, tmp_path):
    made, _ = study
    few = EVALUATION.read(made.paths["evaluation"]).filter(pl.col("item") < 12)
    stopped = planted.Planted(made.ability, made.scores[:, :12], dict(made.paths), made.metrics)
    stopped.paths["evaluation"] = tmp_path / "evaluation.parquet"
    EVALUATION.write(few, stopped.paths["evaluation"], {})
    selectors = ["random", "search_half", "nearest", "nearest_bm25"]
    table = run(stopped, tmp_path, selectors=selectors, targets=["gold_logprob"])
    assert row(table, "random")["value"] == pytest.approx(made.scores[:, :12].mean(), abs=1e-6)
    assert row(table, "search_half")["search_items"] == pytest.approx(6)


def test_cost_counts_the_tokens_that_each_choice_needs(study):
    made, table = study
    length = FEATURES.read(made.paths["features"])["length"].mean()
    costs = {name: row(table, name)["cost"] for name in SELECTORS}
    prompt, items = 10, 40  # tokens of an item's prompt, and the study's 60 candidates of which 30 teach
    assert (costs["random"], costs["nearest_bm25"]) == (0, 0)
    assert costs["nll"] == pytest.approx(POOL * length)
    assert costs["nearest"] == pytest.approx(POOL * length + items * prompt)
    assert costs["content_free"] == pytest.approx(POOL * (length + 12))  # tokens of the questions without content
    assert costs["search_8"] == pytest.approx(POOL * (length + 8 * prompt))
    assert costs["search_half"] == pytest.approx(POOL * (length + items / 2 * prompt))
    assert costs["length"] == pytest.approx(30 * (length + items / 2 * prompt))
    assert costs["activation"] == pytest.approx(costs["length"] + 2 * POOL * length)  # two masks


def test_part_of_the_error_is_due_to_the_candidates(study):
    _, table = study
    tested = table.filter(pl.col("p").is_not_null(), pl.col("kind") == "static")
    assert (tested["error_candidates"] <= tested["standard_error"] + 1e-12).all()
    assert (tested["error_candidates"] > 0).all()
