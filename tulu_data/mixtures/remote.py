"""A dataset repository of the Hugging Face Hub: what lies there, and one commit that changes it.

Everything goes through `huggingface_hub`: with `hf-xet`, which it brings, only the chunks that the Hub has
not seen are sent; without it (`HF_HUB_DISABLE_XET=1`) whole files, by Git LFS. The token is the one of
`hf auth login` or of the environment variable HF_TOKEN, and is never shown.
"""

from __future__ import annotations

import hashlib
import json
import re
import tempfile
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Any

from tulu_data.errors import StoreError, TuluDataError, UsageError
from tulu_data.mixtures.store import MANIFEST

if TYPE_CHECKING:
    from huggingface_hub import HfApi

MAIN = "main"
_KIND = "dataset"

_NAME = re.compile(r"[A-Za-z0-9_][A-Za-z0-9._-]*/[A-Za-z0-9_][A-Za-z0-9._-]*")
"""What the Hub allows; `--` and `..` are not."""

Content = Path | bytes
"""What goes into a file: a file here, or bytes."""


@dataclass(frozen=True)
class RemoteFile:
    """A file as it lies on the Hub."""

    path: str
    size: int
    sha256: str | None
    """Of large files, which lie in LFS or Xet."""
    git: str
    """The hash that Git gives its content; of large files, that of their pointer."""

    def holds(self, content: Content) -> bool:
        """Whether `content` is what lies there."""
        size = len(content) if isinstance(content, bytes) else content.stat().st_size
        if size != self.size:
            return False
        start = b"" if self.sha256 else b"blob %d\0" % size
        digest = hashlib.sha256(start) if self.sha256 else hashlib.sha1(start, usedforsecurity=False)
        if isinstance(content, bytes):
            digest.update(content)
        else:
            with content.open("rb") as file:
                while part := file.read(1 << 20):
                    digest.update(part)
        return digest.hexdigest() == (self.sha256 or self.git)


class UnreachableError(StoreError):
    """The Hub does not answer."""


class Repository:
    """One branch of a dataset repository, as it is now; or, where nobody looks, as if there were none.

    Raises:
        UsageError: the name names no repository.
        UnreachableError: the Hub does not answer.
        StoreError: the Hub does not give what is asked.
    """

    def __init__(self, name: str, branch: str, token: str | None, *, look: bool = True) -> None:
        from huggingface_hub import HfApi

        self.name, self.branch = name, branch
        _check_name(name)
        # `False` keeps the library from sending a token of its own choice.
        self._api: HfApi = HfApi(token=token or False)
        info, head = self._look() if look else (None, None)
        self.exists = info is not None
        self.private = bool(info and info.private)
        self.has_branch = head is not None
        self.start: str | None = head or (str(info.sha) if info else None)
        """The commit whose files a push begins with; that of `main` where the branch is new."""

    @property
    def url(self) -> str:
        """Its page."""
        return f"{self._api.endpoint}/datasets/{self.name}"

    def _look(self) -> tuple[Any, str | None]:
        from huggingface_hub import errors

        with explained(self.name):
            try:
                info = self._api.dataset_info(self.name)
            except errors.RepositoryNotFoundError:
                return None, None
            try:
                return info, str(self._api.dataset_info(self.name, revision=self.branch).sha)
            except errors.RevisionNotFoundError:
                return info, None

    @cached_property
    def files(self) -> dict[str, RemoteFile]:
        """The files that lie there, by their paths."""
        if self.start is None:
            return {}
        from huggingface_hub import RepoFile

        with explained(self.name):
            tree = self._api.list_repo_tree(self.name, recursive=True, revision=self.start, repo_type=_KIND)
            return {
                file.path: RemoteFile(
                    file.path, file.size, file.lfs.sha256 if file.lfs else None, file.blob_id
                )
                for file in tree
                if isinstance(file, RepoFile)
            }

    def manifest(self) -> Mapping[str, Any] | None:
        """The manifest of the version that lies there, if one does."""
        if MANIFEST not in self.files:
            return None
        with explained(self.name), tempfile.TemporaryDirectory() as folder:
            path = self._api.hf_hub_download(
                self.name, MANIFEST, repo_type=_KIND, revision=self.start, local_dir=folder
            )
            try:
                told = json.loads(Path(path).read_bytes())
            except ValueError:
                return None
        return told if isinstance(told, dict) and "logical_hash" in told else None

    def commit(
        self, add: Mapping[str, Content], remove: Sequence[str], message: str, *, private: bool, tag: str
    ) -> str:
        """Makes the repository and the branch where they are missing, and one commit on it; returns its hash.

        The tag names that commit, unless it names an earlier one already.

        Raises:
            StoreError: the Hub refuses, fails, or the branch moved since it was read.
        """
        from huggingface_hub import CommitOperationAdd, CommitOperationDelete

        with explained(self.name):
            if not self.exists:
                self._api.create_repo(self.name, private=private, repo_type=_KIND)
                self.start = str(self._api.dataset_info(self.name).sha)
                self.has_branch = self.branch == MAIN
            if not self.has_branch:
                self._api.create_branch(self.name, branch=self.branch, revision=self.start, repo_type=_KIND)
            additions = [CommitOperationAdd(path, content) for path, content in add.items()]
            deletions = [CommitOperationDelete(path) for path in remove]
            done = self._api.create_commit(
                self.name,
                [*deletions, *additions],
                commit_message=message,
                repo_type=_KIND,
                revision=self.branch,
                parent_commit=self.start,
            )
            self._api.create_tag(self.name, tag=tag, revision=done.oid, repo_type=_KIND, exist_ok=True)
        return str(done.oid)


