"""A stand-in for the Hugging Face Hub on a real socket: commits of files, and branches that move."""

from __future__ import annotations

import hashlib
import json
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import TypeVar
from urllib.parse import parse_qs, unquote, urlsplit


@dataclass
class Repository:
    """The files of each commit, and the commit that each branch names."""

    commits: dict[str, dict[str, bytes]]
    branches: dict[str, str] = field(default_factory=dict)
    refusal: tuple[int, str] | None = None
    """The status and error code with which every file is refused."""

    def commit(self, revision: str) -> str | None:
        """The commit that a revision names."""
        found = self.branches.get(revision, revision)
        return found if found in self.commits else None


class Hub(ThreadingHTTPServer):
    """Serves the parts of the Hub's interface that loading a dataset needs."""

    def __init__(self) -> None:
        super().__init__(("127.0.0.1", 0), _Handler)
        self.repositories: dict[str, Repository] = {}
        self.requests: list[str] = []

    @property
    def url(self) -> str:
        """What HF_ENDPOINT must be."""
        return f"http://127.0.0.1:{self.server_port}"


H = TypeVar("H", bound=Hub)


@contextmanager
def running(hub: H) -> Iterator[H]:
    """The stand-in while it answers."""
    with hub:
        thread = threading.Thread(target=hub.serve_forever, args=(0.01,))
        thread.start()
        try:
            yield hub
        finally:
            hub.shutdown()
            thread.join()


@contextmanager
def serve() -> Iterator[Hub]:
    """A running stand-in."""
    with running(Hub()) as hub:
        yield hub


class _Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    server: Hub

    def log_message(self, *_: object) -> None:
        pass

    def do_HEAD(self) -> None:
        self.answer()

    def do_GET(self) -> None:
        self.answer()

    def do_POST(self) -> None:
        self.body = self.rfile.read(int(self.headers["Content-Length"]))
        self.answer()

    def answer(self) -> None:
        path = unquote(urlsplit(self.path).path).strip("/").split("/")
        self.server.requests.append(f"{self.command} {self.path}")
        is_api = path[0] == "api"
        name, rest = "/".join(path[is_api:][1:3]), path[is_api:][3:]
        repository = self.server.repositories.get(name)
        if repository is None:
            self.refuse(404, "RepoNotFound")
            return
        if is_api and not rest:
            rest = ["revision", "main"]
        what, revision, *inner = rest
        commit = repository.commit(revision)
        if commit is None:
            self.refuse(404, "RevisionNotFound")
        elif not is_api:
            self.file(repository, commit, "/".join(inner))
        else:
            self.describe(what, name, commit, repository.commits[commit], "/".join(inner))

    def describe(self, what: str, name: str, commit: str, files: dict[str, bytes], inner: str) -> None:
        if what == "revision":
            self.json({"id": name, "sha": commit, "siblings": [{"rfilename": path} for path in files]})
        elif what == "paths-info":
            self.json([_entry(path, files[path]) for path in self.wanted() if path in files])
        elif below := {path: data for path, data in files.items() if path.startswith(inner)}:
            self.json(_tree(below, inner, recursive="recursive=true" in self.path.lower()))
        else:
            self.refuse(404, "EntryNotFound", commit)

    def wanted(self) -> list[str]:
        """The paths that a request of `paths-info` names, as JSON or as a form."""
        if self.headers.get_content_type() == "application/json":
            return list(json.loads(self.body)["paths"])
        return parse_qs(self.body.decode()).get("paths", [])

    def file(self, repository: Repository, commit: str, path: str) -> None:
        data = repository.commits[commit].get(path)
        if repository.refusal:
            self.refuse(*repository.refusal)
        elif data is None:
            self.refuse(404, "EntryNotFound", commit)
        elif asked := self.headers.get("Range"):
            first, _, last = asked.removeprefix("bytes=").partition("-")
            part = data[int(first) : int(last) + 1 if last else None]
            span = f"bytes {first}-{int(first) + len(part) - 1}/{len(data)}"
            self.send(206, part, commit, {"Content-Range": span, "ETag": _etag(data)})
        else:
            self.send(200, data, commit, {"ETag": _etag(data), "Accept-Ranges": "bytes"})

    def json(self, value: object) -> None:
        self.send(200, json.dumps(value).encode(), None, {"Content-Type": "application/json"})

    def refuse(self, status: int, code: str, commit: str | None = None) -> None:
        body = json.dumps({"error": code}).encode()
        headers = {"X-Error-Code": code, "X-Error-Message": code, "Content-Type": "application/json"}
        self.send(status, body, commit, headers)

    def send(self, status: int, data: bytes, commit: str | None, headers: dict[str, str]) -> None:
        self.send_response(status)
        if commit:
            headers |= {"X-Repo-Commit": commit}
        for name, value in headers.items():
            self.send_header(name, value)
        self.send_header("Content-Length", str(len(data)))
        self.end_headers()
        if self.command != "HEAD":
            self.wfile.write(data)


def _etag(data: bytes) -> str:
    return f'"{_oid(data)}"'


def _oid(data: bytes) -> str:
    return hashlib.sha256(data).hexdigest()[:40]


def _entry(path: str, data: bytes) -> dict[str, object]:
    return {"type": "file", "path": path, "size": len(data), "oid": _oid(data)}


def _tree(files: dict[str, bytes], inner: str, *, recursive: bool) -> list[dict[str, object]]:
    """The files below a folder; those deeper down as their folder unless all are asked for."""
    entries: dict[str, dict[str, object]] = {}
    for path, data in files.items():
        parts = path.removeprefix(inner).strip("/").split("/")
        folder = "/".join(filter(None, [inner, parts[0]]))
        deeper = len(parts) > 1 and not recursive
        entries[folder if deeper else path] = (
            {"type": "directory", "path": folder, "oid": _oid(b"")} if deeper else _entry(path, data)
        )
    return list(entries.values())
