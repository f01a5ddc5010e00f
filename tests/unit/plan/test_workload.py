"""Counts of a study's work against what the engine really computes, and against the shapes of weights."""

import pytest
import torch
from torch.utils.flop_counter import FlopCounterMode

from iclscope.activations.reading import tokenise
from iclscope.engine import generation, scoring
from iclscope.engine.generation import Stopping
from iclscope.engine.prompts import PromptEncoder, zero_shot_prompts
from iclscope.plan import workload
from iclscope.signals.features import zero_shot
from metering import Meter

PACK = 4096  # tokens, so that no pack ends between prompts which begin alike
ANSWERS = ["yes", "no", "no, it\nis not", "12", "a fish.", "Anna has 3"]
QUESTIONS = [
    "Is the sky blue?\nAnswer:",
    "How many?\n",
    "Anna has three apples. ",
    "Question: fish?\nAnswer:",
    "a\n\nb",
]
CHOICES = [["no", "yes"], ["three", "12", "a whale"], ["mammals, and they", "x"], ["no", "yes"], ["a", "b", "c d"]]


def candidate(number, kind="choice"):
    question, answer = f"Question: is it day {number * 37}?\nAnswer:", ANSWERS[number % len(ANSWERS)]
    return row(number, kind, question, [answer, "nothing"], f"{question} {answer}\n\n")


def item(number, kind="choice"):
    question, choices = QUESTIONS[number % len(QUESTIONS)], CHOICES[number % len(CHOICES)]
    question = question.replace("Anna", f"Anna {number}")
    return row(number, kind, question, choices, f"{question} {choices[0]}\n\n")


def row(number, kind, question, choices, prefix):
    choices = choices if kind == "choice" else choices[:1]
    places = {"question_start": 0, "question_end": len(question), "answer_start": len(question) + 1}
    return {
        "id": number, "kind": kind, "description": "", "question": question, "target_delimiter": " ",
        "choices": choices, "gold": 0, "prefix": prefix, **places, "answer_end": len(prefix) - 2,
    }  # fmt: skip


@pytest.fixture
def meter(monkeypatch):
    return Meter(monkeypatch)


@pytest.fixture(params=["plain", "bos", "smollm2"])
def tokenizer(request):
    if request.param == "smollm2":
        from iclscope.engine.models import load_tokenizer

        return load_tokenizer(request.getfixturevalue("embedded_folder"))
    return request.getfixturevalue({"plain": "tiny_tokenizer", "bos": "bos_tokenizer"}[request.param])


@pytest.fixture
def model(tokenizer, tiny_model, tiny_model_of):
    return (
        tiny_model
        if len(tokenizer) <= tiny_model.config.vocab_size
        else tiny_model_of("llama", vocab_size=len(tokenizer))
    )


@pytest.mark.parametrize("block", [{"candidates": 3, "items": 20}, {"candidates": 4, "items": 7}])
def test_evaluation_is_counted_exactly(model, tokenizer, meter, block):
    candidates, items = [candidate(n) for n in range(9)], [item(n) for n in range(20)]
    encoder = PromptEncoder(tokenizer)
    planned = workload.evaluation(encoder, candidates, items, block)
    for start in range(0, len(items), block["items"]):
        part = items[start : start + block["items"]]
        for group in (zero_shot_prompts(encoder, part), *(encoder.encode(c["prefix"], part) for c in candidates)):
            scoring.score(model, group, PACK)
    assert (planned.tokens, planned.predictions) == (meter.tokens, meter.predictions)


def test_prompts_of_generated_answers_are_counted_exactly(model, tokenizer, meter):
    candidates, items = [candidate(n, "generation") for n in range(3)], [item(n, "generation") for n in range(6)]
    encoder = PromptEncoder(tokenizer)
    planned = workload.evaluation(encoder, candidates, items, {"candidates": 3, "items": 6})
    groups = [zero_shot_prompts(encoder, items), *(encoder.encode(c["prefix"], items) for c in candidates)]
    generation.generate(model, tokenizer, groups, PACK, Stopping((), 2))
    assert (planned.tokens, planned.predictions) == (meter.tokens, meter.predictions)


def test_generated_answers_are_reckoned_as_long_as_the_reference_but_within_the_limit(tiny_tokenizer):
    encoder = PromptEncoder(tiny_tokenizer)
    candidates, items = [candidate(0, "generation")], [item(n, "generation") for n in range(4)]
    reference = [len(prompt.continuations[0]) for prompt in encoder.encode(candidates[0]["prefix"], items)]
    for limit in (1, 1000):
        work = workload.generation(encoder, candidates, items, limit)
        assert work.tokens == 2 * sum(min(limit, length + workload.STOP_TOKENS) for length in reference)


def test_features_are_counted_exactly(tiny_model, tiny_tokenizer, meter):
    candidates, items = [candidate(n) for n in range(7)], [item(n) for n in range(5)]
    demonstrations, questions = (tokenise(rows, tiny_model, tiny_tokenizer) for rows in (candidates, items))
    work = workload.features(PromptEncoder(tiny_tokenizer), demonstrations, questions, candidates)
    zero_shot(tiny_model, tiny_tokenizer, candidates)
    whole = sum(len(one.tokens.ids) for one in demonstrations)
    asked = sum(one.tokens.question[1] for one in questions)
    assert work.tokens == whole + asked + meter.tokens
    assert work.predictions == whole + meter.predictions


@pytest.mark.parametrize("kind", ["llama", "qwen2", "gemma2", "gpt2"])
def test_architecture_follows_from_the_config_alone(kind, tiny_model_of, tmp_path):
    model = tiny_model_of(kind)
    model.config.save_pretrained(tmp_path)
    shape = workload.architecture(tmp_path)
    assert {weights.device.type for weights in shape.model.parameters()} == {"meta"}
    assert shape.parameters == model.num_parameters()
    matrices = [p for name, p in model.get_decoder().named_parameters() if p.ndim == 2 and "embed" not in name]
    positions = [p for name, p in model.named_parameters() if "wte" in name or "wpe" in name]
    assert shape.linear == sum(p.numel() for p in matrices) - sum(p.numel() for p in positions)
    assert shape.head == model.get_output_embeddings().weight.numel()
    assert shape.attention == 3 * 32


def test_flops_are_those_that_pytorch_counts(tiny_model_of, tiny_tokenizer):
    model = tiny_model_of("llama")
    model.set_attn_implementation("eager")  # fused attention on the CPU is not counted
    counter = FlopCounterMode(display=False)
    ids = torch.tensor([tiny_tokenizer("Anna has three apples and buys 12 more. How many apples?")["input_ids"]])
    n = ids.shape[1]
    with counter:
        model(ids, attention_mask=torch.zeros(1, 1, n, n))
    shape = workload.shape_of(model)
    assert shape.flops(workload.Work(n, n, n * n)) == counter.get_total_flops()


def test_work_adds_up():
    work = workload.Work(1, 2, 3)
    assert work + work == work * 2 == workload.Work(2, 4, 6)
    assert sum([work] * 3, workload.NOTHING).pairs == 9
