"""Questions without content as the harness asks them, and what is read off the answers, against plain passes."""

import json
from collections import Counter

import numpy as np
import polars as pl
import pytest
import torch
import yaml

import lm_harness
from iclscope.engine import models
from iclscope.engine.prompts import PromptEncoder
from iclscope.engine.scoring import score
from iclscope.plan import workload
from iclscope.runtime.errors import StudyError
from iclscope.runtime.jobs import Job, PreparedModel, Task
from iclscope.signals import features
from iclscope.signals.content_free import ANSWERS, probe_of
from iclscope.tables import FEATURES, SAMPLE
from iclscope.tasks import harness
from iclscope.tasks.fillers import content_free_questions
from iclscope.tasks.rendering import render
from metering import Meter

FILLERS = ["N/A", "", "[MASK]"]
SETTINGS = {"neighbours": 5, "content_free": FILLERS}
OPTIONS = {"label": list("ABCDE"), "text": ["sun", "moon", "sea", "hill", "house"]}
COPA = [
    {"premise": f"Man {n} lost.", "choice1": "He ran.", "choice2": "He slept.", "question": kind, "idx": n, "label": 0}
    for n, kind in enumerate(["cause", "effect"] * 3)
]


def choice_rows(start, count):
    """Rows in the schema of BoolQ; every sixth is right."""
    return [
        {"passage": f"Animal {n} lives near lake {n * 7 % 13}.", "question": f"is {n} a fish", "label": int(n % 6 == 1)}
        for n in range(start, start + count)
    ]


def sum_rows(count):
    """Rows in the schema of ASDiv."""
    return [{"body": f"Anna has {n} apples.", "question": "How many?", "answer": f"{n} (apples)"} for n in range(count)]


def task_of(name, folder="none"):
    return Task(name, folder, "datasets.d")


def sample(task, documents, folder="none"):
    """Rows of the sample table as the pool makes them."""
    built = harness.load_task(task.name, task.folder, {"all": documents}, task.key)
    rest = {"split": "train", "cluster": None, "tokens": None}
    rows = []
    for n, document in enumerate(documents):
        row = {name: value for name, value in render(built, document).items() if name != "read"}
        rows.append({**row, **rest, "id": n, "source_row": n, "document": json.dumps(document)})
    return pl.DataFrame(rows, schema=SAMPLE.schema).to_dicts()


def questions(name, documents, fillers=FILLERS, folder="none"):
    task = task_of(name, folder)
    return content_free_questions(task, sample(task, documents), fillers, 3)


def own_task(tmp_path, **fields):
    lines = {
        "task": "own",
        "output_type": "multiple_choice",
        "validation_split": "validation",
        "doc_to_text": "{{q}}",
        "doc_to_target": "gold",
        "doc_to_choice": ["a", "b"],
        **fields,
    }
    (tmp_path / "own.yaml").write_text(yaml.safe_dump(lines))


def test_every_slot_holds_the_filler():
    assert questions("boolq", choice_rows(0, 6)) == [
        "N/A\nQuestion: N/A?\nAnswer:",
        "\nQuestion: ?\nAnswer:",
        "[MASK]\nQuestion: [MASK]?\nAnswer:",
    ]


def test_listed_options_are_slots_too_and_letters_stay_the_choices():
    rows = [{"question": f"Where is {n}?", "choices": OPTIONS, "answerKey": "ABCDE"[n % 5]} for n in range(6)]
    (question,) = questions("commonsense_qa", rows, ["N/A"], "config/tasks")
    assert question == "Question: N/A\nA. N/A\nB. N/A\nC. N/A\nD. N/A\nE. N/A\nAnswer:"
    task = task_of("commonsense_qa", "config/tasks")
    assert probe_of(sample(task, rows), task, SETTINGS, 1).answers[0] == list("ABCDE")


def test_a_question_may_be_the_filler_alone_and_numbers_are_slots(tmp_path):
    own_task(tmp_path)
    rows = [{"q": f"Is it {n}?", "gold": n % 2} for n in range(6)]
    assert questions("own", rows, ["", "N/A"], tmp_path) == ["", "N/A"]
    own_task(tmp_path, doc_to_text="{{a}} and {{b[0]}}:")
    rows = [{"a": n, "b": [0.5], "gold": n % 2} for n in range(6)]
    assert questions("own", rows, ["N/A"], tmp_path) == ["N/A and N/A:"]


