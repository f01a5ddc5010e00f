"""Metrics of a sparse autoencoder on a table by hand, and single features against quality."""

import numpy as np
import polars as pl
import pytest

from iclscope.runtime.jobs import Job
from iclscope.selection.vectors import sparse
from iclscope.signals import sae_metrics
from iclscope.signals.metrics import NO_TOKENS
from iclscope.signals.sae_codes import Codes, Reading
from iclscope.signals.sae_screen import Tried, screen
from iclscope.statistics.ranks import centred_ranks
from iclscope.statistics.signals.shuffles import Shuffles
from iclscope.statistics.signals.stability import chosen_per_half, stability_of
from iclscope.statistics.signals.studentised import ItemDraws
from iclscope.tables import SAE_DICTIONARY, SAE_FEATURES, SAE_METRICS

# Density of five features, of which the last is never active: it counts as rare as the rarest, 0.0005.
DENSITY = [0.5, 0.1, 0.0005, 0.02, 0.0]
W = -np.log([0.5, 0.1, 0.0005, 0.02, 0.0005])
# id: position → features and values; question 1 to 3, answer 3 to 4, of 4 tokens; candidate 2 has nothing but token 0.
CANDIDATES = {
    0: {1: {0: 2.0, 1: 1.0}, 2: {0: 4.0, 2: 0.5}, 3: {3: 3.0}},
    1: {1: {0: 1.0, 3: 1.0}, 3: {}},
}
ITEMS = {0: {1: {0: 1.0}}, 1: {1: {1: 2.0}, 2: {3: 2.0}}}
ERROR, ENERGY = {1: 1.0, 2: 2.0, 3: 3.0}, {1: 4.0, 2: 5.0, 3: 11.0}


def rows(role, texts):
    for text, tokens in texts.items():
        for position, code in tokens.items():
            yield {
                "role": role, "id": text, "position": position, "n_tokens": 4, "question_start": 1, "question_end": 3,
                "answer_start": 3, "answer_end": 4, "features": list(code), "values": list(code.values()),
                "error": ERROR[position], "energy": ENERGY[position],
            }  # fmt: skip


def written(folder, architecture):
    """The tables of a toy SAE on disk."""
    frame = pl.DataFrame([*rows("candidate", CANDIDATES), *rows("item", ITEMS)], schema=SAE_FEATURES.schema)
    about = {"architecture": architecture, "place": ["resid", 3], "texts": {"candidate": 3, "item": 2}}
    SAE_FEATURES.write(frame, folder / "codes.parquet", about)
    known = {
        "sae": ["toy"] * 5,
        "feature": range(5),
        "density": DENSITY,
        "mean_value": [1.0] * 5,
        "contexts": [["a"]] * 5,
    }
    SAE_DICTIONARY.write(pl.DataFrame(known, schema=SAE_DICTIONARY.schema), folder / "features.parquet", {})
    return sae_metrics.Files(folder / "codes.parquet", folder / "features.parquet")


@pytest.fixture
def value(tmp_path):
    """Value and reason of a metric, pooling and candidate of the toy SAE."""

    def of(metric, pooling, candidate, architecture="jumprelu"):
        settings = {"name": "toy", "poolings": ["all", "question", "answer", "last"]}
        path = tmp_path / "metrics.parquet"
        files = written(tmp_path, architecture)
        sae_metrics.run(files=files, settings=settings, sae_metrics_out=path, job=Job(1, {}))
        frame = SAE_METRICS.read(path)
        assert frame.select("sae", "site", "layer").unique().rows() == [("toy", "resid", 3)]
        row = frame.row(
            by_predicate=(pl.col.metric == metric) & (pl.col.pooling == pooling) & (pl.col.candidate == candidate),
            named=True,
        )
        return row["value"], row["reason"]

    return of


