"""A stand-in for the Hub that can be written to: repositories, Git LFS, commits, branches and tags.

What it answers is what `huggingface_hub` sends and reads; it keeps whoever may write by a token, and checks
that a commit's parent is the head of its branch, as the Hub does.
"""

from __future__ import annotations

import base64
import hashlib
import json
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from http.server import ThreadingHTTPServer
from typing import Any
from urllib.parse import unquote, urlsplit

from tests.sources.hub_server import Hub, Repository, _Handler, running

TOKEN = "hf_the_secret_of_a_test"
LARGE = (".parquet",)
"""What the Hub keeps in LFS, by its `.gitattributes`."""


@dataclass
class Writable(Repository):
    """A repository with who may see it."""

    private: bool = True
    messages: list[str] = field(default_factory=list)

    def head(self, branch: str = "main") -> dict[str, bytes]:
        return self.commits[self.branches[branch]]

    def put(self, branch: str, files: dict[str, bytes], message: str) -> str:
        commit = hashlib.sha1(f"{message}{len(self.commits)}".encode()).hexdigest()
        self.commits[commit] = files
        self.branches[branch] = commit
        self.messages.append(message)
        return commit


def repository(files: dict[str, bytes] | None = None, *, private: bool = True) -> Writable:
    """A repository with one commit, as the Hub makes it."""
    made = Writable({}, private=private)
    made.put("main", {".gitattributes": b"*.parquet filter=lfs", **(files or {})}, "initial commit")
    return made


class WritableHub(Hub):
    """The stand-in; `failures` are answers for requests whose path holds a text."""

    def __init__(self) -> None:
        ThreadingHTTPServer.__init__(self, ("127.0.0.1", 0), _WritableHandler)
        self.repositories: dict[str, Repository] = {}
        self.requests: list[str] = []
        self.large: dict[str, bytes] = {}
        self.received = 0
        """Bytes of all large files that were sent."""
        self.failures: dict[str, tuple[int, str]] = {}

    def of(self, name: str) -> Writable:
        found = self.repositories[name]
        assert isinstance(found, Writable)
        return found


@contextmanager
def serve_writable() -> Iterator[WritableHub]:
    """A running stand-in."""
    with running(WritableHub()) as hub:
        yield hub


