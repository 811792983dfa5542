"""Where rows come from: files, the Hugging Face Hub, a mirror folder; and the adapters that shape them."""

from tulu_data.sources.batch import BadRow, Batch, OnBad, SetAside, stop
from tulu_data.sources.source import FileLock, Source, SourceLock, SourceSpec, StoreResolver, open_source

__all__ = [
    "BadRow",
    "Batch",
    "FileLock",
    "OnBad",
    "SetAside",
    "Source",
    "SourceLock",
    "SourceSpec",
    "StoreResolver",
    "open_source",
    "stop",
]