def token() -> str | None:
    """The token that the machine holds for the Hub."""
    from huggingface_hub import get_token

    return get_token()


def _check_name(name: str) -> None:
    if not _NAME.fullmatch(name) or "--" in name or ".." in name:
        raise UsageError(
            f"{name!r} names no dataset of the Hub", expected="ORG/NAME, such as my-org/sft-mini"
        )


@contextmanager
def explained(name: str) -> Iterator[None]:
    """Turns what can go wrong at the Hub into one message."""
    try:
        yield
    except TuluDataError:
        raise
    except Exception as error:
        cause = error.__cause__  # a failed upload comes inside another error
        told = _explain(error, name) or (isinstance(cause, Exception) and _explain(cause, name))
        if not told:
            raise
        raise told from error


_AGAIN = "Push again later: what the Hub has received is not sent twice"

_REFUSALS = {
    401: ("the Hub does not accept the token", "Log in with `hf auth login`, or set HF_TOKEN"),
    403: (
        "the token may not write to {name}",
        "It needs write access there: https://huggingface.co/settings/tokens",
    ),
    404: ("the Hub has no {name}, or the token may not see it", "Look at the name, and at who is logged in"),
    409: (
        "the Hub sees a conflict over {name}",
        "It may exist where the token does not see it; else push again",
    ),
    412: ("{name} was changed by someone else meanwhile", "Push again, so that their change is seen"),
    429: ("the Hub takes no more requests for now", _AGAIN),
}


def _explain(error: Exception, name: str) -> StoreError | None:
    response = getattr(error, "response", None)
    if response is not None:
        status = int(response.status_code)
        failed = ("the Hub failed", _AGAIN) if status >= 500 else ("the Hub refused {name}", None)
        what, remedy = _REFUSALS.get(status, failed)
        said = " ".join(str(getattr(error, "server_message", None) or "").split())
        detail = f"{status}: {said}" if said else str(status)
        return StoreError(f"{what.format(name=name)} ({detail})", remedy=remedy)
    if "Invalid metadata in README.md" in str(error):
        return StoreError(f"the Hub does not take the card: {' '.join(str(error).split())}")
    if isinstance(error, ConnectionError | TimeoutError) or _is_http(error):
        return UnreachableError(f"the Hub cannot be reached ({type(error).__name__})", remedy=_AGAIN)
    return None


def _is_http(error: Exception) -> bool:
    return any(kind.__module__.startswith("httpx") for kind in type(error).__mro__)
