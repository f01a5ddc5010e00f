"""A serving engine's scores and answers are those of the embedded one, and what a server does wrong is said."""

import json
from itertools import chain

import numpy as np
import pytest

from completions_server import CompletionsServer
from iclscope.engine import serving
from iclscope.engine.generation import Stopping, generate
from iclscope.engine.prompts import Prompt, PromptEncoder
from iclscope.engine.scoring import score
from iclscope.engine.serving import Server
from iclscope.runtime.errors import StudyError

ITEMS = [
    {"question": "Question: is the sky blue?\nAnswer:", "target_delimiter": " ", "choices": ["no", "yes", "a whale"]},
    {"question": "How many apples? ", "target_delimiter": " ", "choices": ["12", "mammals, and they breathe air"]},
    {"question": "They breathe air.", "target_delimiter": "\n", "choices": ["no"]},
]


@pytest.fixture(autouse=True)
def no_waiting(monkeypatch):
    monkeypatch.setattr(serving, "WAITS", (0.0, 0.0))
    monkeypatch.delenv(serving.API_KEY, raising=False)


@pytest.fixture
def stub(tiny_model, tiny_tokenizer):
    with CompletionsServer(tiny_model, tiny_tokenizer) as server:
        yield server
        server.shutdown()


@pytest.fixture
def prompts(tiny_tokenizer):
    return PromptEncoder(tiny_tokenizer).encode("Is it day?\nAnswer: yes\n\n", ITEMS)


def test_scores_are_those_of_the_embedded_engine(stub, prompts, tiny_model):
    found = Server(stub.address, "tiny").score(prompts)
    for mine, wanted in zip(found, score(tiny_model, prompts, 256), strict=True):
        assert mine.dtype == np.float32
        np.testing.assert_allclose(mine, wanted, atol=1e-4)


@pytest.mark.parametrize("knows", [True, False])
def test_choices_of_one_token_are_read_off_one_prompt(stub, tiny_model, knows):
    stub.lists_tokens = knows
    prompts = [Prompt([5, 6, 7, 8], [[9], [10], [9]]), Prompt([5, 6, 7], [[11]]), Prompt([5, 6], [[12], [13, 14]])]
    found = Server(stub.address, "tiny").score(prompts)
    for mine, wanted in zip(found, score(tiny_model, prompts, 256), strict=True):
        np.testing.assert_allclose(mine, wanted, atol=1e-4)
    alone = [body["prompt"] for body in stub.bodies if "logprob_token_ids" in body]
    together = [body["prompt"] for body in stub.bodies if body.get("echo")]
    assert [prompts[0].context] in alone
    assert [[5, 6, 12], [5, 6, 13, 14]] in together
    assert len(together) == (1 if knows else 3)


def test_a_server_that_refuses_to_list_tokens_is_asked_otherwise(stub, tiny_model):
    answer = stub.answer
    stub.answer = lambda path, body: (422, {}) if body and "logprob_token_ids" in body else answer(path, body)
    prompt = Prompt([5, 6, 7, 8], [[9], [10]])
    (found,) = Server(stub.address, "tiny").score([prompt])
    np.testing.assert_allclose(found, score(tiny_model, [prompt], 256)[0], atol=1e-4)


def test_prompts_go_as_token_ids_with_what_both_engines_know(stub, prompts):
    Server(stub.address + "/v1/", "tiny").score(prompts[:1])
    (body,) = stub.bodies
    assert body["prompt"] == [prompts[0].context + answer for answer in prompts[0].continuations]
    assert (body["model"], body["echo"], body["logprobs"], body["max_tokens"]) == ("served", True, 1, 1)


@pytest.mark.parametrize("stops", [(), ("\n",), ("e", " "), ("zzz", "")], ids=str)
@pytest.mark.parametrize("limit", [1, 12])
def test_answers_are_those_of_the_embedded_engine(stub, prompts, tiny_model, tiny_tokenizer, stops, limit):
    stopping, finished = Stopping(stops, limit), []
    groups = [prompts[:2], prompts[2:]]
    found = Server(stub.address, "tiny").generate(tiny_tokenizer, groups, 1, stopping, finished.append)
    wanted = generate(tiny_model, tiny_tokenizer, groups, 256, stopping)
    for mine, theirs in zip(chain(*found), chain(*wanted), strict=True):
        assert mine.text == theirs.text
        np.testing.assert_allclose(mine.logprobs, theirs.logprobs, atol=1e-4)
    assert [len(group) for group in found] == [2, 1]
    assert sum(finished) == 3


def test_an_answer_ends_with_the_tokenizers_token_alone(stub, prompts, tiny_model, tiny_tokenizer):
    (longer,) = generate(tiny_model, tiny_tokenizer, [prompts[:1]], 256, Stopping((), 8))[0]
    end = longer.tokens[3]
    tiny_tokenizer = type(tiny_tokenizer)(
        tokenizer_object=tiny_tokenizer.backend_tokenizer, eos_token=tiny_tokenizer.convert_ids_to_tokens(end)
    )
    stub.change = lambda choice: {**choice, "token_ids": [t for t in choice.get("token_ids", []) if t != end]}
    (answer,) = Server(stub.address, "tiny").generate(tiny_tokenizer, [prompts[:1]], 1, Stopping((), 8))[0]
    assert stub.bodies[0]["stop_token_ids"] == [end]
    assert stub.bodies[0]["ignore_eos"] is True
    assert answer.text == tiny_tokenizer.decode(longer.tokens[: longer.tokens.index(end)], skip_special_tokens=True)


