"""The preview of a study: prompts, tokens and losses as the pool and its tokenizer have them, and what looks wrong."""

import re
import tempfile
from pathlib import Path

import pytest
from lm_eval import utils

from iclscope.runtime.jobs import Job, Task
from iclscope.tasks import preview
from iclscope.tasks.pool import run_pool
from iclscope.tasks.rows import write_rows
from tiny import build_model, build_tokenizer

OWN = Path(__file__).parents[3] / "config" / "tasks"


def row(i, label=None, **fields):
    question = f"is the number {i} odd" + " or not" * (i % 4)
    return {"passage": f"Passage {i}.", "question": question, "label": i % 2 if label is None else label, **fields}


@pytest.fixture(scope="module")
def model(tmp_path_factory):
    """A model without weights."""
    folder = tmp_path_factory.mktemp("models") / "tiny"
    build_model("llama").config.save_pretrained(folder)
    build_tokenizer().save_pretrained(folder)
    return folder


@pytest.fixture
def shown(tmp_path, model):
    """A function that makes a pool of rows by split, and returns its preview."""

    def show(splits, task="boolq", folder=OWN, **settings):
        data = Path(tempfile.mkdtemp(dir=tmp_path))
        for split, rows in splits.items():
            write_rows(data / f"{split}.jsonl", rows)
        settings = {"candidates": 6, "items": 4, **settings}
        pool, text = tmp_path / "pool.parquet", tmp_path / "preview.txt"
        inputs = {"data": data, "dataset": "odd", "task": Task(task, folder, "datasets.odd"), "model": model}
        run_pool(**inputs, settings=settings, pool_out=pool, job=Job(1, {}))
        preview.run(settings={"odd": settings}, pools={"odd": pool}, models={"odd": model}, text_out=text)
        return text.read_text()

    return show


def warnings(text):
    return [line.strip() for line in text.rpartition("Warnings:\n")[2].splitlines()]


def numbers(text, what):
    """Median, largest and limit of a line of the table of tokens."""
    line = next(line for line in text.splitlines() if line.strip().startswith(what))
    return [int(n.replace(",", "")) for n in re.findall(r"[\d,]+$|[\d,]+(?= )", line)]


def prompt(text):
    """The prompt of a preview as a model sees it, and the answers that are marked in it."""
    lines = [line.removeprefix("  | ") for line in text.splitlines() if line.startswith("  | ")]
    marked = "\n".join(lines)
    return re.sub(r"\[\[(.*?)\]\]", r"\1", marked), re.findall(r"\[\[(.*?)\]\]", marked)


def test_the_prompt_is_a_demonstration_before_an_item_with_both_answers_marked(shown):
    text = shown({"train": [row(i) for i in range(9)], "validation": [row(i) for i in range(20, 28)]})
    whole, answers = prompt(text)
    found = re.fullmatch(
        r"Passage (\d)\.\nQuestion: is the number (\d) odd[a-z ]*\?\nAnswer: (no|yes)\n\n"
        r"Passage (2\d)\.\nQuestion: is the number (2\d) odd[a-z ]*\?\nAnswer: (no|yes)",
        whole,
    )
    assert found is not None, whole
    assert (found[1], found[4]) == (found[2], found[5])
    assert answers == [found[3], found[6]] == [["no", "yes"][int(n) % 2] for n in (found[1], found[4])]
    assert "choices: no / yes" in text


def test_tokens_are_those_of_the_tokenizer(shown):
    rows = {"train": [row(i) for i in range(6)], "validation": [row(i) for i in range(20, 24)]}
    text = shown(rows, max_tokens={"candidates": 90, "tokenizer": "tiny"})
    tokenizer = build_tokenizer()

    def count(rows, form):
        texts = [form.format(**one, answer=["no", "yes"][one["label"]]) for one in rows]
        return [len(tokenizer(text)["input_ids"]) for text in texts]

    asked = "{passage}\nQuestion: {question}?\nAnswer:"
    candidates, items = count(rows["train"], asked + " {answer}"), count(rows["validation"], asked)
    assert numbers(text, "candidate")[1:] == [max(candidates), 90]
    assert numbers(text, "item")[1] == max(items)
    longest = [max(part, key=lambda one: len(one["question"])) for part in rows.values()]
    both = asked.format(**longest[0]) + f" {['no', 'yes'][longest[0]['label']]}\n\n" + asked.format(**longest[1])
    ends = [len(tokenizer(both + answer)["input_ids"]) for answer in (" no", " yes")]
    assert numbers(text, "whole prompt")[1:] == [max(ends), build_model("llama").config.max_position_embeddings]


