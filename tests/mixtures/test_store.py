"""The store: numbering, what dead builds leave behind, and how versions are found."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

from tulu_data.errors import StoreError, UsageError
from tulu_data.mixtures.store import building, commit, resolver, versions
from tulu_data.mixtures.sums import write_sums


def put(store: Path, mixture: str, logical: str) -> str:
    with building(store) as folder:
        built = folder / "version"
        (built / "data").mkdir(parents=True)
        (built / "data" / "train-00000-of-00001.parquet").write_text(logical)

        def finish(path: Path, _: str) -> None:
            (path / "manifest.json").write_text(f'{{"logical_hash": "{logical}", "files": {{}}}}')
            write_sums(path)

        return commit(store, built, mixture, logical, finish)[0].name


def test_versions_are_numbered_and_equal_rows_are_one_version(tmp_path: Path) -> None:
    names = [put(tmp_path, "a", logical) for logical in ("0" * 64, "1" * 64, "0" * 64, "0" * 8 + "1" * 56)]
    assert names == ["v1-00000000", "v2-11111111", "v1-00000000", "v3-00000000"]
    assert put(tmp_path, "a/b", "2" * 64) == "v1-22222222"
    assert [v.name for v in versions(tmp_path, "a")] == ["v1-00000000", "v2-11111111", "v3-00000000"]


def test_the_tenth_version_follows_the_ninth(tmp_path: Path) -> None:
    for number in range(11):
        put(tmp_path, "a", f"{number:08}" * 8)
    assert [v.number for v in versions(tmp_path, "a")] == list(range(1, 12))


def test_a_store_that_is_a_file_is_one_message(tmp_path: Path) -> None:
    (tmp_path / "store").write_text("")
    with pytest.raises(StoreError, match="the store is not a folder"), building(tmp_path / "store"):
        pass


def test_what_a_killed_build_left_is_removed_and_what_a_living_one_needs_is_not(tmp_path: Path) -> None:
    code = (
        "import sys, time; from pathlib import Path; from tulu_data.mixtures.store import building\n"
        "with building(Path(sys.argv[1])) as folder: print(folder, flush=True); time.sleep(60)"
    )
    child = subprocess.Popen([sys.executable, "-c", code, str(tmp_path)], stdout=subprocess.PIPE, text=True)
    assert child.stdout is not None
    with child.stdout:
        left = Path(child.stdout.readline().strip())
        with building(tmp_path):
            assert left.is_dir()
        os.kill(child.pid, signal.SIGKILL)
        child.wait()
    assert left.is_dir()
    with building(tmp_path) as folder:
        assert not left.exists()
        assert folder.is_dir()
    assert [p.name for p in tmp_path.iterdir()] == [".lock"]


def test_an_interrupted_process_leaves_nothing(tmp_path: Path) -> None:
    code = (
        "import sys, time; from pathlib import Path; from tulu_data.mixtures.store import building\n"
        "with building(Path(sys.argv[1])) as folder: print(folder, flush=True); time.sleep(60)"
    )
    child = subprocess.Popen(
        [sys.executable, "-c", code, str(tmp_path)],
        stdout=subprocess.PIPE,
        stderr=subprocess.DEVNULL,
        text=True,
    )
    assert child.stdout is not None
    with child.stdout:
        assert child.stdout.readline()
        time.sleep(0.1)
        child.send_signal(signal.SIGINT)
        assert child.wait(10) != 0
    assert [p.name for p in tmp_path.iterdir()] == [".lock"]


def test_store_sources_are_found_by_number_name_or_as_the_latest(tmp_path: Path) -> None:
    for digit in "01":
        put(tmp_path, "tulu2/sft", digit * 64)
    find = resolver(tmp_path)
    for named, version in [("", "v2-11111111"), ("@v1", "v1-00000000"), ("@v2-11111111", "v2-11111111")]:
        (file,) = find(f"mixtures/tulu2/sft{named}")
        assert file.parts[-3] == version


@pytest.mark.parametrize(
    ("named", "said"),
    [
        ("mixtures/b", "no version of the store is named 'mixtures/b'"),
        ("mixtures/a@v9", "no version of mixtures/a is named 'v9'"),
        ("a", "names no version"),
        ("mixtures/../../etc", "names no version"),
        ("mixtures//etc", "names no version"),
    ],
)
def test_a_store_source_that_does_not_exist_is_one_message(tmp_path: Path, named: str, said: str) -> None:
    put(tmp_path, "a", "0" * 64)
    with pytest.raises(UsageError, match=said):
        resolver(tmp_path)(named)
