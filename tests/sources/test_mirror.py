"""A folder laid out `<org>/<name>/…` that stands in for the Hub."""

from __future__ import annotations

import hashlib
from pathlib import Path
from typing import Any

import pytest

from tests.sources.files import write
from tulu_data.errors import SourceError
from tulu_data.sources import Source, SourceSpec, open_source

CARD = """---
configs:
- config_name: main
  data_files:
  - split: test
    path: main/*.jsonl.gz
- config_name: extra
  data_files: extra/train.csv
---
"""


@pytest.fixture
def mirror(tmp_path: Path) -> Path:
    """A mirror with a dataset that has a card, and one that has none."""
    carded, bare = tmp_path / "org" / "carded", tmp_path / "org" / "bare"
    write(carded / "README.md", CARD)
    write(carded / "main" / "b.jsonl.gz", [{"q": 3}])
    write(carded / "main" / "a.jsonl.gz", [{"q": 1}, {"q": 2}])
    write(carded / "extra" / "train.csv", "q\n9\n")
    write(bare / "train.json", '[{"q": "root"}]')
    write(bare / "algebra" / "test.jsonl.zst", [{"q": "algebra"}])
    return tmp_path


def opened(mirror: Path, name: str, **keys: Any) -> Source:
    return open_source(SourceSpec(from_=f"hf:org/{name}", **keys), base=mirror / "elsewhere", mirror=mirror)


def values(source: Source) -> list[Any]:
    return [value for batch in source.batches() for value in batch.table["q"].to_pylist()]


def refused(mirror: Path, name: str, **keys: Any) -> str:
    with pytest.raises(SourceError) as caught:
        opened(mirror, name, **keys)
    return str(caught.value)


def test_the_card_says_which_files_a_config_and_split_have(mirror: Path) -> None:
    assert values(opened(mirror, "carded", config="main", split="test")) == [1, 2, 3]
    assert values(opened(mirror, "carded", config="extra")) == ["9"]


def test_without_a_card_names_tell_the_split_and_folders_the_config(mirror: Path) -> None:
    assert values(opened(mirror, "bare")) == ["root"]
    assert values(opened(mirror, "bare", config="algebra", split="test")) == ["algebra"]


def test_the_lock_tells_mirror_content_by_name_and_hash(mirror: Path) -> None:
    source = opened(mirror, "carded", config="main", split="test", revision="main")
    lock = source.lock()
    files = [(file.path, file.sha256) for file in lock.files]
    assert [path for path, _ in files] == ["org/carded/main/a.jsonl.gz", "org/carded/main/b.jsonl.gz"]
    listing = "".join(f"{sha256} {path}\n" for path, sha256 in files)
    assert lock.revision == "mirror-sha256:" + hashlib.sha256(listing.encode()).hexdigest()
    assert (lock.origin, lock.config, lock.split) == ("hf:org/carded", "main", "test")
    assert next(source.batches()).where(0).file == "org/carded/main/a.jsonl.gz"


def test_the_environment_names_the_mirror(mirror: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("TULU_DATA_MIRROR", str(mirror))
    source = open_source(SourceSpec(from_="hf:org/bare"), base=mirror)
    assert values(source) == ["root"]


def test_every_config_in_the_order_of_names(mirror: Path) -> None:
    write(mirror / "org" / "carded" / "README.md", CARD.replace("split: test", "split: train"))
    assert values(opened(mirror, "carded", config="*")) == ["9", 1, 2, 3]


def test_unknown_configs_and_splits_name_those_that_exist(mirror: Path) -> None:
    assert "has no config 'mian'; expected one of: extra, main. Did you mean 'main'?" in refused(
        mirror, "carded", config="mian"
    )
    assert "config main, in the mirror" in refused(mirror, "carded", config="main", split="train")
    assert "has no split 'train'; expected one of: test" in refused(
        mirror, "carded", config="main", split="train"
    )
    assert "has several configs; expected `config:` with one of: extra, main" in refused(mirror, "carded")


def test_a_folder_without_data_and_a_mirror_that_is_none(mirror: Path) -> None:
    (mirror / "org" / "empty").mkdir()
    assert "holds no data that `datasets` can find" in refused(mirror, "empty")
    with pytest.raises(SourceError, match=r"the mirror folder .*nowhere does not exist"):
        opened(mirror / "nowhere", "bare")


# -- some files of a dataset, and data that is not on the Hub ------------------------------------------------


def test_a_glob_names_some_files_of_a_dataset(mirror: Path) -> None:
    source = opened(mirror, "carded", files="main/*.jsonl.gz")
    assert values(source) == [1, 2, 3]
    assert [file.path for file in source.lock().files] == [
        "org/carded/main/a.jsonl.gz",
        "org/carded/main/b.jsonl.gz",
    ]
    assert values(opened(mirror, "bare", files="algebra/*")) == ["algebra"]


@pytest.mark.parametrize(
    ("keys", "said"),
    [
        ({"files": "mian/*.jsonl.gz"}, "in the mirror, has no file 'mian/*.jsonl.gz'"),
        ({"files": "../bare/train.json"}, "leads out of the dataset"),
        ({"files": "main/*", "config": "main"}, "`files` and `config` are both given"),
    ],
)
def test_a_glob_that_is_wrong(mirror: Path, keys: dict[str, str], said: str) -> None:
    assert said in refused(mirror, "carded", **keys)


def test_files_are_for_datasets(mirror: Path) -> None:
    spec = SourceSpec(from_="data/*.jsonl", files="x")
    with pytest.raises(SourceError, match=r"`files:` is for hf:ORG/NAME and mirror:ORG/NAME"):
        open_source(spec, base=mirror)


def test_data_that_is_not_on_the_hub_is_read_from_the_mirror_alone(mirror: Path) -> None:
    spec = SourceSpec(from_="mirror:org/bare", files="train.json")
    assert values(open_source(spec, base=mirror, mirror=mirror)) == ["root"]
    missing = SourceSpec(from_="mirror:org/nothing", get="example.org, nothing.jsonl")
    with pytest.raises(SourceError) as caught:
        open_source(missing, base=mirror, mirror=mirror)
    assert str(caught.value) == (
        f"mirror:org/nothing is not on the Hub, and the mirror folder {mirror} does not hold it. "
        "Put it in the folder org/nothing of a mirror; see --mirror and TULU_DATA_MIRROR. "
        "Where to get it: example.org, nothing.jsonl"
    )
    with pytest.raises(SourceError, match="no mirror folder is given"):
        open_source(missing, base=mirror)


def test_a_sample_is_known_by_its_file(mirror: Path) -> None:
    assert not opened(mirror, "bare").synthetic
    write(mirror / "org" / "bare" / "sample.json", '{"synthetic": true, "rows": 1}')
    assert opened(mirror, "bare", files="train.json").synthetic
