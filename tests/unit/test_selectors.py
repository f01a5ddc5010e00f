import numpy as np
import polars as pl
import pytest

from iclscope.errors import StudyError
from iclscope.resampling import centred_ranks
from iclscope.selectors import REGISTRY, Materials, find

C, N = 40, 12


@pytest.fixture
def materials():
    rng = np.random.default_rng(0)
    return Materials(
        features=pl.DataFrame(
            {
                "length": rng.integers(10, 90, C),
                "nll": rng.random(C),
                "zero_shot_entropy": rng.random(C),
                "typicality": rng.random(C),
            }
        ),
        candidate_vectors=rng.standard_normal((C, 5)),
        item_vectors=rng.standard_normal((N, 5)),
        candidate_texts=[f"Is planet number{n} green?" for n in range(C)],
        item_texts=[f"What colour has number{3 * n}?" for n in range(N)],
        activation=centred_ranks(rng.standard_normal((30, C))),
    )


NO_SCORES = np.empty((C, 0))


def prefer(name, materials, chosen=NO_SCORES, seed=0):
    return find(name).prefer(materials, chosen, np.random.default_rng(seed))


def test_every_selector_prefers_candidates_for_all_items_or_for_each(materials):
    chosen = np.random.default_rng(1).standard_normal((C, 6))
    for name, selector in REGISTRY.items():
        preference = prefer(name, materials, chosen)
        assert preference.shape == ((C, N) if selector.kind == "query" else (C,)), name
        assert not np.isnan(preference).any()


def test_selectors_that_do_not_learn_ignore_the_scores(materials):
    chosen = np.random.default_rng(1).standard_normal((C, 6))
    for name, selector in REGISTRY.items():
        if not selector.learns:
            np.testing.assert_array_equal(prefer(name, materials, chosen, 0), prefer(name, materials, -chosen, 1))


def test_random_prefers_none(materials):
    assert set(prefer("random", materials)) == {0.0}


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
    with pytest.raises(StudyError, match=r"selection\.selectors: '.*' is none of random, oracle"):
        find(name)


def test_simple_heuristics_prefer_the_extreme_of_their_feature(materials):
    features = materials.features
    assert np.argmax(prefer("nll", materials)) == features["nll"].arg_min()
    assert np.argmax(prefer("uncertainty", materials)) == features["zero_shot_entropy"].arg_max()
    assert np.argmax(prefer("typicality", materials)) == features["typicality"].arg_max()


def test_uncertainty_needs_choices(materials):
    entropy = pl.Series("zero_shot_entropy", [None] * C, pl.Float64)
    without = Materials(**vars(materials) | {"features": materials.features.with_columns(entropy)})
    assert prefer("uncertainty", without) is None


def test_activation_needs_a_defined_signal(materials):
    none = Materials(**vars(materials) | {"activation": materials.activation[:0]})
    assert prefer("activation", none, np.zeros((C, 4))) is None


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


def test_nearest_is_the_candidate_with_the_smallest_angle(materials):
    best = prefer("nearest", materials).argmax(axis=0)
    for item, vector in enumerate(materials.item_vectors):
        cosines = [np.dot(v, vector) / np.linalg.norm(v) / np.linalg.norm(vector) for v in materials.candidate_vectors]
        assert best[item] == np.argmax(cosines)


def test_bm25_finds_the_candidate_that_shares_the_rare_word(materials):
    best = prefer("nearest_bm25", materials).argmax(axis=0)
    np.testing.assert_array_equal(best, 3 * np.arange(N))


def test_bm25_of_an_item_without_words_prefers_none(materials):
    wordless = Materials(**vars(materials) | {"item_texts": ["? !"] * N})
    assert set(prefer("nearest_bm25", wordless).ravel()) == {0.0}
