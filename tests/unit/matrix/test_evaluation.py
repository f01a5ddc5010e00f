"""Blocks of the score matrix against plain forward passes, greedy decoding by hand, and the harness's own scores."""

import json

import numpy as np
import polars as pl
import pytest
import torch
from datasets import Dataset, disable_progress_bars
from lm_eval.api.instance import Instance
from lm_eval.api.task import ConfigurableTask

from iclscope.engine.choices import chosen
from iclscope.matrix import evaluation
from iclscope.matrix.blocks import Block
from iclscope.runtime.errors import StudyError
from iclscope.runtime.jobs import Job, PreparedModel, Task
from iclscope.runtime.parquet import read_provenance
from iclscope.tables import EVALUATION, POOL

disable_progress_bars()

TASK = """
task: sums
output_type: generate_until
test_split: test
doc_to_text: "{{question}}"
doc_to_target: "{{answer}}"
generation_kwargs:
  until: ["\\n"]
  do_sample: false
  max_gen_toks: 9
filter_list:
  - name: first
    filter:
      - function: regex
        regex_pattern: '\\w'
      - function: take_first
  - name: whole
    filter:
      - function: take_first
metric_list:
  - metric: exact_match
    aggregation: mean
    higher_is_better: true
"""
CHOICES = [
    ["no", "yes"],
    ["three", "12", "a whale"],
    ["mammals, and they breathe", "x"],
    ["no", "yes"],
    ["a", "b", "c"],
]
QUESTIONS = ["is the sky blue?\nAnswer:", "how many apples?", "They breathe air.", "fish? ", "Anna has"]
SUMS = {"task": "sums", "max_new_tokens": None}


def row(role, number, kind, description):
    question, choices = "Question: " + QUESTIONS[number], CHOICES[number]
    if role == "candidate":
        question = f"Is it day {number}?\nAnswer:"
    gold = number % len(choices)
    choices, gold = (choices, gold) if kind == "choice" else ([choices[gold]], 0)
    prefix = f"{description}{question} {choices[gold]}\n\n"
    start, answer = len(description), len(description + question) + 1
    places = {"question_start": start, "question_end": answer - 1, "answer_start": answer}
    return {
        "role": role,
        "id": number,
        "split": "train",
        "source_row": number,
        "kind": kind,
        "description": description,
        "question": question,
        "target_delimiter": " ",
        "choices": choices,
        "gold": gold,
        "prefix": prefix,
        **places,
        "answer_end": len(prefix) - 2,
        "cluster": None,
        "tokens": None,
        "document": json.dumps({"question": question, "answer": choices[gold]}),
    }


class Study:
    """A folder with a pool, a task and a model, of which blocks are evaluated."""

    def __init__(self, folder, model, tokenizer):
        self.folder, self._model, self._tokenizer = folder, model, tokenizer

    def write(self, kind="choice", model=None, description=""):
        rows = [row(role, number, kind, description) for role in ("candidate", "item") for number in range(5)]
        POOL.write(pl.DataFrame(rows, schema=POOL.schema), self.folder / "pool.parquet", {})
        (model or self._model).save_pretrained(self.folder / "tiny")
        self._tokenizer.save_pretrained(self.folder / "tiny")
        (self.folder / "sums.yaml").write_text(TASK)
        return rows

    def block(self, candidates, items, settings=SUMS, batch_tokens=256):
        output = self.folder / "block.parquet"
        evaluation.run_block(
            pool=self.folder / "pool.parquet",
            model=PreparedModel(self.folder / "tiny", "float32", "cpu"),
            task=Task(settings["task"], self.folder, "datasets.toy"),
            block=Block(candidates, items),
            settings={"max_new_tokens": settings["max_new_tokens"], "batch_tokens": batch_tokens},
            block_out=output,
            job=Job(2, {"seed": 2}),
        )
        assert read_provenance(output)["seed"] == 2
        return EVALUATION.read(output)


