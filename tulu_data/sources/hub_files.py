"""Some files of a dataset of the Hub, at one commit, read as files.

Unlike the whole dataset they need no loading script and no card, and the same readers read a mirror's copy of
them.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from tulu_data.sources.files import FileSource, check, files_below
from tulu_data.sources.hub import Hub
from tulu_data.sources.source import FileLock, SourceSpec


@dataclass
class HubFiles(FileSource):
    """Files of a dataset, where the Hub's own cache keeps them."""

    commit: str = ""

    def _revision(self, files: Sequence[FileLock]) -> str:  # noqa: ARG002 - a mirror's revision needs them
        return self.commit


def open_dataset_files(spec: SourceSpec, dataset: str, mirror: Path | None) -> HubFiles:
    """The files that `spec.files` matches, downloaded at the commit that `spec.revision` names now.

    Raises:
        SourceError: there is no such dataset, revision or file; it is gated; or the Hub cannot be reached.
    """
    from huggingface_hub import HfApi, snapshot_download

    hub = Hub(dataset, spec.revision or "main", mirror)
    commit = hub.commit()
    pattern = str(spec.files)
    with hub.explained():
        names = HfApi().list_repo_files(dataset, repo_type="dataset", revision=commit)
        folder = snapshot_download(dataset, repo_type="dataset", revision=commit, allow_patterns=[pattern])
    files = files_below(Path(folder), pattern, names, dataset, spec.from_)
    for file in files:
        check(file, spec)
    return HubFiles(spec, spec.from_, files, config="default", split=spec.split or "train", commit=commit)
