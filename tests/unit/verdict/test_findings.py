from dataclasses import replace

import polars as pl
import pytest

import synthetic
from iclscope.report.chapters import overview
from iclscope.report.figures import CHAPTERS
from iclscope.verdict import findings, selectors

USEFUL = 0.2


@pytest.fixture(scope="module")
def null():
    return synthetic.frames(synthetic.SMALL)


@pytest.fixture(scope="module")
def planted():
    return synthetic.frames(replace(synthetic.SMALL, effect=4.0, candidates=60))


def text_of(tables, topic):
    return next(f.text for f in findings.all_findings(synthetic.results(tables), USEFUL) if f.topic == topic)


def judged(tables, **columns):
    """Results whose defined signals all have these values."""
    values = {name: pl.when(pl.col("rho").is_not_null()).then(pl.lit(value)) for name, value in columns.items()}
    return synthetic.results({**tables, "correlation": tables["correlation"].with_columns(**values)})


def test_no_signal_beyond_chance_cannot_tell_and_says_so_with_its_numbers(null):
    results = synthetic.results(null)
    headline = results.headline_of(results.target)
    answer = findings.answer(results, USEFUL)
    assert answer.startswith(
        "This run cannot tell: no activation signal is shown to be related to gold log probability"
    )
    assert f"is {abs(headline['best_rho']):.2f} (corrected p = {headline['best_p_maxt']:.2f})" in answer
    assert "no proof of absence" in answer
    assert findings.against_null(results).startswith("No signal crosses the null line")


def test_a_planted_signal_is_reported_with_what_it_is_worth(planted):
    results = judged(planted, p_beyond=0.01)
    headline = results.headline_of(results.target)
    answer = findings.answer(results, USEFUL)
    assert answer.startswith("Yes: ")
    assert "beyond what label, length, NLL and zero-shot answer log probability tell" in answer
    assert f"is worth {headline['best_value']:.2f}" in answer
    assert "kurtosis of resid" in text_of(planted, "Largest correlation")
    assert "mask bidirectional, pooling answer" in text_of(planted, "Largest correlation")


def test_what_the_label_tells_is_not_called_a_prediction(planted):
    answer = findings.answer(judged(planted, p_beyond=0.5), USEFUL)
    assert answer.startswith("Only what is known without them: ")
    assert "none of them beyond what label, length" in answer


def test_answers_without_labels_do_not_speak_of_them(planted):
    answer = findings.answer(judged(planted, p_beyond=0.5, partial_label=None), USEFUL)
    assert "beyond what length, NLL and zero-shot answer log probability tell" in answer


def test_cheap_features_and_what_activations_add_are_said(null):
    text = text_of(null, "Beside cheap features")
    assert "predict 0.300 of the variance" in text
    assert "a difference of +0.050, not shown to be above zero" in text
    more = {**null, "headline": null["headline"].with_columns(added_low=pl.lit(0.01))}
    assert "a difference of +0.050, shown to be above zero" in text_of(more, "Beside cheap features")


def test_the_metric_behind_accuracy_is_named(null):
    name = pl.when(pl.col("target") == "accuracy").then(pl.lit("1 - wer (first)"))
    named = {**null, "reliability": null["reliability"].with_columns(metric=name)}
    assert "Accuracy is the mean of the task's 1 - wer (first)." in text_of(named, "What was tested")
    assert "the task's" not in text_of(null, "What was tested")


def test_absence_is_claimed_only_where_every_equivalence_test_says_so(null):
    assert findings.answer(judged(null, small=True), USEFUL).startswith("No: a useful effect")
    assert findings.answer(judged(null, small=True, p_maxt=0.01), USEFUL).startswith("Too little to be of use")
    assert "for none of them" in findings.answer(judged(null, small=False), USEFUL)


def test_unreliable_quality_cannot_tell(null):
    results = synthetic.results(synthetic.undefined(null))
    assert findings.answer(results, USEFUL).startswith("This run cannot tell")
    assert findings.overall([results]).startswith("Of 1 combination of model and data set: in 1 the data cannot tell")
    reason = "gain over zero-shot alpha is undefined: every candidate has the same quality."
    assert text_of(synthetic.undefined(null), "Noise ceiling").count(reason) == 1
    assert "nothing is ruled out" in text_of(synthetic.undefined(null), "Useful effect")


