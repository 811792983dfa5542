"""`push`: a finished version onto the Hugging Face Hub, in one commit.

What goes: the rows, their lineage, the card, the Croissant file, manifest, lock and certificate. What steps
rejected (`dropped/`, `matches.parquet`) stays here unless asked for: it may be contaminated, or under a
licence that the recipe leaves out. Only files that differ are sent; data files of an earlier version are
taken away in the same commit, so that `load_dataset` reads this version and nothing else.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any, Literal

from tulu_data.errors import StoreError, UsageError
from tulu_data.filters.licenses import COMMERCIAL
from tulu_data.mixtures.card import CARD, CROISSANT, card
from tulu_data.mixtures.croissant import croissant
from tulu_data.mixtures.facts import Facts, facts_of
from tulu_data.mixtures.find import find_version, label, manifest_of
from tulu_data.mixtures.remote import MAIN, Content, Repository, UnreachableError, token
from tulu_data.mixtures.store import MANIFEST, Version, check_files
from tulu_data.mixtures.sums import SUMS

_ROWS = ("data/", "test/", "lineage.parquet")
"""How the paths of the Parquet files begin that always go."""
_TOLD = (MANIFEST, "lock.json", "certificate.*", "*/certificate.*")
_FINDINGS = ("report.html", "*/report.html")
"""What quotes rows that are not in the mixture, beside the Parquet files that hold them."""

_OURS = re.compile(
    r"(data|test|dropped)/[^/]+\.parquet|(lineage|matches|bad_rows)\.parquet|(manifest|lock)\.json|"
    r"([a-z_]+-[0-9]+/)?(certificate\.(json|html)|report\.html)"
)
"""What an earlier push may have left, and a later one takes away."""

Action = Literal["add", "change", "same", "remove"]


@dataclass(frozen=True)
class Change:
    """What becomes of one file of the repository."""

    path: str
    action: Action
    bytes: int


@dataclass(frozen=True)
class Pushed:
    """What a push did, or would do."""

    version: str
    """`sft_mini@v3`."""
    repo: str
    url: str
    branch: str
    private: bool
    created: bool
    """Whether there was no such repository before."""
    replaces: str | None
    """The version that lay there."""
    changes: tuple[Change, ...]
    licenses: Mapping[str, int]
    """How many rows have which licence, `not stated` among them."""
    notes: tuple[str, ...]
    commit: str | None
    """None where nothing was sent: a dry run, or all was there."""

    @property
    def bytes(self) -> int:
        """The bytes of the files that differ."""
        return sum(change.bytes for change in self.changes if change.action in ("add", "change"))

    @property
    def summary(self) -> dict[str, Any]:
        """All of it as data."""
        return {**asdict(self), "bytes": self.bytes}


def push(
    version: str | Path,
    repo: str,
    *,
    store: Path | None = None,
    public: bool = False,
    revision: str | None = None,
    message: str | None = None,
    with_dropped: bool = False,
    dry_run: bool = False,
    yes: bool = False,
    force: bool = False,
) -> Pushed:
    """Put a version onto the Hub as the dataset `repo`, or say what that would change.

    The commit gets the version's name as a tag, so that `revision="v3-5f26e7a1"` finds these rows for good.

    Args:
        version: a name of the store such as `sft_mini@v3`, or the folder of a version.
        repo: ORG/NAME; made if it does not exist.
        store: where versions are kept; `store/` in the current folder unless given.
        public: whether everybody may see it. A repository that exists stays as it is: this must then agree.
        revision: the branch; `main` unless given, and made if it does not exist.
        message: of the commit.
        with_dropped: whether what steps rejected goes too.
        dry_run: whether to send nothing.
        yes: that rows may be published although they state no licence, or one that is not known to let
            everybody use them.
        force: that data files may be replaced which no version of this mixture put there.

    Raises:
        UsageError: no version has that name, `repo` is no name, or what is asked for contradicts what lies
            there; and rows whose licence is doubtful, without `yes`.
        StoreError: it is a preview, its files are not as they were written, there is no token, or the Hub
            refuses.
    """
    found = find_version(version, store or Path("store"))
    manifest = manifest_of(found.path)
    if manifest["preview"]:
        remedy = "Build the mixture without --limit"
        raise StoreError("a preview is not pushed: it holds a part of the rows", remedy=remedy)
    check_files(found)
    facts = facts_of(found.path, manifest)
    held = token()
    if held is None and not dry_run:
        raise StoreError(
            "there is no token for the Hub", remedy="Log in with `hf auth login`, or set HF_TOKEN"
        )
    remote, unseen = _look(repo, revision or MAIN, held, dry_run=dry_run)
    if remote.exists:
        _agree(remote, public=public)
    before = remote.manifest()
    if not force:
        _own(remote, before, str(manifest["mixture"]))
    files = _files(found, facts, remote, with_dropped=with_dropped)
    changes = _changes(files, remote)
    notes = [*unseen, *_notes(facts, asks=public and not yes, with_dropped=with_dropped)]
    if not (found.path / SUMS).is_file():
        notes.append(f"this version has no {SUMS}: only its Parquet files are known to be as they were built")
    commit = None
    if not dry_run:
        if public and not yes:
            _may_publish(facts)
        commit = _send(remote, files, changes, message or facts.name, found.name, private=not public)
    return Pushed(
        version=label(found),
        repo=repo,
        url=remote.url,
        branch=remote.branch,
        private=not public,
        created=not remote.exists,
        replaces=f"{before['mixture']} {before['version']}" if before else None,
        changes=changes,
        licenses={name or "not stated": rows for name, rows in facts.all_licenses().most_common()},
        notes=tuple(notes),
        commit=commit,
    )


def _look(repo: str, branch: str, held: str | None, *, dry_run: bool) -> tuple[Repository, list[str]]:
    """What lies there; a dry run does without, and says so."""
    try:
        remote = Repository(repo, branch, held)
    except UnreachableError as error:
        if not dry_run:
            raise
        return Repository(repo, branch, held, look=False), [f"{error.what}: what lies there is not known"]
    return remote, [] if held else ["no token: a private repository of this name would not be seen"]


# -- what goes -----------------------------------------------------------------------------------------------


def _files(version: Version, facts: Facts, remote: Repository, *, with_dropped: bool) -> dict[str, Content]:
    """Every file that shall lie there; the card and the Croissant file with the place in them."""
    parquet = [name for name in facts.manifest["files"] if with_dropped or name.startswith(_ROWS)]
    patterns = (*_TOLD, *_FINDINGS) if with_dropped else _TOLD
    told = [path for pattern in patterns for path in version.path.glob(pattern)]
    files: dict[str, Content] = {name: version.path / name for name in parquet}
    files |= {path.relative_to(version.path).as_posix(): path for path in told}
    files[CARD] = card(facts, remote.name, with_dropped=with_dropped).encode()
    files[CROISSANT] = croissant(facts, version.path, remote.url).encode()
    return files


def _changes(files: Mapping[str, Content], remote: Repository) -> tuple[Change, ...]:
    changes = []
    for path, content in sorted(files.items()):
        size = len(content) if isinstance(content, bytes) else content.stat().st_size
        there = remote.files.get(path)
        action: Action = "add" if there is None else "same" if there.holds(content) else "change"
        changes.append(Change(path, action, size))
    stale = sorted(path for path in remote.files if _OURS.fullmatch(path) and path not in files)
    return (*changes, *(Change(path, "remove", remote.files[path].size) for path in stale))


def _send(
    remote: Repository,
    files: Mapping[str, Content],
    changes: tuple[Change, ...],
    message: str,
    tag: str,
    *,
    private: bool,
) -> str | None:
    add = {change.path: files[change.path] for change in changes if change.action in ("add", "change")}
    remove = [change.path for change in changes if change.action == "remove"]
    if not add and not remove and remote.has_branch:
        return None
    return remote.commit(add, remove, message, private=private, tag=tag)


# -- what may go ---------------------------------------------------------------------------------------------


def _agree(remote: Repository, *, public: bool) -> None:
    """A push never changes who may see a repository, and never publishes by the way."""
    if public and remote.private:
        remedy = f"Make it public at {remote.url}/settings, or push without --public"
        raise UsageError(f"{remote.name} is private, and a push leaves it so", remedy=remedy)
    if not public and not remote.private:
        remedy = "Push with --public, or to another name"
        raise UsageError(f"{remote.name} is public: everybody could see what is pushed there", remedy=remedy)


def _own(remote: Repository, before: Mapping[str, Any] | None, mixture: str) -> None:
    """Refuses to replace what something else put there."""
    if before is not None:
        if before.get("mixture") != mixture:
            what = f"{remote.name} holds another mixture, {before.get('mixture')!r}"
            raise UsageError(what, remedy="Push to another name, or replace it with --force")
        return
    foreign = sorted(path for path in remote.files if _OURS.fullmatch(path))
    if foreign:
        what = f"{remote.name} holds data that tulu-data did not put there, such as {foreign[0]}"
        raise UsageError(what, remedy="Push to another name, or replace it with --force")


def _doubtful(facts: Facts) -> list[str]:
    """The licences that are not known to let everybody use the rows, with their numbers of rows."""
    return [
        f"{rows:,} under {name}" if name else f"{rows:,} with no licence stated"
        for name, rows in facts.all_licenses().most_common()
        if name is None or not {part.strip() for part in name.lower().split(",")} <= COMMERCIAL
    ]


def _may_publish(facts: Facts) -> None:
    if doubtful := _doubtful(facts):
        what = f"not every row is free for everybody to use: {', '.join(doubtful)}, of {facts.rows:,}"
        raise UsageError(what, remedy="If you may publish them, say so with --yes")


def _notes(facts: Facts, *, asks: bool, with_dropped: bool) -> list[str]:
    notes = []
    if facts.synthetic:
        notes.append("these rows are a synthetic sample; the card says so")
    if asks and (doubtful := _doubtful(facts)):
        notes.append(f"publishing needs --yes: {', '.join(doubtful)}")
    here = [source["from"] for source in facts.manifest["sources"] if Path(source["from"]).is_absolute()]
    if here:
        notes.append(f"the card and the manifest name paths of this machine, such as {here[0]}")
    if with_dropped:
        notes.append("rejected rows go too; they may be contaminated, or under other licences than the rows")
    return notes
