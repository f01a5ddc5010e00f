import numpy as np
import polars as pl
import pytest

from iclscope.runtime.errors import StudyError
from iclscope.selection.selectors import REGISTRY, Lesson, Materials, resolve
from iclscope.statistics.ranks import centred_ranks

C, N = 40, 12


@pytest.fixture
def materials():
    rng = np.random.default_rng(0)
    return Materials(
        features=pl.DataFrame(
            {
                "length": rng.integers(10, 90, C),
                "label": np.arange(C) % 4 // 3,  # three of label 0 for each of label 1
                "nll": rng.random(C),
                "zero_shot_margin": rng.standard_normal(C),
                "zero_shot_entropy": rng.random(C),
                "typicality": rng.random(C),
                "content_free": rng.standard_normal(C),
            }
        ),
        candidate_vectors=rng.standard_normal((C, 5)),
        item_vectors=rng.standard_normal((N, 5)),
        candidate_texts=[f"Is planet number{n} green?" for n in range(C)],
        item_texts=[f"What colour has number{3 * n}?" for n in range(N)],
        activation=centred_ranks(rng.standard_normal((30, C))),
        metrics=np.array(["mean", "kurtosis", "skewness"] * 10),
        candidate_encodings=rng.standard_normal((C, 3)),
        item_encodings=rng.standard_normal((N, 3)),
    )


def prefer(name, materials, chosen=None, seed=0, metrics=()):
    (selector,) = resolve([name], metrics)
    teachers = np.random.default_rng(5).permutation(C) < C // 2
    lesson = None if chosen is None else Lesson(materials, chosen, teachers)
    return selector.prefer(materials, lesson, np.random.default_rng(seed))


def changed(materials, **fields):
    return Materials(**{name: vars(materials)[name] for name in materials.__dataclass_fields__} | fields)


def test_every_selector_prefers_candidates_for_all_items_or_for_each(materials):
    chosen = np.random.default_rng(1).standard_normal((C, 6))
    for selector in resolve(list(REGISTRY), ["mean", "kurtosis"]):
        teachers = np.arange(C) < C // 2
        lesson = Lesson(materials, chosen, teachers) if selector.learns else None
        preference = selector.prefer(materials, lesson, np.random.default_rng(0))
        assert preference.shape == ((C, N) if selector.kind == "query" else (C,)), selector.name
        assert not np.isnan(preference).any()


def test_random_draws_any_with_the_same_chance(materials):
    assert set(prefer("random", materials)) == {1.0}


def test_balanced_random_draws_every_label_with_the_same_chance(materials):
    chance = prefer("random_balanced", materials)
    label = materials.features["label"].to_numpy()
    assert chance[label == 0].sum() == pytest.approx(chance[label == 1].sum())
    assert len(set(chance)) == 2


def test_oracle_prefers_the_best_on_all_items_of_its_half(materials):
    chosen = np.random.default_rng(1).standard_normal((C, 6))
    np.testing.assert_allclose(prefer("oracle", materials, chosen), chosen.mean(axis=1))


def test_search_looks_at_as_many_items_as_its_name_says(materials):
    chosen = np.eye(C, 9)  # candidate c is right on item c alone
    preference = prefer("search_4", materials, chosen)
    assert np.count_nonzero(preference) == 4
    np.testing.assert_allclose(preference.sum(), 1)


def test_search_with_more_items_than_a_half_has_is_refused(materials):
    with pytest.raises(StudyError, match="search_16 needs 16 items, half of them are 9"):
        prefer("search_16", materials, np.zeros((C, 9)))


@pytest.mark.parametrize("name", ["search", "search_0", "search_x", "best"])
def test_unknown_selector_is_refused(name):
    with pytest.raises(StudyError, match=r"selection\.selectors: '.*' is none of random, random_balanced"):
        resolve([name])


def test_names_stand_for_selectors_once_and_in_order():
    found = resolve(["nll", "search_8", "activation_each", "nll"], ["mean", "kurtosis"])
    assert [s.name for s in found] == ["nll", "search_8", "activation_mean", "activation_kurtosis"]


def test_simple_heuristics_prefer_the_extreme_of_their_feature(materials):
    features = materials.features
    assert np.argmax(prefer("nll", materials)) == features["nll"].arg_min()
    assert np.argmax(prefer("uncertainty_nll", materials)) == features["nll"].arg_max()
    assert np.argmax(prefer("uncertainty_margin", materials)) == features["zero_shot_margin"].abs().arg_min()
    assert np.argmax(prefer("uncertainty", materials)) == features["zero_shot_entropy"].arg_max()
    assert np.argmax(prefer("content_free", materials)) == features["content_free"].arg_max()
    assert np.argmax(prefer("typicality", materials)) == features["typicality"].arg_max()


@pytest.mark.parametrize(
    ("name", "column"),
    [
        ("uncertainty", "zero_shot_entropy"),
        ("uncertainty_margin", "zero_shot_margin"),
        ("random_balanced", "label"),
        ("content_free", "content_free"),
    ],
)
def test_what_a_data_set_lacks_leaves_a_selector_out(materials, name, column):
    empty = materials.features.with_columns(pl.lit(None, pl.Float64).alias(column))
    assert prefer(name, changed(materials, features=empty)) is None


