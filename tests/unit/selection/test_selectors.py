import numpy as np
import polars as pl
import pytest

import iclscope.selection.vectors.retrieval
import iclscope.selection.vectors.sparse  # noqa: F401  (both register selectors, as in the rule of the selection)
from iclscope.runtime.configuration import registries
from iclscope.runtime.errors import StudyError
from iclscope.selection.costs import Tokens
from iclscope.selection.halving import rounds
from iclscope.selection.selectors import REGISTRY, SEARCH, SEARCHES, Lesson, Materials, resolve
from iclscope.selection.strata import stratified
from iclscope.signals.questions import LAST, MEAN, POOLINGS, Place, Questions
from iclscope.signals.sae_codes import Codes, Reading
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
        item_labels=np.arange(N) % 3,
        probe=rng.standard_normal((C, 20)),
        questions=questions(rng),
        sae=reading(rng),
        sae_twin=reading(rng),
    )


def questions(rng):
    """Vectors at two layers, of which the last tokens of the first are all the same."""
    places = [Place(layer, pooling) for layer in (0, 3) for pooling in POOLINGS]
    found = [{place: rng.standard_normal((n, 5)).astype(np.float16) for place in places} for n in (C, N)]
    for vectors in found:
        vectors[Place(0, LAST)][:] = 1
    return Questions(*found)


def reading(rng):
    """What a sparse autoencoder of 30 features makes of candidates and items: two features of one token each."""

    def codes(texts):
        spans = {"n_tokens": 2, "question_start": 1, "question_end": 2, "answer_start": 2, "answer_end": 2}
        active = [rng.choice(30, 2, replace=False).tolist() for _ in range(texts)]
        columns = {"id": range(texts), "features": active, "values": rng.random((texts, 2)).tolist()}
        return Codes.of(pl.DataFrame({**columns, "position": 1, "error": 1.0, "energy": 2.0, **spans}), texts, 30)

    return Reading(codes(C), codes(N), rng.uniform(0.01, 0.5, 30), "resid", 1, "topk")


def prefer(name, materials, chosen=None, seed=0, metrics=(), labels=None):
    (selector,) = resolve([name], metrics)
    teachers = np.random.default_rng(5).permutation(C) < C // 2
    lesson = None if chosen is None else Lesson(materials, chosen, teachers, labels)
    return selector.prefer(materials, lesson, np.random.default_rng(seed))


def changed(materials, **fields):
    return Materials(**{name: vars(materials)[name] for name in materials.__dataclass_fields__} | fields)


def test_every_selector_prefers_candidates_for_all_items_or_for_each(materials):
    chosen = np.random.default_rng(1).standard_normal((C, 6))
    for selector in resolve(list(REGISTRY), ["mean", "kurtosis"]):
        teachers = np.arange(C) < C // 2
        lesson = Lesson(materials, chosen, teachers, items=np.arange(6)) if selector.learns else None
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


def test_the_largest_search_prefers_the_best_on_all_items_of_its_half(materials):
    chosen = np.random.default_rng(1).standard_normal((C, 6))
    np.testing.assert_allclose(prefer("search_half", materials, chosen), chosen.mean(axis=1))


def test_search_looks_at_as_many_items_as_its_name_says(materials):
    chosen = np.eye(C, 9)  # candidate c is right on item c alone
    preference = prefer("search_4", materials, chosen)
    assert np.count_nonzero(preference) == 4
    np.testing.assert_allclose(preference.sum(), 1)


def test_search_with_more_items_than_a_half_has_is_refused(materials):
    with pytest.raises(StudyError, match="search_16 needs 16 items, half of them are 9"):
        prefer("search_16", materials, np.zeros((C, 9)))


@pytest.mark.parametrize("name", ["search", "search_strat", "shortlist", "halving"])
def test_a_half_that_clusters_leave_small_is_searched_as_a_whole(materials, name):
    items = N // 2
    chosen, labels = np.random.default_rng(3).standard_normal((C, items - 1)), np.arange(items - 1) % 2
    wanted = prefer("search_half", materials, chosen)
    number = items // 4 if name == "shortlist" else items
    if name == "search":
        np.testing.assert_allclose(prefer(f"search_{items}", materials, chosen), wanted)
    else:
        assert np.isfinite(prefer(f"{name}_{number}", materials, chosen, labels=labels)).all()


