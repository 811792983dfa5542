"""Datasets of the Hugging Face Hub, through `datasets`, at a commit that is fixed before anything loads."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from tulu_data.errors import SourceError, nearest
from tulu_data.sources.batch import Batch, OnBad, stop
from tulu_data.sources.source import BATCH_BYTES, Source, SourceLock, SourceSpec
from tulu_data.sources.tables import Reading, plain

ALL = "*"
"""The config that stands for all of them."""

_TIMEOUT = 30.0
"""Seconds to wait for the Hub to name a commit."""


@dataclass
class HubSource(Source):
    """One split of one or several configs of a dataset, at one commit."""

    spec: SourceSpec
    origin: str
    commit: str
    split: str
    builders: tuple[Any, ...]
    hub: Hub
    nbytes: int | None = None

    def lock(self) -> SourceLock:
        """The commit."""
        config = self.spec.config or self.builders[0].config.name
        return SourceLock(origin=self.origin, revision=self.commit, config=config, split=self.split)

    def reads(self) -> dict[str, str]:
        """The split of each config, at the commit."""
        configs = [builder.config.name for builder in self.builders]
        of = f"{self.hub.dataset}@{self.commit}"
        return {f"{of}/{name}/{self.split}": f"{self.origin}, {name}, {self.split}" for name in configs}

    def batches(self, *, on_bad: OnBad = stop, batch_bytes: int = BATCH_BYTES) -> Iterator[Batch]:
        """The rows of every config in turn, from the Arrow files that `datasets` keeps in its cache."""
        reading = Reading(on_bad, batch_bytes)
        for builder in self.builders:
            with self.hub.explained():
                builder.download_and_prepare()
                dataset = builder.as_dataset(split=self.split).with_format("arrow")
            shown = self.origin if len(self.builders) == 1 else f"{self.origin}, config {builder.config.name}"
            size = dataset.data.nbytes // max(1, len(dataset))
            for part in dataset.iter(batch_size=max(1, batch_bytes // max(1, size))):
                rows = reading.rows + np.arange(part.num_rows)
                reading.rows += part.num_rows
                yield from reading.batches(plain(part), rows, shown)


def open_dataset(spec: SourceSpec, dataset: str, mirror: Path | None) -> HubSource:
    """The dataset at the commit that `spec.revision` names now.

    Raises:
        SourceError: there is no such dataset, revision, config or split; it is gated or needs code to load;
            or the Hub cannot be reached.
    """
    hub = Hub(dataset, spec.revision or "main", mirror)
    commit = hub.commit()
    split = spec.split or "train"
    configs: Sequence[str | None] = hub.configs(commit) if spec.config == ALL else [spec.config]
    builders = tuple(hub.builder(config, commit) for config in configs)
    for builder in builders:
        check_name("split", split, splits(builder), f"{spec.from_}, config {builder.config.name}")
    return HubSource(spec, spec.from_, commit, split, builders, hub)


def check_name(what: str, name: str, known: Sequence[str], of: str) -> None:
    """Refuse a config or split that does not exist, and say which do."""
    if name not in known:
        raise SourceError(
            f"{of} has no {what} {name!r}",
            expected=f"one of: {', '.join(known)}",
            nearest=nearest(name, known),
            remedy=f"Set `{what}:`",
        )


def splits(builder: Any) -> list[str]:
    """The splits of a builder, from its data files or else from its card."""
    return [str(split) for split in builder.config.data_files or builder.info.splits or ()]


@dataclass(frozen=True)
class Hub:
    """One dataset on the Hub; each call turns what can go wrong into one `SourceError`."""

    dataset: str
    revision: str
    mirror: Path | None

    @property
    def path(self) -> str:
        """Its name for `datasets`, which would else prefer a folder `org/name` of the working directory."""
        return f"hf://datasets/{self.dataset}"

    def commit(self) -> str:
        """The commit that the revision names now."""
        from huggingface_hub import HfApi

        with self.explained():
            return str(HfApi().dataset_info(self.dataset, revision=self.revision, timeout=_TIMEOUT).sha)

    def configs(self, commit: str) -> list[str]:
        """The names of its configs."""
        from datasets import get_dataset_config_names

        with self.explained():
            return sorted(get_dataset_config_names(self.path, revision=commit))

    def builder(self, config: str | None, commit: str) -> Any:
        """What `datasets` makes of a config."""
        from datasets import load_dataset_builder

        with self.explained():
            try:
                builder = load_dataset_builder(self.path, name=config, revision=commit)
            except ValueError as error:
                known = self.configs(commit)
                if config in known:
                    raise
                if config is not None:
                    check_name("config", config, known, f"hf:{self.dataset}")
                raise SourceError(
                    f"hf:{self.dataset} has several configs",
                    expected=f"`config:` with one of: {', '.join(known)}",
                ) from error
        if builder.hash != commit:
            # Where the Hub fails half-way, `datasets` takes whatever revision its cache holds.
            raise self._unreachable("it answered only in part")
        return builder

    @contextmanager
    def explained(self) -> Iterator[None]:
        """Whatever goes wrong inside is told as what it means."""
        try:
            yield
        except SourceError:
            raise
        except Exception as error:
            raise self._explain(error) from error

    def _explain(self, error: Exception) -> SourceError:
        response = getattr(error, "response", None)
        told = self._refused(error) or self._unusable(error)
        if told is None and response is not None:
            told = self._unreachable(f"it answered {response.status_code}")
        if told is None and _is_network(error):
            told = self._unreachable(type(error).__name__)
        detail = str(error).strip().split("\n", 1)[0]
        return told or SourceError(f"hf:{self.dataset} cannot be loaded ({type(error).__name__}: {detail})")

    def _refused(self, error: Exception) -> SourceError | None:
        """The Hub answers, and does not give what is asked."""
        from datasets.exceptions import DatasetNotFoundError
        from huggingface_hub import errors as hub

        page = f"https://huggingface.co/datasets/{self.dataset}"
        if isinstance(error, hub.GatedRepoError) or "is a gated dataset" in str(error):
            what = f"hf:{self.dataset} is gated: its terms must be accepted"
            return SourceError(what, remedy=f"Accept them at {page}, then log in with `hf auth login`")
        if isinstance(error, hub.RevisionNotFoundError):
            what = f"hf:{self.dataset} has no revision {self.revision!r}"
            return SourceError(
                what, expected="a branch, tag or commit", remedy=f"See {page}/commits/main for its commits"
            )
        if isinstance(error, hub.RepositoryNotFoundError | hub.HFValidationError | DatasetNotFoundError):
            what = f"the Hub has no dataset {self.dataset!r}, or it is private{self._mirror_too()}"
            return SourceError(what, remedy="For a private one, log in with `hf auth login`")
        return None

    def _unusable(self, error: Exception) -> SourceError | None:
        """The dataset is there, and `datasets` cannot read it."""
        from datasets.data_files import EmptyDatasetError
        from datasets.exceptions import DataFilesNotFoundError

        if "scripts are no longer supported" in str(error):
            what = f"hf:{self.dataset} is loaded by a script, which `datasets` no longer runs"
            return SourceError(what, remedy="Name its data files, which need none: `files: data/*.jsonl`")
        if isinstance(error, DataFilesNotFoundError | EmptyDatasetError):
            return SourceError(f"hf:{self.dataset} holds no data files that `datasets` can read")
        return None

    def _unreachable(self, detail: str) -> SourceError:
        what = f"the Hub cannot be reached for hf:{self.dataset} ({detail}){self._mirror_too()}"
        remedy = (
            "Without a network, a mirror folder laid out ORG/NAME/… stands in: --mirror or TULU_DATA_MIRROR"
        )
        return SourceError(what, remedy=remedy)

    def _mirror_too(self) -> str:
        return f"; nor does the mirror folder {self.mirror} hold it" if self.mirror else ""


def _is_network(error: Exception) -> bool:
    from huggingface_hub.errors import LocalEntryNotFoundError

    kinds = (ConnectionError, TimeoutError, LocalEntryNotFoundError)
    return isinstance(error, kinds) or any(
        kind.__module__.startswith("httpx") for kind in type(error).__mro__
    )