def test_the_words_with_which_a_task_begins_its_answers_stay():
    rows = [{"id": "a", "question": f"What is {n}?", "choices": OPTIONS, "answerKey": "A"} for n in range(6)]
    (question,) = questions("arc_challenge_chat", rows, ["N/A"])
    assert "N/A" in question
    assert question.endswith("The best answer is")


def test_a_field_that_switches_the_wording_stays_where_the_task_needs_it():
    first, second, _ = questions("copa", COPA)
    assert first == "N/ because"  # the task cuts the full stop off
    assert second == " because"


def test_a_filler_that_the_task_cannot_hold_is_refused(tmp_path):
    own_task(tmp_path, doc_to_text="Is it {{q + 1}}?")
    rows = [{"q": n, "gold": n % 2} for n in range(6)]
    said = r"features\.content_free: datasets\.d\.task own cannot hold 'N/A' in the fields of a row \(.*\); take this"
    with pytest.raises(StudyError, match=said):
        questions("own", rows, ["N/A"], tmp_path)
    own_task(tmp_path)  # the harness reads a prompt of digits as a number
    with pytest.raises(StudyError, match=r"own cannot hold '7' .*question is int, not text"):
        questions("own", [{"q": f"Is it {n}?", "gold": 0} for n in range(6)], ["7"], tmp_path)


def logprob(model, tokenizer, prompt, answer):
    """Of an answer after a prompt, by one plain pass without padding."""
    start, ids = len(tokenizer(prompt)["input_ids"]), tokenizer(prompt + answer)["input_ids"]
    logprobs = model(torch.tensor([ids])).logits[0].double().log_softmax(-1)
    return sum(logprobs[place - 1, ids[place]].item() for place in range(start, len(ids)))


@pytest.fixture
def run(tiny_model, tiny_tokenizer, tmp_path, monkeypatch):
    """A function that runs the stage on rows of candidates and items and returns the content-free columns."""
    monkeypatch.setattr(models, "load", lambda folder, dtype, device: (tiny_model, tiny_tokenizer))

    def stage(task, candidates, items, settings=SETTINGS):
        paths = [tmp_path / f"{role}.parquet" for role in ("candidates", "items")]
        for path, rows in zip(paths, (candidates, items), strict=True):
            SAMPLE.write(pl.DataFrame(rows, schema=SAMPLE.schema), path, {})
        features.run(
            files=features.Files(*paths),
            model=PreparedModel(tmp_path / "tiny", "float32", "cpu"),
            task=task,
            settings=settings,
            features_out=tmp_path / "features.parquet",
            embeddings_out=tmp_path / "embeddings.parquet",
            job=Job(3, {}),
        )
        made = FEATURES.read(tmp_path / "features.parquet")
        return made.select("candidate", "length", pl.selectors.starts_with("content_free"))

    return stage


def test_labels_by_hand(run, tiny_model, tiny_tokenizer):
    task = task_of("boolq")
    candidates = sample(task, choice_rows(0, 6))  # one yes, five no
    made = run(task, candidates, sample(task, choice_rows(50, 4)))
    for row, found in zip(candidates, made.iter_rows(named=True), strict=True):
        shares, masses, tokens = [], [], 0
        for filler in FILLERS:
            prompt = row["prefix"] + f"{filler}\nQuestion: {filler}?\nAnswer:"
            no, yes = (np.exp(logprob(tiny_model, tiny_tokenizer, prompt, f" {answer}")) for answer in ("no", "yes"))
            shares.append([no / (no + yes), yes / (no + yes)])
            masses.append(no + yes)
            tokens += len(tiny_tokenizer(prompt)["input_ids"]) - found["length"]
        share = np.mean(shares, axis=0)
        assert found["content_free"] == pytest.approx(np.log(share) @ [5 / 6, 1 / 6], abs=1e-4)
        assert found["content_free_entropy"] == pytest.approx(-np.log(share) @ share, abs=1e-4)
        assert found["content_free_mass"] == pytest.approx(np.mean(masses), rel=1e-3)
        assert found["content_free_shares"] == pytest.approx(share.tolist(), abs=1e-5)
        assert found["content_free_tokens"] == tokens