def test_stratified_search_takes_labels_evenly_and_weighs_each_by_its_share():
    labels = np.array([0] * 9 + [1] * 2 + [2] * 1)
    for seed in range(20):
        weights = stratified(labels, labels, 6, np.random.default_rng(seed))
        assert [np.count_nonzero(weights[labels == label]) for label in range(3)] == [
            3,
            2,
            1,
        ]  # there is one of label 2
        np.testing.assert_allclose(weights[weights > 0], [9 / 12 / 3] * 3 + [2 / 12 / 2] * 2 + [1 / 12])
        few = stratified(labels, labels, 2, np.random.default_rng(seed))
        assert np.count_nonzero(few) == len({labels[n] for n in np.flatnonzero(few)}) == 2
        np.testing.assert_allclose(few.sum(), 1)
    of_study = stratified(labels, np.array([0, 1, 1, 1]), 4, np.random.default_rng(0))  # label 2 is in the half alone
    assert of_study[labels == 1].sum() == pytest.approx(0.75)
    some = [
        np.flatnonzero(stratified(labels, labels, 6, np.random.default_rng(seed)))[:3].tolist() for seed in range(20)
    ]
    assert len({item for taken in some for item in taken}) == 9  # each of label 0 has its chance


def test_stratified_search_of_all_items_is_their_plain_mean(materials):
    rng = np.random.default_rng(1)
    chosen, labels = rng.standard_normal((C, 9)), rng.permutation(materials.item_labels[:9])
    np.testing.assert_allclose(prefer("search_strat_9", materials, chosen, labels=labels), chosen.mean(axis=1))


def test_stratified_search_is_not_misled_by_a_candidate_that_provokes_one_label(materials):
    """Planted: every candidate is right on one label alone, and which items are drawn decides a plain search."""
    labels = np.arange(12) % 2
    materials = changed(materials, item_labels=labels)
    chosen = (np.arange(C)[:, None] % 2 == labels).astype(float)
    for seed in range(20):
        np.testing.assert_allclose(prefer("search_strat_4", materials, chosen, seed, labels=labels), 0.5)
    assert any(len(set(prefer("search_4", materials, chosen, seed))) == 2 for seed in range(20))


def test_stratified_search_without_labels_is_the_plain_one(materials):
    chosen = np.random.default_rng(1).standard_normal((C, 9))
    np.testing.assert_array_equal(prefer("search_strat_4", materials, chosen), prefer("search_4", materials, chosen))