def test_counts_of_features_by_hand(value):
    assert value("sae_active", "all", 0) == (pytest.approx(5 / 3), None)
    assert value("sae_active", "question", 0) == (pytest.approx(2.0), None)
    assert value("sae_distinct", "all", 0) == (4.0, None)
    assert value("sae_distinct", "answer", 0) == (1.0, None)
    assert value("sae_rare", "all", 0) == (1.0, None)
    assert value("sae_rare", "answer", 0) == (0.0, None)
    assert value("sae_distinct", "answer", 1) == (0.0, None)


def test_variance_left_is_a_ratio_of_sums(value):
    assert value("sae_unexplained", "all", 0)[0] == pytest.approx(6 / 20)
    assert value("sae_unexplained", "question", 1)[0] == pytest.approx(1 / 4)


def test_novelty_weighs_by_values(value):
    wanted = (6 * W[0] + 1 * W[1] + 0.5 * W[2] + 3 * W[3]) / 10.5
    assert value("sae_novelty", "all", 0)[0] == pytest.approx(wanted)


def test_similarity_is_the_mean_cosine_with_the_questions_of_items(value):
    ours = W * np.array([4.0, 1.0, 0.5, 3.0, 0])
    theirs = [W * np.array([1.0, 0, 0, 0, 0]), W * np.array([0, 2.0, 0, 2.0, 0])]
    cosines = [ours @ one / np.linalg.norm(ours) / np.linalg.norm(one) for one in theirs]
    assert value("sae_similarity", "all", 0)[0] == pytest.approx(np.mean(cosines))


def test_what_is_undefined_says_why(value):
    assert value("sae_active", "all", 0, "topk") == (None, sae_metrics.BY_CONSTRUCTION)
    for metric in sae_metrics.SAE_METRICS_BY_NAME:
        assert value(metric, "all", 2) == (None, NO_TOKENS)
    assert value("sae_novelty", "answer", 1) == (None, sae_metrics.SILENT)
    assert value("sae_similarity", "answer", 1) == (None, sae_metrics.SILENT)


@pytest.fixture
def reading():
    """Ten candidates and six items with random features of twelve, a question of two tokens each."""
    rng = np.random.default_rng(8)

    def codes(texts):
        active = rng.random((texts, 2, 12)) < 0.25
        return Codes.of(
            pl.DataFrame(
                [
                    {
                        "id": text, "position": 1 + token, "n_tokens": 4, "question_start": 1, "question_end": 3,
                        "answer_start": 3, "answer_end": 4, "features": np.flatnonzero(active[text, token]).tolist(),
                        "values": rng.uniform(0.5, 2, active[text, token].sum()).tolist(), "error": 1.0, "energy": 2.0,
                    }
                    for text in range(texts)
                    for token in range(2)
                ]
            ),
            texts,
            12,
        )  # fmt: skip

    return Reading(codes(10), codes(6), rng.uniform(0.01, 0.4, 12), "resid", 3, "topk")


def questions(reading):
    """Which features a question has: bool [texts, width], of candidates and items."""
    return tuple(part.pooled("question").largest.toarray() > 0 for part in (reading.candidates, reading.items))


def test_cover_is_what_brute_force_takes(reading):
    ours, theirs = questions(reading)
    weight = -np.log(reading.density)

    def covered(chosen):
        """Weight of the items' features, once per item that has it, that any of the chosen candidates has."""
        return sum(weight[f] for item in theirs for f in np.flatnonzero(item) if ours[list(chosen), f].any())

    order = np.argsort(-sparse.cover(reading)).tolist()
    assert sorted(order) == list(range(10))
    taken = []
    for candidate in order:
        adds = {one: covered([*taken, one]) for one in range(10) if one not in taken}
        assert adds[candidate] == pytest.approx(max(adds.values()))
        taken.append(candidate)


def test_nearest_shares_most_weight_with_each_item(reading):
    ours, theirs = questions(reading)
    found = sparse.nearest(reading)
    assert found.shape == (10, 6)
    for c, n in np.ndindex(found.shape):
        assert found[c, n] == pytest.approx(-np.log(reading.density)[ours[c] & theirs[n]].sum())