def test_engine_and_version_are_the_servers_own_words(stub):
    assert Server(stub.address, "tiny").engine == {"name": "vllm", "version": "0.32.0"}
    stub.answer = lambda path, body: (200, {"data": [{"id": "m"}]}) if path == "/v1/models" else (404, {})
    assert Server(stub.address, "tiny").engine == {"name": "unknown", "version": "unknown"}
    sglang = {"/v1/models": {"data": [{"id": "m", "owned_by": "sglang"}]}, "/server_info": {"version": "0.5.9"}}
    stub.answer = lambda path, body: (200, sglang[path]) if path in sglang else (404, {})
    assert Server(stub.address, "tiny").engine == {"name": "sglang", "version": "0.5.9"}


def test_of_several_served_models_the_one_of_that_name_is_asked(stub, prompts):
    stub.names = ["other", "tiny"]
    Server(stub.address, "tiny").score(prompts[:1])
    assert stub.bodies[0]["model"] == "tiny"
    with pytest.raises(StudyError, match=r"^evaluation\.engine\.url: .* serves other, tiny, .*served-model-name mine$"):
        Server(stub.address, "mine")


@pytest.mark.parametrize("status", [0, 429, 500, 503])
def test_a_busy_server_is_asked_again(stub, prompts, status):
    server = Server(stub.address, "tiny")
    wanted = server.score(prompts[:1])[0]
    stub.failures = [status, status]
    np.testing.assert_array_equal(server.score(prompts[:1])[0], wanted)
    assert len(stub.bodies) == 4


def test_a_server_that_stays_busy_is_given_up(stub, prompts):
    server = Server(stub.address, "tiny")
    stub.failures = [503] * 99
    with pytest.raises(
        StudyError, match=r"^evaluation\.engine\.url: http\S+ answers with HTTP status 503, after 3 tries"
    ):
        server.score(prompts[:1])
    assert len(stub.bodies) == 3


def test_a_server_that_is_not_there_is_given_up(stub):
    stub.shutdown()
    stub.server_close()
    with pytest.raises(
        StudyError, match=r"^evaluation\.engine\.url: .* cannot be reached \(.*refused.*see that it runs"
    ):
        Server(stub.address, "tiny")


def test_the_key_comes_from_the_environment(stub, prompts, monkeypatch):
    stub.key = "secret"
    with pytest.raises(StudyError, match=rf"HTTP status 401 .*set the environment variable {serving.API_KEY}"):
        Server(stub.address, "tiny")
    monkeypatch.setenv(serving.API_KEY, "secret\n")
    Server(stub.address, "tiny").score(prompts)
    assert stub.asked[-1][1]["Authorization"] == "Bearer secret"
    monkeypatch.setenv(serving.API_KEY, "another")
    with pytest.raises(StudyError, match="401") as error:
        Server(stub.address, "tiny")
    assert "another" not in str(error.value)


def test_what_a_server_says_of_a_request_is_passed_on(stub, tiny_model):
    long = Prompt([5] * tiny_model.config.max_position_embeddings, [[6]])
    with pytest.raises(StudyError, match=r"HTTP status 400 \(.*more than the maximum context length"):
        Server(stub.address, "tiny").score([long])


MALFORMED = {
    "no logprobs": lambda choice: {**choice, "logprobs": None},
    "of generated tokens alone": lambda choice: {**choice, "logprobs": {"token_logprobs": [-1.0]}},
    "a list": lambda choice: {**choice, "logprobs": [{"token": "a", "logprob": -1.0}]},
    "a token more": lambda choice: {**choice, "logprobs": {"token_logprobs": [None, *[-1.0] * 999]}},
    "text for numbers": lambda choice: {
        **choice,
        "logprobs": {"token_logprobs": [str(one) for one in choice["logprobs"]["token_logprobs"]]},
    },
    "the same index": lambda choice: {**choice, "index": 0},
    "no index": lambda choice: {"text": ""},
    "no choice": lambda choice: None,
}


@pytest.mark.parametrize("kind", MALFORMED)
def test_an_answer_of_another_form_is_refused(stub, prompts, kind):
    stub.change = MALFORMED[kind]
    with pytest.raises(
        StudyError, match=r"^evaluation\.engine\.url: http.*; name a server that speaks vLLM's or SGLang"
    ):
        Server(stub.address, "tiny").score(prompts)


def test_an_answer_without_token_ids_is_refused(stub, prompts, tiny_tokenizer):
    stub.change = lambda choice: {key: value for key, value in choice.items() if key != "token_ids"}
    with pytest.raises(StudyError, match=r"gives no ids of generated tokens \(return_token_ids\)"):
        Server(stub.address, "tiny").generate(tiny_tokenizer, [prompts], 1, Stopping((), 3))


def test_an_answer_that_the_server_cuts_is_refused(stub, prompts, tiny_tokenizer):
    stub.change = lambda choice: {**choice, "token_ids": choice.get("token_ids", [])[:2]}
    with pytest.raises(StudyError, match=r"cuts an answer after 2 of 5 tokens; serve the model with a longer context"):
        Server(stub.address, "tiny").generate(tiny_tokenizer, [prompts], 1, Stopping((), 5))


@pytest.mark.parametrize("said", [[], {}, {"data": []}, {"data": ["m"]}, {"data": [{"name": "m"}]}], ids=json.dumps)
def test_a_server_that_lists_no_model_is_refused(stub, said):
    stub.answer = lambda path, body: (200, said)
    with pytest.raises(StudyError, match="lists no model at /v1/models"):
        Server(stub.address, "tiny")
