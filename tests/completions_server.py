"""A small server that speaks as much of vLLM's completions interface as the serving engine asks for."""

import json
import threading
from collections.abc import Callable
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

import torch
from transformers import PreTrainedModel, PreTrainedTokenizerBase


class CompletionsServer(ThreadingHTTPServer):
    """Serves a model by plain forward passes, one at a time; `asked` holds the requests: path, headers, body."""

    daemon_threads = True
    request_queue_size = 64

    def __init__(self, model: PreTrainedModel, tokenizer: PreTrainedTokenizerBase, port: int = 0) -> None:
        super().__init__(("127.0.0.1", port), _Handler)
        self.model, self.tokenizer = model, tokenizer
        self.names = ["served"]
        self.lists_tokens = True  # whether it knows `logprob_token_ids`
        self.key: str | None = None  # whoever lacks it is refused
        self.failures: list[int] = []  # status codes of the next answers; 0 cuts the connection
        self.change: Callable[[dict[str, Any]], Any] = lambda choice: choice  # what becomes of each choice
        self.asked: list[tuple[str, dict[str, str], Any]] = []
        self.lock = threading.Lock()
        threading.Thread(target=self.serve_forever, args=(0.01,), daemon=True).start()

    @property
    def address(self) -> str:
        return f"http://127.0.0.1:{self.server_port}"

    @property
    def bodies(self) -> list[dict[str, Any]]:
        """What was asked of completions."""
        return [body for path, _, body in self.asked if path == "/v1/completions"]

    def answer(self, path: str, body: Any) -> tuple[int, Any]:
        if path == "/v1/models":
            return 200, {"object": "list", "data": [{"id": name, "owned_by": "vllm"} for name in self.names]}
        if path == "/version":
            return 200, {"version": "0.32.0"}
        if path == "/health":
            return 200, {}
        if path != "/v1/completions":
            return 404, {"detail": "Not Found"}
        if body["model"] not in self.names:
            return 404, {"error": {"message": f"The model `{body['model']}` does not exist."}}
        longest = max(map(len, body["prompt"])) + body["max_tokens"]
        if longest > self.model.config.max_position_embeddings:
            return 400, {"error": {"message": f"{longest} tokens are more than the maximum context length"}}
        choices = [self.choice(index, prompt, body) for index, prompt in enumerate(body["prompt"])]
        return 200, {"object": "text_completion", "choices": [self.change(choice) for choice in choices[::-1]]}

    @torch.inference_mode()
    def choice(self, index: int, prompt: list[int], body: dict[str, Any]) -> dict[str, Any]:
        """Greedy tokens up to a stop sequence or token, and with `echo` the log probability of every token."""
        assert body["temperature"] == 0
        tokens, text, reason = list(prompt), "", "length"
        while len(tokens) < len(prompt) + body["max_tokens"]:
            logprobs = self.model(torch.tensor([tokens])).logits[0].float().log_softmax(-1)
            tokens.append(int(logprobs[-1].argmax()))
            text = self.tokenizer.decode(tokens[len(prompt) :], skip_special_tokens=True)
            stops = [stop for stop in body.get("stop", []) if stop in text]
            if stops or tokens[-1] in body.get("stop_token_ids", []):
                text, reason = text.split(stops[0])[0] if stops else text, "stop"
                break
        choice = {"index": index, "text": text, "finish_reason": reason, "logprobs": None}
        if body.get("return_token_ids"):
            choice["token_ids"] = tokens[len(prompt) :]
        if body.get("echo") and body.get("logprobs"):
            steps = zip(logprobs, tokens[1:], strict=True)
            choice["logprobs"] = {"token_logprobs": [None, *(float(step[token]) for step, token in steps)]}
        elif body.get("logprobs"):
            chosen = [tokens[-1], *(body.get("logprob_token_ids", []) if self.lists_tokens else [])]
            choice["logprobs"] = {
                "top_logprobs": [{f"token_id:{token}": float(logprobs[-1][token]) for token in chosen}]
            }
        return choice


class _Handler(BaseHTTPRequestHandler):
    server: CompletionsServer

    def do_GET(self) -> None:
        self._answer(None)

    def do_POST(self) -> None:
        self._answer(json.loads(self.rfile.read(int(self.headers["Content-Length"]))))

    def _answer(self, body: Any) -> None:
        with self.server.lock:
            self.server.asked.append((self.path, dict(self.headers), body))
            if self.server.failures:
                status, said = self.server.failures.pop(0), {"error": "not now"}
            elif self.server.key and self.headers["Authorization"] != f"Bearer {self.server.key}":
                status, said = 401, {"error": "Unauthorized"}
            else:
                status, said = self.server.answer(self.path, body)
        if status == 0:
            return
        content = json.dumps(said).encode()
        self.send_response(status)
        self.send_header("Content-Type", "application/json")
        self.send_header("Content-Length", str(len(content)))
        self.end_headers()
        self.wfile.write(content)

    def log_message(self, *_: Any) -> None:
        pass
