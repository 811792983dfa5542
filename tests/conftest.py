"""Fixtures for every test."""

from __future__ import annotations

import os
from collections.abc import Iterator
from pathlib import Path

import pytest
from hypothesis import settings

ROOT = Path(__file__).resolve().parent.parent

# In CI the same examples every time, so that a red run is about the change; elsewhere new ones find faults.
settings.register_profile("ci", derandomize=True)
if os.environ.get("CI"):
    settings.load_profile("ci")


@pytest.fixture(scope="session")
def shared_data() -> Path:
    """The folder of real data sets that lies beside the project (`TULU_DATA_SHARED`, or `../shared/data`)."""
    path = Path(os.environ.get("TULU_DATA_SHARED", ROOT.parent / "shared" / "data"))
    if not (path / "README.md").is_file():
        pytest.skip(f"the real data sets are not at {path}; set TULU_DATA_SHARED to their folder")
    return path


@pytest.fixture(autouse=True)
def _own_cache(tmp_path_factory: pytest.TempPathFactory) -> Iterator[None]:
    """What a test keeps between runs never lies in, or comes from, the user's own cache."""
    before = os.environ.get("TULU_DATA_CACHE")
    os.environ["TULU_DATA_CACHE"] = str(tmp_path_factory.mktemp("cache") / "kept")
    yield
    if before is None:
        del os.environ["TULU_DATA_CACHE"]
    else:
        os.environ["TULU_DATA_CACHE"] = before