@pytest.fixture
def study(tmp_path, tiny_model, tiny_tokenizer):
    return Study(tmp_path, tiny_model, tiny_tokenizer)


def prompt(rows, candidate, item):
    """The text before the answer: a demonstration or the description, then the question."""
    before = rows[item]["description"] if candidate == -1 else rows[candidate]["prefix"]
    return before + rows[5 + item]["question"]


def plain_logprob(model, tokenizer, context, answer):
    """The harness's definition: tokens of prompt and answer together, from the length of the prompt's own on."""
    stripped = context.rstrip()
    start = len(tokenizer(stripped)["input_ids"])
    tokens = tokenizer(context + answer)["input_ids"]
    logprobs = model(torch.tensor([tokens])).logits[0].float().log_softmax(-1)
    return sum(logprobs[i - 1, tokens[i]].item() for i in range(start, len(tokens)))


def greedy_answer(model, tokenizer, context, limit):
    tokens, answer = tokenizer(context.rstrip())["input_ids"], []
    while len(answer) < limit and "\n" not in tokenizer.decode(answer) and tokenizer.eos_token_id not in answer:
        answer.append(model(torch.tensor([tokens + answer])).logits[0, -1].argmax().item())
    return tokenizer.decode(answer, skip_special_tokens=True).split("\n")[0]


class TestChoices:
    @pytest.mark.parametrize("description", ["", "Answer each question.\n\n"], ids=["bare", "description"])
    def test_scores_every_choice_of_every_pair(self, study, description, tiny_model, tiny_tokenizer):
        rows = study.write(description=description)
        block = study.block((0, 3), (1, 5))
        assert block["candidate"].to_list() == [c for c in (-1, 0, 1, 2) for _ in range(4)]
        assert block["item"].to_list() == [1, 2, 3, 4] * 4
        for pair in block.to_dicts():
            item, context = rows[5 + pair["item"]], prompt(rows, pair["candidate"], pair["item"])
            wanted = [plain_logprob(tiny_model, tiny_tokenizer, context, " " + c) for c in item["choices"]]
            np.testing.assert_allclose(pair["logprobs"], wanted, atol=1e-4)
            gold = item["gold"]
            assert pair["gold_logprob"] == pair["logprobs"][gold]
            others = [value for k, value in enumerate(pair["logprobs"]) if k != gold]
            assert pair["margin"] == pytest.approx(pair["gold_logprob"] - max(others), abs=1e-5)
            assert pair["correct"] == (pair["margin"] > 0)
            assert pair["text"] is None
            assert pair["scores"] is None
            assert pair["prompt_tokens"] == len(tiny_tokenizer(context.rstrip())["input_ids"])

    def test_zero_shot_goes_with_the_first_candidate_only(self, study):
        study.write()
        assert study.block((0, 1), (0, 2))["candidate"].unique().to_list() == [-1, 0]
        assert study.block((1, 3), (0, 2))["candidate"].unique().to_list() == [1, 2]

    def test_a_pair_scores_the_same_in_any_block(self, study):
        study.write()
        whole = study.block((0, 5), (0, 5), batch_tokens=16)
        parts = pl.concat([study.block(c, i) for c in ((0, 2), (2, 5)) for i in ((0, 1), (1, 5))]).sort(
            "candidate", "item"
        )
        assert parts.select("candidate", "item", "prompt_tokens").equals(
            whole.select("candidate", "item", "prompt_tokens")
        )
        for one, other in zip(whole["logprobs"], parts["logprobs"], strict=True):
            np.testing.assert_allclose(one, other, atol=1e-4)


