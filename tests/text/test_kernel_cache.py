"""Compiled kernels are thrown away when any kernel file changes, and only then."""

from __future__ import annotations

from pathlib import Path

from tulu_data.text.kernel_cache import STAMP, keep_true


def test_code_of_other_sources_is_thrown_away_and_code_of_these_is_kept(tmp_path: Path) -> None:
    source, cache = tmp_path / "_kernels.py", tmp_path / "cache"
    source.write_text("one")
    cache.mkdir()
    compiled = [cache / "_kernels.scan-1.py311.nbi", cache / "_kernels.scan-1.py311.1.nbc"]
    foreign = cache / "other.f-1.py311.nbi"
    for file in (*compiled, foreign):
        file.write_bytes(b"")

    keep_true({str(cache)}, [source])
    assert not any(file.exists() for file in compiled), "nothing says what they were compiled from"
    assert foreign.exists()

    compiled[0].write_bytes(b"")
    keep_true({str(cache)}, [source])
    assert compiled[0].exists()

    source.write_text("two")
    keep_true({str(cache)}, [source])
    assert not compiled[0].exists()
    assert (cache / STAMP).is_file()


def test_a_cache_that_cannot_be_written_is_left_alone(tmp_path: Path) -> None:
    source = tmp_path / "_kernels.py"
    source.write_text("one")
    (tmp_path / "file").write_text("no folder")
    keep_true({str(tmp_path / "file" / "cache")}, [source])
    assert (tmp_path / "file").read_text() == "no folder"
