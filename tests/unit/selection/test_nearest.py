"""Retrieval that learns its layer against planted layers and noise, and how much of its gain is copied labels."""

import itertools

import numpy as np
import polars as pl
import pytest

from iclscope.selection.selectors import Materials
from iclscope.selection.trial import Trial
from iclscope.selection.vectors.retrieval import label_match
from iclscope.selection.worth import Judge
from iclscope.signals.questions import LAST, MEAN, Place, Questions
from iclscope.statistics.ranks import unit
from iclscope.tables import REPRESENTATIONS

C, N, D, POOL = 24, 24, 6, 6
BEST = Place(2, LAST)


def drawn(rng, labels=None):
    """Materials of random vectors at three layers; `labels` are those of the items."""
    places = [Place(layer, pooling) for layer in (1, 2, 3) for pooling in (MEAN, LAST)]
    found = [{place: rng.standard_normal((n, D)).astype(np.float16) for place in places} for n in (C, N)]
    features = pl.DataFrame({"length": np.arange(C), "label": np.arange(C) % 3})
    return Materials(
        features, *(None,) * 4, np.zeros((0, C)), np.array([]), questions=Questions(*found), item_labels=labels
    )


def trial(materials, selectors=("nearest_layer", "nearest_last"), splits=6):
    settings = {"selectors": list(selectors), "splits": splits, "pool": POOL}
    return Trial.of(settings, materials, np.arange(N), 0)


def gain(materials, scores, name):
    compared = trial(materials).compare(scores, 0.9, POOL)
    return float(compared.gains.at(POOL).gain[compared.place(name), 0])


def test_a_planted_layer_is_found_and_gains_what_it_would_gain_if_it_were_known():
    rng = np.random.default_rng(0)
    materials = drawn(rng)
    scores = materials.questions.likeness(BEST) + 0.3 * rng.standard_normal((C, N))
    known = Questions(
        *({Place(3, LAST): part[BEST]} for part in (materials.questions.candidates, materials.questions.items))
    )
    wanted = gain(Materials(**{**vars(materials), "questions": known}), scores, "nearest_last")
    assert gain(materials, scores, "nearest_layer") == pytest.approx(wanted, abs=0.05)
    assert wanted > 0.3
    assert abs(gain(materials, scores, "nearest_last")) < 0.15


def test_layers_of_noise_gain_nothing():
    gains = []
    for seed in range(200):
        rng = np.random.default_rng(seed)
        materials, scores = drawn(rng), rng.standard_normal((C, N)) + rng.standard_normal((C, 1))
        compared = trial(materials, ["nearest_layer"], splits=2).compare(scores, 0.9, POOL)
        gains.append(compared.gains.at(POOL).gain[compared.place("nearest_layer"), 0])
    assert abs(np.mean(gains)) < 2 * np.std(gains) / np.sqrt(len(gains))


def test_the_table_has_labels_for_those_that_pick_for_each_item_and_for_random():
    rng = np.random.default_rng(0)
    labels = np.arange(N) % 3
    for known in (labels, None):
        made = trial(drawn(rng, known), ["random", "nearest_layer", "nearest_last"])
        named = {"random": "static", "nearest_layer": "query", "nearest_last": "query", "search_1": "static"}
        judge = Judge(named, POOL, made.searches, np.arange(C), np.arange(N), 50, 0)
        table, _ = made.value(rng.standard_normal((C, N)), judge)
        matched = dict(table.select("selector", "label_match").iter_rows())
        assert matched["search_1"] is None
        if known is None:
            assert set(matched.values()) == {None}
        else:
            assert matched["random"] == pytest.approx(1 / 3)
            assert 0.1 < matched["nearest_layer"] < 0.6
            assert table.filter(selector="random")["label_gain"][0] == pytest.approx(0)


def test_matched_labels_are_those_of_the_favourites_of_all_pools():
    rng = np.random.default_rng(1)
    preference, scores = rng.standard_normal((7, 5)), rng.standard_normal((7, 5))
    same = np.array([0, 0, 0, 1, 1, 2, 2])[:, None] == np.array([0, 1, 2, 0, 3])
    pools = list(itertools.combinations(range(7), 3))
    picks = np.array([[max(pool, key=lambda c: preference[c, item]) for item in range(5)] for pool in pools])
    share = same[picks, np.arange(5)].mean(axis=0)
    own = [scores[same[:, i], i].mean() if same[:, i].any() else 0 for i in range(5)]
    other = [scores[~same[:, i], i].mean() for i in range(5)]
    alike = share * own + (1 - share) * other
    found = label_match(preference, same, scores, 3)
    assert found == pytest.approx((share.mean(), alike.mean() - scores.mean()))


def test_where_scores_are_labels_all_of_a_gain_is_copied():
    rng = np.random.default_rng(2)
    materials = drawn(rng, np.arange(N) % 3)
    for part in (materials.questions.candidates, materials.questions.items):  # a layer that knows the label
        part[BEST][:, :3] += 5 * unit(np.eye(3)[np.arange(C) % 3]).astype(np.float16)
    scores = (np.arange(C)[:, None] % 3 == np.arange(N) % 3).astype(float)
    compared = trial(materials).compare(scores, 0.9, POOL)
    match, copied = compared.labels["nearest_layer"]
    assert match > 0.8
    assert copied == pytest.approx(gain(materials, scores, "nearest_layer"))


def test_vectors_are_read_in_the_order_of_ids_without_later_items_and_the_pool(tmp_path):
    rng = np.random.default_rng(3)
    roles = [("candidates", 4), ("items", 5), ("pool", 2)]
    keys = [(layer, role, n) for layer in (0, 2) for role, count in roles for n in range(count)]
    vectors = {name: rng.standard_normal((len(keys), 3)).astype(np.float16) for name in (MEAN, LAST)}
    columns = dict(zip(("layer", "role", "id"), zip(*keys, strict=True), strict=True))
    lists = {name: pl.Series(values.tolist(), dtype=pl.List(pl.Float16)) for name, values in vectors.items()}
    frame = pl.DataFrame({**columns, **lists}, schema_overrides={"layer": pl.Int16, "id": pl.Int32})
    REPRESENTATIONS.write(frame, tmp_path / "r.parquet", {})
    found = Questions.read(tmp_path / "r.parquet", (4, 3))
    assert found.last == Place(2, LAST)
    rows = [place for place, key in enumerate(keys) if key[:2] == (2, "items") and key[2] < 3]
    np.testing.assert_array_equal(found.items[Place(2, MEAN)], vectors[MEAN][rows])