class TestGeneration:
    @pytest.mark.parametrize(("setting", "limit"), [(None, 9), (4, 4)], ids=["task's limit", "limit of the config"])
    def test_answers_every_pair_and_scores_it_as_the_task_does(self, study, setting, limit, tiny_model, tiny_tokenizer):
        rows = study.write("generation")
        block = study.block((0, 2), (0, 5), {**SUMS, "max_new_tokens": setting})
        assert len(block) == 3 * 5
        for pair in block.to_dicts():
            item, context = rows[5 + pair["item"]], prompt(rows, pair["candidate"], pair["item"])
            answer = greedy_answer(tiny_model, tiny_tokenizer, context, limit)
            assert pair["text"] == answer
            gold = item["choices"][0]
            first = next((letter for letter in answer if letter.isalnum() or letter == "_"), "[invalid]")
            assert pair["scores"] == [
                {"filter": "first", "metric": "exact_match", "value": float(first == gold)},
                {"filter": "whole", "metric": "exact_match", "value": float(answer == gold)},
            ]
            assert pair["correct"] == float(first == gold)
            wanted = plain_logprob(tiny_model, tiny_tokenizer, context, " " + gold)
            assert pair["logprobs"] == pytest.approx([wanted], abs=1e-4)
            assert pair["gold_logprob"] == pair["logprobs"][0]
            assert pair["margin"] is None
            assert pair["correct_norm"] is None

    def test_a_right_answer_counts(self, study):
        rows = study.write("generation")
        scorer = evaluation.GenerationScorer(rows[5:], Task("sums", study.folder, "datasets.toy"), None)
        assert scorer(3, "yes")[1] == {"filter": "whole", "metric": "exact_match", "value": 1.0}
        assert scorer(3, "no")[1] == {"filter": "whole", "metric": "exact_match", "value": 0.0}
        assert scorer.stopping == evaluation.Stopping(("\n",), 9)


class TestMistakes:
    def test_weights_that_are_not_numbers(self, study, tiny_model_of):
        model = tiny_model_of("llama")
        model.model.layers[1].mlp.down_proj.weight[0, 0] = float("nan")
        study.write(model=model)
        with pytest.raises(
            StudyError, match=r"^model tiny .* not finite for candidate 1 and item 2; try models\.tiny\.dtype: float32$"
        ):
            study.block((1, 2), (2, 4))

    def test_weights_that_are_not_numbers_when_answers_are_generated(self, study, tiny_model_of):
        model = tiny_model_of("llama")
        model.model.norm.weight[3] = float("nan")
        study.write("generation", model=model)
        with pytest.raises(StudyError, match=r"model tiny .* candidate 1 and item 0"):
            study.block((1, 2), (0, 2))

    def test_a_prompt_longer_than_the_context(self, study, tiny_model_of, tiny_tokenizer):
        rows = study.write()
        tokens = len(tiny_tokenizer(prompt(rows, 0, 2) + " mammals, and they breathe")["input_ids"])
        study.write(model=tiny_model_of("llama", max_position_embeddings=tokens))
        study.block((0, 1), (2, 3))
        study.write(model=tiny_model_of("llama", max_position_embeddings=tokens - 1))
        with pytest.raises(
            StudyError, match=rf"^candidate 0 before item 2 takes {tokens} tokens .* {tokens - 1} of models\.tiny; "
        ):
            study.block((0, 1), (2, 3))

    @pytest.mark.parametrize("kind", ["llama", "gpt2"])
    def test_an_answer_longer_than_the_context(self, study, kind, tiny_model_of, tiny_tokenizer):
        rows = study.write("generation")
        tokens = len(tiny_tokenizer(prompt(rows, 1, 0))["input_ids"])
        key = "n_positions" if kind == "gpt2" else "max_position_embeddings"
        study.write("generation", model=tiny_model_of(kind, **{key: tokens + 20}))
        study.block((1, 2), (0, 1), {**SUMS, "max_new_tokens": 20})
        with pytest.raises(StudyError, match=rf"candidate 1 before item 0 takes {tokens + 21} tokens .*max_new_tokens"):
            study.block((1, 2), (0, 1), {**SUMS, "max_new_tokens": 21})

    @pytest.mark.parametrize(
        ("candidates", "items", "message"),
        [((3, 6), (0, 2), "no candidate 5; .*fewer candidates"), ((0, 2), (4, 8), "no item 5; .*fewer items")],
        ids=["candidates", "items"],
    )
    def test_more_rows_than_the_pool_has(self, study, candidates, items, message):
        study.write()
        with pytest.raises(StudyError, match=message):
            study.block(candidates, items)