def test_shortlist_searches_in_the_quarter_that_content_free_prefers(materials):
    chosen, labels = np.random.default_rng(1).standard_normal((C, 9)), np.arange(9) % 3
    preference = prefer("shortlist_2", materials, chosen, labels=labels)
    ranked = np.argsort(-materials.features["content_free"].to_numpy())
    best, others = ranked[: C // 4], ranked[C // 4 :]
    found = prefer("search_strat_8", materials, chosen, labels=labels)
    np.testing.assert_allclose(preference[best], found[best])
    assert preference[others].max() < preference[best].min()
    assert (np.diff(preference[others]) < 0).all()  # behind it, as content_free prefers them
    none = materials.features.with_columns(content_free=pl.lit(None, pl.Float64))
    assert prefer("shortlist_2", changed(materials, features=none), chosen, labels=labels) is None


@pytest.mark.parametrize(("name", "wanted"), [("search_strat_10", 10), ("shortlist_3", 12)])
def test_stratified_searches_with_more_items_than_a_half_has_are_refused(materials, name, wanted):
    with pytest.raises(StudyError, match=f"{name} needs {wanted} items, half of them are 9"):
        prefer(name, materials, np.zeros((C, 9)), labels=np.zeros(9, int))


def test_the_configuration_is_checked_for_the_same_searches(materials):
    few = changed(materials, item_texts=["one", "two"])
    assert SEARCH.pattern == registries.SEARCH.pattern
    assert set(SEARCHES) == set(registries.SEARCHES)
    tokens = Tokens(np.full(C, 30), np.full(N, 10), 2, C, np.full(C, 12))
    for name, times in registries.SEARCHES.items():
        with pytest.raises(StudyError, match=f"needs {2 * times} items"):
            SEARCHES[name].prefer(few, Lesson(few, np.zeros((C, 1)), None), None, 2)
        pairs = sum(left * new for left, new in rounds(C, 2, N - N // 2)) if name == "halving" else C * 2
        assert SEARCHES[name].cost(tokens, 2) == C * 30 + pairs * 10 + (12 * C if name == "shortlist" else 0)


def test_probe_finds_the_direction_in_which_quality_grows(materials):
    direction = np.random.default_rng(4).standard_normal(20)
    chosen = (materials.probe @ direction)[:, None] * np.ones(4)
    loud = materials.probe * np.where(np.arange(20) == 3, 1000, 1)  # a massive neuron must not rule
    for vectors in (materials.probe, loud):
        preference = prefer("probe", changed(materials, probe=vectors), chosen)
        offered = np.isfinite(preference)
        assert offered.sum() == C // 2
        assert np.corrcoef(preference[offered], chosen[offered, 0])[0, 1] > 0.8
    assert prefer("probe", changed(materials, probe=None), chosen) is None


def test_probe_of_activations_that_do_not_vary_prefers_none(materials):
    same = prefer("probe", changed(materials, probe=np.ones((C, 5))), np.arange(4 * C).reshape(C, 4) / C)
    assert len(set(same[np.isfinite(same)])) == 1


@pytest.mark.parametrize("name", ["search", "search_0", "search_x", "best", "shortlist_0", "search_strat_"])
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
    for name in ("length", "activation", "ridge", "probe"):
        np.testing.assert_array_equal(np.isinf(prefer(name, materials, chosen)), teachers)


def test_learners_do_not_see_the_scores_of_candidates_that_they_offer(materials):
    chosen = np.random.default_rng(1).standard_normal((C, 6))
    teachers = np.random.default_rng(5).permutation(C) < C // 2
    other = np.where(teachers[:, None], chosen, -chosen)
    for name in ("length", "activation", "ridge", "probe"):
        np.testing.assert_array_equal(prefer(name, materials, chosen), prefer(name, materials, other))


def test_nearest_is_the_candidate_with_the_smallest_angle(materials):
    best = prefer("nearest", materials).argmax(axis=0)
    middle = materials.candidate_vectors.mean(axis=0)
    for item, vector in enumerate(materials.item_vectors - middle):
        ours = materials.candidate_vectors - middle
        cosines = [np.dot(v, vector) / np.linalg.norm(v) / np.linalg.norm(vector) for v in ours]
        assert best[item] == np.argmax(cosines)


def test_nearest_does_not_mind_what_all_vectors_share(materials):
    ours, theirs = (vectors + 100 for vectors in (materials.candidate_vectors, materials.item_vectors))
    moved = changed(materials, candidate_vectors=ours, item_vectors=theirs)
    np.testing.assert_allclose(prefer("nearest", moved), prefer("nearest", materials), atol=1e-10)


def test_the_last_token_is_read_at_the_final_hidden_state(materials):
    last = [
        vectors[Place(3, LAST)].astype(float) for vectors in (materials.questions.candidates, materials.questions.items)
    ]
    alone = changed(materials, candidate_vectors=last[0], item_vectors=last[1])
    np.testing.assert_allclose(prefer("nearest_last", materials), prefer("nearest", alone))


def test_a_layer_at_which_all_candidates_are_equal_is_undefined(materials):
    assert materials.questions.places == [Place(0, MEAN), Place(3, MEAN), Place(3, LAST)]
    same = changed(materials, candidate_vectors=np.full((C, 5), 0.1))
    assert prefer("nearest", same) is None


@pytest.mark.parametrize("best", [Place(0, MEAN), Place(3, MEAN), Place(3, LAST)])
def test_the_layer_whose_picks_score_best_is_found(materials, best):
    items = np.arange(0, N, 2)
    scores = materials.questions.likeness(best)[:, items]
    teachers = np.arange(C) < C // 2
    (selector,) = resolve(["nearest_layer"])
    found = selector.prefer(materials, Lesson(materials, scores, teachers, items=items), np.random.default_rng(0))
    np.testing.assert_array_equal(found, materials.questions.likeness(best))


def test_bm25_finds_the_candidate_that_shares_the_rare_word(materials):
    best = prefer("nearest_bm25", materials).argmax(axis=0)
    np.testing.assert_array_equal(best, 3 * np.arange(N))


def test_bm25_of_an_item_without_words_prefers_none(materials):
    wordless = changed(materials, item_texts=["? !"] * N)
    assert set(prefer("nearest_bm25", wordless).ravel()) == {0.0}


def test_encoder_finds_the_candidate_with_the_smallest_angle(materials):
    swapped = changed(materials, candidate_vectors=materials.candidate_encodings, item_vectors=materials.item_encodings)
    np.testing.assert_allclose(prefer("nearest_encoder", materials), prefer("nearest", swapped))