def test_what_was_dropped_stands_there_with_its_reason(shown):
    rows = [row(i) for i in range(30)]
    rows[3] = row(3, label=7)
    rows[5] = row(5, passage=None)
    rows[8] = dict(rows[9])
    rows[10] = row(10, passage="long " * 60)
    text = shown({"validation": rows}, max_tokens={"candidates": 100, "items": 100, "tokenizer": "tiny"})
    assert "split validation, 2 dropped: " in text
    assert "1 field passage is empty" in text
    assert "1 right answer 7 is not among the 2 choices (field label)" in text
    for role in ("candidates", "items"):
        assert f"{role}, 2 dropped: 1 duplicates; 1 longer than 100 tokens" in text
    assert warnings(text)[0].startswith("7% of the 30 rows of split validation cannot be used")


def test_a_sound_data_set_is_warned_of_a_missing_description_alone(shown):
    text = shown({"train": [row(i) for i in range(9)], "validation": [row(i) for i in range(20, 28)]}, candidates=8)
    assert "no row is dropped" in text
    assert [line.partition(":")[0] for line in warnings(text)] == ["the task has no description"]


def test_labels_that_candidates_lack_or_most_items_have_are_named(shown):
    rows = {"train": [row(i, label=0) for i in range(9)], "validation": [row(i, label=1) for i in range(20, 28)]}
    found = warnings(shown(rows))
    assert "no candidate has the label yes, which items have" in found
    assert "100% of the items have the label yes: always giving it is as often right" in found


def test_too_few_rows_are_a_warning_here_and_an_error_later(shown):
    rows = {"train": [row(i) for i in range(9)], "validation": [row(i) for i in range(20, 28)]}
    assert any(
        "datasets.odd.candidates: 12 are asked for, and 9 rows" in line for line in warnings(shown(rows, candidates=12))
    )
    both = {"validation": [row(i) for i in range(11)]}
    assert any("would share 1 rows" in line for line in warnings(shown(both, candidates=6, items=6)))
    few = {"items": 60, "tokenizer": "tiny"}  # half of the rows are longer
    mixed = [row(i, passage=f"Passage {i}." + " and so on" * 20 * (i % 2)) for i in range(40)]
    text = shown({"validation": mixed}, candidates=25, items=6, max_tokens=few)
    assert "25 candidates of 40 usable rows" in text
    assert int(re.search(r"6 items of (\d+) usable", text)[1]) < 31
    assert not any("would share" in line for line in warnings(text))


def test_answers_without_tokens_and_equal_choices_are_counted(shown, tmp_path):
    (tmp_path / "merging.yaml").write_text(
        "task: merging\noutput_type: multiple_choice\ntest_split: test\ndescription: 'Say it.\\n'\n"
        "doc_to_text: '{{text}}'\ntarget_delimiter: ''\ndoc_to_choice: options\ndoc_to_target: '{{options[0]}}'\n"
    )
    rows = [
        {"text": f"the sky number {i} is b", "options": ["lue", "lue"] if i < 4 else [" red", " blue"]}
        for i in range(20)
    ]
    found = warnings(shown({"test": rows}, task="merging", folder=tmp_path))
    assert not any("description" in line for line in found)
    for role in ("candidates", "items"):
        assert any(line.startswith(f"4 {role} have an answer that merges into the prompt") for line in found)
    rows = [{**one, "options": [" red", " red"]} if n % 2 else one for n, one in enumerate(rows[4:])]
    equal = [line for line in warnings(shown({"test": rows}, "merging", tmp_path)) if "equal choices" in line]
    assert re.fullmatch(r"[2-8] of 10 rows have two equal choices", *equal)


def test_a_preview_of_rows_is_that_of_the_pool_that_the_study_makes(shown, tmp_path, model, monkeypatch):
    rows = {"train": [row(i) for i in range(9)], "validation": [row(i) for i in range(20, 28)]}
    expected = shown(rows)
    (tmp_path / "data").mkdir()
    for split, part in rows.items():
        write_rows(tmp_path / "data" / f"{split}.jsonl", part)
    monkeypatch.setenv("ICLSCOPE_CONFIG", str(OWN.parent))
    settings = {"odd": {"task": "boolq", "candidates": 6, "items": 4}}
    inputs = {"data": {"odd": tmp_path / "data"}, "models": {"odd": model}}
    text = tmp_path / "of_rows.txt"
    compiler = utils.env.from_string
    preview.run_from_data(settings=settings, **inputs, text_out=text, job=Job(1, {}))
    assert text.read_text() == expected
    assert utils.env.from_string == compiler
