"""Rows on disk between two passes."""

from __future__ import annotations

import pickle
from pathlib import Path

import pyarrow as pa
import pytest
from hypothesis import given, settings

from tests.rows import rows_of
from tulu_data.engine import Spill
from tulu_data.engine.spill import disk_errors
from tulu_data.errors import StoreError


@settings(max_examples=20, deadline=None)
@given(rows_of("preference"), rows_of("preference"))
def test_what_is_read_is_what_was_written(
    tmp_path_factory: pytest.TempPathFactory, one: pa.Table, two: pa.Table
) -> None:
    spill = Spill(tmp_path_factory.mktemp("spill") / "rows.arrow")
    with spill:
        spill.write(one)
        spill.write(two)
    both = pa.concat_tables([one, two])
    assert spill.rows == both.num_rows
    for _ in range(2):  # as often as needed
        assert pa.concat_tables([both.slice(0, 0), *spill.read()]).equals(both)


def test_nothing_written_is_nothing_read_and_deleting_twice_is_fine(tmp_path: Path) -> None:
    spill = Spill(tmp_path / "rows.arrow")
    with spill:
        pass
    assert list(spill.read()) == []
    spill.delete()
    spill.delete()


def test_it_is_gone_when_deleted(tmp_path: Path) -> None:
    spill = Spill(tmp_path / "rows.arrow")
    with spill:
        spill.write(pa.table({"a": [1]}))
    assert list(tmp_path.iterdir()) == [spill.path]
    spill.delete()
    assert list(tmp_path.iterdir()) == []


@pytest.mark.skipif(not Path("/dev/full").exists(), reason="no /dev/full to write to")
def test_a_full_disk_is_told_as_one_message() -> None:
    with pytest.raises(StoreError, match="the disk is full") as told, Spill(Path("/dev/full")) as spill:
        spill.write(pa.table({"a": ["x" * 100_000]}))
    assert "/dev/full" in str(told.value)
    assert str(pickle.loads(pickle.dumps(told.value))) == str(told.value)


def test_a_refused_permission_is_told_and_other_errors_pass() -> None:
    with pytest.raises(StoreError, match="no permission to write"), disk_errors(Path("a")):
        raise PermissionError(13, "Permission denied")
    with pytest.raises(IsADirectoryError), disk_errors(Path("a")):
        raise IsADirectoryError(21, "Is a directory")
