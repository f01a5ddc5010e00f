"""A small server that speaks as much of the Hugging Face hub's HTTP interface as its client libraries ask for."""

import hashlib
import json
import os
import re
import threading
from collections.abc import Callable
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any
from urllib.parse import parse_qs, unquote, urlsplit

LARGE = (".safetensors", ".parquet", ".bin")  # stored by their SHA-256, as git-lfs does


def with_token(token: str | None, function: Callable[..., Any], **arguments: Any) -> Any:
    """Call a function as a user who is logged in with `token`, or not."""
    os.environ.pop("HF_TOKEN", None)
    if token:
        os.environ["HF_TOKEN"] = token
    return function(**arguments)


@dataclass
class Repository:
    """Commits (id → file → content), names of commits, and what goes wrong."""

    commits: dict[str, dict[str, bytes]] = field(default_factory=dict)
    names: dict[str, str] = field(default_factory=dict)
    token: str | None = None  # whoever lacks it is told that the repository is gated
    cuts: dict[str, int] = field(default_factory=dict)  # file → how many more answers end after half of it
    damaged: set[str] = field(default_factory=set)  # files that arrive with a byte changed

    def commit(self, files: dict[str, bytes], *names: str) -> str:
        """Add a commit, give it names (the first is its branch), and return its id."""
        commit = hashlib.sha1(repr((len(self.commits), sorted(files.items()))).encode()).hexdigest()
        self.commits[commit] = files
        self.names |= dict.fromkeys(names or ("main",), commit)
        return commit

    def tree(self, commit: str) -> list[dict[str, Any]]:
        entries = []
        for path, content in sorted(self.commits[commit].items()):
            entry = {"type": "file", "path": path, "size": len(content), "oid": git_id(content)}
            if path.endswith(LARGE):
                entry["lfs"] = {"oid": hashlib.sha256(content).hexdigest(), "size": len(content), "pointerSize": 134}
            entries.append(entry)
        return entries


def git_id(content: bytes) -> str:
    return hashlib.sha1(b"blob %d\0" % len(content) + content).hexdigest()


class Hub(ThreadingHTTPServer):
    """The server, with its repositories by (kind, name) and a record of what was asked."""

    daemon_threads = True

    def __init__(self) -> None:
        super().__init__(("127.0.0.1", 0), _Handler)
        self.repositories: dict[tuple[str, str], Repository] = {}
        self.asked: list[tuple[str, str, str | None]] = []  # method, path, range
        threading.Thread(target=self.serve_forever, daemon=True).start()

    @property
    def address(self) -> str:
        return f"http://127.0.0.1:{self.server_port}"

    def add(self, kind: str, name: str) -> Repository:
        return self.repositories.setdefault((kind, name), Repository())

    def ranges(self, file: str) -> list[str | None]:
        """Which parts of a file were asked for, in order."""
        return [part for method, path, part in self.asked if method == "GET" and path.endswith(f"/{file}")]


API = re.compile(r"/api/(models|datasets)/([\w.-]+/[\w.-]+)(?:/(revision|tree|paths-info)/([^/]+))?(?:/(.*))?")
FILE = re.compile(r"/(datasets/)?([\w.-]+/[\w.-]+)/resolve/([^/]+)/(.+)")


class _Handler(BaseHTTPRequestHandler):
    server: Hub
    protocol_version = "HTTP/1.1"

    def do_GET(self) -> None:
        path = unquote(urlsplit(self.path).path)
        self.server.asked.append((self.command, path, self.headers.get("Range")))
        if found := API.fullmatch(path):
            kind, name, what, revision, inner = found.groups()
            self._api(kind.removesuffix("s"), name, what, unquote(unquote(revision or "main")), inner or "")
        elif found := FILE.fullmatch(path):
            kind, name, revision, file = found.groups()
            self._file("dataset" if kind else "model", name, unquote(revision), file)
        else:
            self._refuse(404, "EntryNotFound")

    do_HEAD = do_GET

    def do_POST(self) -> None:
        self.body = parse_qs(self.rfile.read(int(self.headers.get("Content-Length", 0))).decode())
        self.do_GET()

    def _api(self, kind: str, name: str, what: str | None, revision: str, inner: str) -> None:
        found = self._find(kind, name, revision)
        if found is None:
            return
        repository, commit = found
        tree = repository.tree(commit)
        if what == "tree":
            folders = {entry["path"].rpartition("/")[0] for entry in tree} - {""}
            whole = [*tree, *({"type": "directory", "path": f, "size": 0, "oid": "0" * 40} for f in sorted(folders))]
            recursive = "recursive=true" in self.path.lower()
            here = f"{inner}/" if inner else ""
            listed = [
                e for e in whole if e["path"].startswith(here) and (recursive or "/" not in e["path"][len(here) :])
            ]
            if inner and not listed:
                return self._refuse(404, "EntryNotFound")
            return self._json(listed)
        if what == "paths-info":
            wanted = {path.strip("/") for path in self.body.get("paths", [])}
            return self._json([entry for entry in tree if entry["path"] in wanted])
        files = [{"rfilename": entry["path"]} for entry in tree]
        return self._json({"_id": "0", "id": name, "sha": commit, "siblings": files, "private": False, "tags": []})

    def _file(self, kind: str, name: str, revision: str, file: str) -> None:
        found = self._find(kind, name, revision)
        if found is None:
            return
        repository, commit = found
        if repository.token and self.headers.get("Authorization") != f"Bearer {repository.token}":
            return self._refuse(401, "GatedRepo")
        content = repository.commits[commit].get(file)
        if content is None:
            return self._refuse(404, "EntryNotFound", commit)
        etag = hashlib.sha256(content).hexdigest() if file.endswith(LARGE) else git_id(content)
        if file in repository.damaged:
            content = content[:-1] + bytes([content[-1] ^ 1])
        start = int(re.match(r"bytes=(\d+)-", self.headers.get("Range") or "bytes=0-")[1])
        self.send_response(206 if start else 200)
        self.send_header("ETag", f'"{etag}"')
        self.send_header("X-Repo-Commit", commit)
        self.send_header("Content-Length", str(len(content) - start))
        if start:
            self.send_header("Content-Range", f"bytes {start}-{len(content) - 1}/{len(content)}")
        self.end_headers()
        if self.command == "HEAD":
            return
        if repository.cuts.get(file, 0):
            repository.cuts[file] -= 1
            self.wfile.write(content[start : start + (len(content) - start) // 2])
            self.close_connection = True
            return
        self.wfile.write(content[start:])

    def _find(self, kind: str, name: str, revision: str) -> tuple[Repository, str] | None:
        repository = self.server.repositories.get((kind, name))
        if repository is None:
            return self._refuse(401, "RepoNotFound")
        commit = repository.names.get(revision, revision)
        if commit not in repository.commits:
            return self._refuse(404, "RevisionNotFound")
        return repository, commit

    def _json(self, value: Any) -> None:
        content = json.dumps(value).encode()
        self.send_response(200)
        self.send_header("Content-Type", "application/json")
        self.send_header("Content-Length", str(len(content)))
        self.end_headers()
        if self.command != "HEAD":
            self.wfile.write(content)

    def _refuse(self, status: int, code: str, commit: str | None = None) -> None:
        self.send_response(status)
        self.send_header("X-Error-Code", code)
        self.send_header("Content-Length", "0")
        if commit:
            self.send_header("X-Repo-Commit", commit)
        self.end_headers()

    def log_message(self, *_: Any) -> None:
        pass