class _WritableHandler(_Handler):
    server: WritableHub

    def do_PUT(self) -> None:  # noqa: N802  as http.server names it
        body = self.content()
        if self.failed():
            return
        oid = self.path.rsplit("/", 1)[1]
        assert hashlib.sha256(body).hexdigest() == oid
        self.server.requests.append(f"PUT {self.path}")
        self.server.large[oid] = body
        self.server.received += len(body)
        self.send(200, b"", None, {})

    def content(self) -> bytes:
        """What was sent, in one piece or in chunks."""
        if self.headers.get("Transfer-Encoding") != "chunked":
            return self.rfile.read(int(self.headers["Content-Length"]))
        parts = []
        while size := int(self.rfile.readline(), 16):
            parts.append(self.rfile.read(size))
            self.rfile.readline()
        self.rfile.readline()
        return b"".join(parts)

    def answer(self) -> None:
        if self.failed():
            return
        path = unquote(urlsplit(self.path).path).strip("/")
        name = "/".join(path.removeprefix("api/").split("/")[1:3])
        found = self.server.repositories.get(name)
        if isinstance(found, Writable) and found.private and not self.knows():
            self.refuse(404 if self.headers.get("Authorization") else 401, "RepoNotFound")
        elif self.command == "POST" and not path.endswith("paths-info/" + path.rsplit("/", 1)[-1]):
            self.server.requests.append(f"{self.command} {self.path}")
            self.write(path, name.removesuffix(".git"))
        else:
            super().answer()

    def failed(self) -> bool:
        """Whether the test wants this request to fail; then it did."""
        for text, (status, message) in self.server.failures.items():
            if text in self.path:
                self.server.requests.append(f"{self.command} {self.path}")
                self.fail(status, message)
                return True
        return False

    def knows(self) -> bool:
        return self.headers.get("Authorization") == f"Bearer {TOKEN}"

    def fail(self, status: int, message: str) -> None:
        body = json.dumps({"error": message}).encode()
        self.send(status, body, None, {"Content-Type": "application/json"})

    def describe(self, what: str, name: str, commit: str, files: dict[str, bytes], inner: str) -> None:
        self.files = files
        super().describe(what, name, commit, files, inner)

    def json(self, value: object) -> None:
        """As the stand-in for reading answers, with who may see it, Git's hashes, and LFS for large files."""
        if isinstance(value, dict) and "siblings" in value:
            found = self.server.repositories[str(value["id"])]
            value = {**value, "private": isinstance(found, Writable) and found.private}
        if isinstance(value, list):
            value = [_entry(e["path"], self.files[e["path"]]) if e["type"] == "file" else e for e in value]
        super().json(value)

    # -- writing ---------------------------------------------------------------------------------------------

    def write(self, path: str, name: str) -> None:
        if not self.knows():
            self.fail(401, "Invalid username or password.")
            return
        lines = [json.loads(line) for line in self.body.splitlines()]
        sent = lines[0]
        match path.removeprefix("api/").removeprefix(f"datasets/{name}").strip("/").split("/"):
            case ["repos", "create"]:
                self.create(sent)
            case ["validate-yaml"]:
                self.json({"errors": [], "warnings": []})
            case [".git", "info", "lfs", "objects", "batch"]:
                self.json({"transfer": "basic", "objects": [self.upload(each) for each in sent["objects"]]})
            case ["preupload", branch]:
                self.json({"files": [self.mode(name, branch, each) for each in sent["files"]]})
            case ["commit", branch]:
                self.commit(name, branch, sent["value"], lines[1:])
            case ["branch", branch]:
                self.server.of(name).branches[branch] = sent["startingPoint"]
                self.json({})
            case ["tag", commit]:
                self.tag(name, commit, sent["tag"])
            case _:
                self.fail(404, f"no such endpoint: {path}")

    def create(self, sent: dict[str, Any]) -> None:
        name = f"{sent['organization']}/{sent['name']}"
        if name in self.server.repositories:
            self.fail(409, "You already created this dataset repo")
            return
        self.server.repositories[name] = repository(private=sent.get("visibility") == "private")
        self.json({"url": f"{self.server.url}/datasets/{name}"})

    def mode(self, name: str, branch: str, file: dict[str, Any]) -> dict[str, Any]:
        held = self.server.of(name).head(branch).get(file["path"])
        large = file["path"].endswith(LARGE)
        oid = None if held is None else hashlib.sha256(held).hexdigest() if large else _git(held)
        mode = "lfs" if large else "regular"
        return {"path": file["path"], "uploadMode": mode, "shouldIgnore": False, "oid": oid}

    def upload(self, wanted: dict[str, Any]) -> dict[str, Any]:
        if wanted["oid"] in self.server.large:
            return wanted
        return {**wanted, "actions": {"upload": {"href": f"{self.server.url}/large/{wanted['oid']}"}}}

    def commit(self, name: str, branch: str, told: dict[str, Any], operations: list[dict[str, Any]]) -> None:
        held = self.server.of(name)
        if told.get("parentCommit") not in (None, held.branches[branch]):
            self.fail(412, "A commit has happened since. Please refresh and try again.")
            return
        files = dict(held.head(branch))
        for operation in operations:
            value = operation["value"]
            match operation["key"]:
                case "file":
                    files[value["path"]] = base64.b64decode(value["content"])
                case "lfsFile":
                    files[value["path"]] = self.server.large[value["oid"]]
                case "deletedFile":
                    del files[value["path"]]
        commit = held.put(branch, files, told["summary"])
        self.json({"commitUrl": f"{self.server.url}/datasets/{name}/commit/{commit}", "commitOid": commit})

    def tag(self, name: str, commit: str, tag: str) -> None:
        held = self.server.of(name)
        if tag in held.branches:
            self.fail(409, "Tag reference exists already")
            return
        held.branches[tag] = commit
        self.json({})


def _git(data: bytes) -> str:
    return hashlib.sha1(b"blob %d\0" % len(data) + data).hexdigest()


def _entry(path: str, data: bytes) -> dict[str, Any]:
    entry = {"type": "file", "path": path, "size": len(data), "oid": _git(data)}
    if path.endswith(LARGE):
        sha256 = hashlib.sha256(data).hexdigest()
        pointer = f"version https://git-lfs.github.com/spec/v1\noid sha256:{sha256}\nsize {len(data)}\n"
        lfs = {"oid": sha256, "size": len(data), "pointerSize": len(pointer)}
        entry |= {"oid": _git(pointer.encode()), "lfs": lfs}
    return entry