def test_without_an_encoder_no_candidate_is_the_nearest_to_it(materials):
    assert prefer("nearest_encoder", changed(materials, candidate_encodings=None, item_encodings=None)) is None


@pytest.mark.parametrize("name", ["activation", "ridge"])
def test_learning_from_activations_needs_a_defined_signal(materials, name):
    none = changed(materials, activation=materials.activation[:0], metrics=materials.metrics[:0])
    assert prefer(name, none, np.zeros((C, 4))) is None


def test_metric_without_a_defined_signal_is_left_out(materials):
    assert prefer("activation_each", materials, np.zeros((C, 4)), metrics=["massive"]) is None


@pytest.mark.parametrize("sign", [1, -1])
def test_activation_follows_the_planted_signal_on_candidates_it_did_not_learn_from(materials, sign):
    chosen = sign * np.repeat(materials.activation[7][:, None], 5, axis=1).astype(float)
    preference = prefer("activation", materials, chosen)
    offered = np.isfinite(preference)
    assert offered.sum() == C // 2
    np.testing.assert_allclose(preference[offered], sign * materials.activation[7][offered])


@pytest.mark.parametrize("sign", [1, -1])
def test_length_takes_the_direction_of_the_choosing_half(materials, sign):
    length = materials.features["length"].to_numpy()
    preference = prefer("length", materials, sign * length[:, None].astype(float))
    offered = np.flatnonzero(np.isfinite(preference))
    assert length[np.argmax(preference)] == sign * (sign * length[offered]).max()


def test_nothing_is_preferred_where_quality_does_not_vary(materials):
    preference = prefer("activation", materials, np.ones((C, 4)))
    assert set(preference[np.isfinite(preference)]) == {0.0}


def test_each_metric_has_its_own_best_signal(materials):
    # Row 7 is kurtosis, row 8 skewness.
    ranks = materials.activation.astype(float)
    chosen = (ranks[7] + 0.2 * ranks[8])[:, None] * np.ones(5)
    for name, row in (("kurtosis", 7), ("skewness", 8)):
        preference = prefer("activation_each", materials, chosen, metrics=[name])
        offered = np.isfinite(preference)
        if name == "kurtosis":
            np.testing.assert_allclose(preference[offered], ranks[row][offered])
        assert any(
            np.allclose(np.abs(preference[offered]), np.abs(r[offered])) for r in ranks[materials.metrics == name]
        )


def test_ridge_combines_signals_that_alone_say_little(materials):
    # Quality is the sum of ten signals: none of them is strong, all together are.
    chosen = materials.activation[:10].sum(axis=0)[:, None] * np.ones(4, dtype=float)
    preference = prefer("ridge", materials, chosen)
    offered = np.isfinite(preference)
    assert offered.sum() == C // 2
    assert np.corrcoef(preference[offered], chosen[offered, 0])[0, 1] > 0.6


def test_ridge_on_principal_axes_is_ridge_on_all_signals(materials):
    signals = materials.activation / np.linalg.norm(materials.activation, axis=1, keepdims=True)
    products = materials.coordinates @ materials.coordinates.T
    expected = signals.T @ signals
    np.testing.assert_allclose(products, expected * np.trace(products) / np.trace(expected), atol=1e-4)


def test_learners_never_offer_their_teachers(materials):
    chosen = np.random.default_rng(1).standard_normal((C, 6))
    teachers = np.random.default_rng(5).permutation(C) < C // 2
    for name in ("length", "activation", "ridge"):
        np.testing.assert_array_equal(np.isinf(prefer(name, materials, chosen)), teachers)


def test_learners_do_not_see_the_scores_of_candidates_that_they_offer(materials):
    chosen = np.random.default_rng(1).standard_normal((C, 6))
    teachers = np.random.default_rng(5).permutation(C) < C // 2
    other = np.where(teachers[:, None], chosen, -chosen)
    for name in ("length", "activation", "ridge"):
        np.testing.assert_array_equal(prefer(name, materials, chosen), prefer(name, materials, other))


def test_nearest_is_the_candidate_with_the_smallest_angle(materials):
    best = prefer("nearest", materials).argmax(axis=0)
    for item, vector in enumerate(materials.item_vectors):
        cosines = [np.dot(v, vector) / np.linalg.norm(v) / np.linalg.norm(vector) for v in materials.candidate_vectors]
        assert best[item] == np.argmax(cosines)


def test_bm25_finds_the_candidate_that_shares_the_rare_word(materials):
    best = prefer("nearest_bm25", materials).argmax(axis=0)
    np.testing.assert_array_equal(best, 3 * np.arange(N))


def test_bm25_of_an_item_without_words_prefers_none(materials):
    wordless = changed(materials, item_texts=["? !"] * N)
    assert set(prefer("nearest_bm25", wordless).ravel()) == {0.0}


def test_encoder_finds_the_candidate_with_the_smallest_angle(materials):
    swapped = changed(materials, candidate_vectors=materials.candidate_encodings, item_vectors=materials.item_encodings)
    np.testing.assert_allclose(prefer("nearest_encoder", materials), prefer("nearest", swapped))