def test_points_of_a_regression_have_the_products_of_all_features(reading):
    codes = np.log1p(reading.candidates.pooled("all").largest.toarray())
    centred = codes - codes.mean(axis=0)
    gram, found = centred @ centred.T, reading.points @ reading.points.T
    np.testing.assert_allclose(found / np.trace(found), gram / np.trace(gram), atol=1e-8)


def test_items_that_were_not_evaluated_are_left_out(reading):
    fewer = reading.of_first_items(4)
    assert len(fewer.items) == 4
    np.testing.assert_allclose(sparse.nearest(fewer), sparse.nearest(reading)[:, :4])


CANDIDATE_COUNT, ITEM_COUNT, FEATURES = 60, 30, 80


def planted(effect, rng):
    """Features of which the first follows quality as far as `effect` says, and scores."""
    quality = rng.standard_normal(CANDIDATE_COUNT)
    codes = np.maximum(rng.standard_normal((FEATURES, CANDIDATE_COUNT)), 0)
    codes[0] = np.maximum(effect * quality + np.sqrt(1 - effect**2) * rng.standard_normal(CANDIDATE_COUNT), 0)
    scores = quality[:, None] + rng.standard_normal((CANDIDATE_COUNT, ITEM_COUNT))
    about = pl.DataFrame({"pooling": "all", "feature": range(FEATURES), "prevalence": (codes > 0).mean(axis=1)})
    return Tried(about, centred_ranks(codes)), scores


def screened(effect, seed):
    rng = np.random.default_rng(seed)
    tried, scores = planted(effect, rng)
    draws = ItemDraws.of(scores, np.arange(ITEM_COUNT), 100, rng)
    return screen(tried, draws, Shuffles(CANDIDATE_COUNT, 300, [seed, 1], None), rng)


def test_the_feature_that_quality_follows_is_found_and_stable():
    found = screened(0.9, 1)
    best = found.row(0, named=True)
    assert best["feature"] == 0
    assert best["p_maxt"] < 0.01
    assert best["stability"] > 0.95
    assert best["expected_false"] <= 1
    assert (found.filter(pl.col("stability") <= 0.5)["expected_false"].is_null()).all()
    assert found["stability"].median() < 0.2


def test_without_an_effect_the_family_wise_error_is_as_declared():
    studies = 300
    wrong = sum(screened(0.0, 100 + seed)["p_maxt"].min() <= 0.05 for seed in range(studies))
    assert wrong / studies <= 0.07


def test_features_of_few_or_of_nearly_all_candidates_are_not_tried():
    codes = np.zeros((20, 4))
    codes[:1, 0] = codes[:2, 1] = codes[:18, 2] = codes[:19, 3] = 1
    rows_ = {
        "id": range(20), "position": 1, "n_tokens": 2, "question_start": 1, "question_end": 2, "answer_start": 0,
        "answer_end": 0, "features": [np.flatnonzero(c).tolist() for c in codes],
        "values": [c[c > 0].tolist() for c in codes], "error": 1.0, "energy": 1.0,
    }  # fmt: skip
    of = Codes.of(pl.DataFrame(rows_), 20, 4)
    tried = Tried.of(Reading(of, of, np.ones(4), "resid", 0, "topk"), ["all"])
    assert tried.about["feature"].to_list() == [1, 2]
    assert tried.about["prevalence"].to_list() == [0.1, 0.9]


def test_the_bound_on_false_choices_holds_for_noise():
    rng = np.random.default_rng(4)
    signals, candidates = 200, 40
    q = chosen_per_half(signals)
    assert q**2 / (0.8 * signals) <= 1
    counts = []
    for _ in range(20):
        values, quality = rng.standard_normal((signals, candidates)), rng.standard_normal(candidates)
        strength = lambda ours, v=values, y=quality: np.abs(np.corrcoef(v[:, ours], y[ours])[-1, :-1])  # noqa: E731
        found = stability_of(strength, signals, candidates, rng)
        assert found.share.sum() == pytest.approx(q)
        counts.append((found.share >= 0.9).sum())
    assert np.mean(counts) <= 1