def test_generated_answers_by_hand(run, tiny_model, tiny_tokenizer):
    task = task_of("asdiv_generate", "config/tasks")
    rows = sample(task, sum_rows(24))
    made = run(task, rows[:20], rows[20:])
    probe = probe_of(rows[:20], task, SETTINGS, 3)
    own = [row["choices"][0] for row in rows[:20]]
    assert len(set(own)) == 20
    for row, mine, answers, found in zip(rows, own, probe.answers, made.iter_rows(named=True), strict=False):
        assert len(set(answers)) == ANSWERS
        assert set(answers) <= set(own) - {mine}
        values = [
            logprob(tiny_model, tiny_tokenizer, f"{row['prefix']}{f}\nQuestion: {f}\nAnswer:", f" {answer}")
            for f in FILLERS
            for answer in answers
        ]
        assert found["content_free"] == pytest.approx(np.mean(values), abs=1e-4)
        assert found["content_free_entropy"] is found["content_free_mass"] is found["content_free_shares"] is None


def test_no_item_and_no_label_of_one_is_looked_at(run, tmp_path):
    task = task_of("boolq")
    candidates, rows = sample(task, choice_rows(0, 6)), choice_rows(50, 4)
    others = [
        {"passage": "Ice is cold.", "question": f"was it {n}", "label": 1 - r["label"]} for n, r in enumerate(rows)
    ]
    assert run(task, candidates, sample(task, rows)).equals(run(task, candidates, sample(task, others)))


def test_answers_that_differ_from_row_to_row_are_those_of_others(tmp_path):
    own_task(tmp_path, doc_to_choice="{{options}}")
    rows = [{"q": f"Is it {n}?", "options": [f"{n}", "none"], "gold": 0} for n in range(6)]
    task = task_of("own", tmp_path)
    probe = probe_of(sample(task, rows), task, SETTINGS, 1)
    assert not probe.labels
    assert [sorted(answers) for answers in probe.answers] == [
        [f"{other}" for other in range(6) if other != n] for n in range(6)
    ]
    alike = [{**row, "options": ["0", f"{n}x"]} for n, row in enumerate(rows)]
    assert probe_of(sample(task, alike), task, SETTINGS, 1) is None  # there is no answer but one's own


def test_a_label_without_candidates_counts_for_nothing(run, caplog):
    task = task_of("boolq")
    candidates = sample(task, [{**row, "label": 0} for row in choice_rows(0, 6)])
    made = run(task, candidates, sample(task, choice_rows(50, 4)))
    shares = np.array(made["content_free_shares"].to_list())
    np.testing.assert_allclose(made["content_free"], np.log(shares[:, 0]))
    assert "no candidate has the label ['yes']" in caplog.text


def test_a_filler_longer_than_the_context_is_refused(run, tiny_model):
    task = task_of("boolq")
    rows = sample(task, choice_rows(0, 6))
    context = tiny_model.config.max_position_embeddings
    with pytest.raises(StudyError, match=rf"features\.content_free: .* tokens, and the model's context is {context}"):
        run(task, rows, rows, {"neighbours": 5, "content_free": ["N/A " * context]})


def test_the_pass_is_counted_exactly(tiny_model, tiny_tokenizer, monkeypatch):
    task, encoder = task_of("boolq"), PromptEncoder(tiny_tokenizer)
    rows = sample(task, choice_rows(0, 6))
    probe = probe_of(rows, task, SETTINGS, 1)
    without, asked = (workload.features(encoder, [], [], rows, one) for one in (None, probe))
    meter = Meter(monkeypatch)
    score(tiny_model, probe.prompts(encoder, rows), 4096)
    assert asked.tokens - without.tokens == meter.tokens
    assert asked.predictions - without.predictions == meter.predictions


def test_fillers_give_the_prompts_of_the_harness():
    """Its own prompt of a row that somebody has filled, after a demonstration."""
    documents = choice_rows(0, 6)
    (question,) = questions("boolq", documents, ["N/A"])
    task = harness.load_task("boolq", "none", {"all": documents}, "datasets.d")
    filled = {**documents[0], "passage": "N/A", "question": "N/A"}
    shown = render(task, documents[1])["prefix"]
    assert shown + question == lm_harness.one_shot(task, documents[1], filled)


def test_answers_do_not_hang_on_the_order_of_python_s_sets(tmp_path):
    own_task(tmp_path, doc_to_choice="{{options}}")
    rows = [{"q": f"Is it {n}?", "options": [f"{n}", "none"], "gold": 0} for n in range(40)]
    task = task_of("own", tmp_path)
    first, second = (probe_of(sample(task, rows), task, SETTINGS, seed).answers for seed in (1, 1))
    assert first == second
    assert probe_of(sample(task, rows), task, SETTINGS, 2).answers != first
    assert set(Counter(len(answers) for answers in first)) == {ANSWERS}