class TestHarness:
    """acc and acc_norm are the harness's, computed by the harness."""

    @staticmethod
    def scores_of_the_harness(choices, gold, logprobs):
        document = {"question": "Q", "choices": choices, "gold": gold}
        task = ConfigurableTask(
            config={
                "task": "toy",
                "output_type": "multiple_choice",
                "test_split": "test",
                "doc_to_text": "{{question}}",
                "doc_to_choice": "{{choices}}",
                "doc_to_target": "gold",
                "metric_list": [{"metric": name} for name in ("acc", "acc_norm")],
                "custom_dataset": lambda **_: {"test": Dataset.from_list([document])},
            }
        )
        results = [(float(value), False) for value in logprobs]
        return task.process_results(document, results)

    def test_on_random_log_probabilities(self):
        rng = np.random.default_rng(0)
        words = ["no", "yes", "a whale", "12", "größer 🐳", "three or four", "x", "they breathe air, as mammals do"]
        seen = set()
        for _ in range(60):
            choices = rng.choice(words, size=rng.integers(2, 6), replace=False).tolist()
            gold = int(rng.integers(len(choices)))
            logprobs = -rng.gamma(2, [len(choice) for choice in choices]).astype(np.float32)
            if rng.random() < 0.2:
                logprobs[:] = logprobs[0]  # the first of equals is the choice
            mine = chosen(logprobs, {"choices": choices, "gold": gold})
            harness = self.scores_of_the_harness(choices, gold, logprobs)
            assert (mine["correct"], mine["correct_norm"]) == (harness["acc"], harness["acc_norm"])
            seen.add((mine["correct"], mine["correct_norm"]))
        assert seen == {(0, 0), (0, 1), (1, 0), (1, 1)}

    def test_worked_by_hand(self):
        # -3.0 / 2 = -1.5 and -4.0 / 4 = -1.0: the longer choice wins per character
        item = {"choices": ["no", "yes!"], "gold": 1}
        scores = chosen(np.array([-3.0, -4.0], np.float32), item)
        assert (scores["correct"], scores["correct_norm"]) == (0.0, 1.0)
        assert (scores["gold_logprob"], scores["margin"]) == (-4.0, -1.0)

    def test_a_single_choice_has_no_margin(self):
        scores = chosen(np.array([-3.0], np.float32), {"choices": ["no"], "gold": 0})
        assert scores["margin"] is None
        assert scores["correct"] == 1.0


def test_generated_scores_are_those_of_the_harness(tmp_path):
    """Filters run over all answers of a task at once there, over one answer here."""
    (tmp_path / "sums.yaml").write_text(TASK)
    rows = [row("item", number, "generation", "") for number in range(5)]
    answers = ["no", "12 whales", "x", "", "?! c"]
    scorer = evaluation.GenerationScorer(rows, Task("sums", tmp_path, "datasets.toy"), None)
    task, documents = scorer._task, [json.loads(r["document"]) for r in rows]
    instances = [
        Instance("generate_until", document, ("", {}), 0, resps=[answer])
        for document, answer in zip(documents, answers, strict=True)
    ]
    for chain in task._filters:
        chain.apply(instances)
    for number, (instance, document) in enumerate(zip(instances, documents, strict=True)):
        for score in scorer(number, answers[number]):
            harness = task.process_results(document, [instance.filtered_resps[score["filter"]]])
            assert score["value"] == harness[score["metric"]]