def test_reliable_quality_without_a_defined_signal_cannot_tell_either(null):
    tables = {**synthetic.undefined(null), "reliability": null["reliability"]}
    tables["headline"] = tables["headline"].with_columns(alpha=null["headline"]["alpha"])
    answer = findings.answer(synthetic.results(tables), USEFUL)
    assert "not one activation signal has a defined correlation (every candidate has the same quality)" in answer


def test_undefined_signals_are_counted_with_their_reason(null):
    tested = text_of(null, "What was tested")
    undefined = null["headline"]["undefined"][0]
    assert f"{undefined} of them have no defined correlation" in tested
    assert "the same value for every candidate" in tested


def test_selectors_beyond_chance_are_those_that_survive_holm(null):
    def with_p(p, study_tables=1):
        selection = null["selection"].with_columns(
            p_holm=pl.when(pl.col("selector") == "search_16").then(p).otherwise(1.0)
        )
        results = synthetic.results({**null, "selection": selection}, study_tables=study_tables)
        return selectors.finding(results, "accuracy")

    assert "is the gain of search_16." in with_p(0.01)
    assert "is the gain of search_16." in with_p(0.01, study_tables=4)
    assert "none of 6 selectors gains beyond chance" in with_p(0.01, study_tables=6)
    assert "none of 6 selectors gains beyond chance" in with_p(0.06)
    assert "The best candidate of such a pool gains +" in with_p(0.06)
    nothing = {**null, "gains": null["gains"].filter(pl.col("selector") != "best_possible")}
    assert "gains is unknown" in selectors.finding(synthetic.results(nothing), "accuracy")


@pytest.mark.parametrize(("p", "alarm"), [(0.001, True), (0.5, False)])
def test_a_control_that_correlates_is_an_alarm(null, p, alarm):
    control = pl.col("family") == "control"
    correlation = null["correlation"].with_columns(p=pl.when(control).then(p).otherwise(pl.col("p")))
    assert ("with care" in text_of({**null, "correlation": correlation}, "Control")) == alarm


def test_overall_counts_the_studies(null, planted):
    silent = synthetic.results(synthetic.undefined(null))
    text = findings.overall([synthetic.results(null), judged(planted, p_beyond=0.01), silent])
    largest = abs(synthetic.results(planted).strongest["rho"])
    assert text.startswith("Of 3 combinations of model and data set: in 1 an activation signal predicts quality beyond")
    assert "in 2 the data cannot tell" in text
    assert f"The largest |ρ| is {largest:.2f}, worth {0.3 * largest:.2f}" in text


def captions(results):
    return {figure.name: figure.caption(results) for chapter in CHAPTERS for figure in chapter.figures}


@pytest.mark.parametrize("frames", ["null", "planted"])
def test_every_caption_states_its_numbers_and_its_conclusion(frames, request):
    results = synthetic.results(request.getfixturevalue(frames))
    made = captions(results)
    for name in ("rho_by_layer", "rho_heatmap"):
        assert f"{results.headline_of(results.target)['candidates']} candidates and 48 items" in made[name].text
        assert f"{results.headline_of(results.target)['null_95']:.2f}" in made[name].text
    assert findings.against_null(results) in made["rho_by_layer"].text
    assert "search_half" in made["selector_gain"].text
    assert "pools of 12" in made["gain_by_pool"].text
    for caption in (*made.values(), overview.caption([results])):
        assert caption.alt
        assert "None" not in caption.text
        assert "nan" not in caption.text.lower().split()


def test_captions_of_an_undefined_study_say_so(null):
    made = captions(synthetic.results(synthetic.undefined(null)))
    assert "There is no null line. The noise ceiling is undefined." in made["rho_by_layer"].text
    assert "No signal has a defined correlation" in made["rho_by_layer"].text
    assert "Alpha is undefined for every target" in made["reliability_curve"].text
    assert "noise alone" in made["quality_distribution"].text
