"""How soon the review page of many findings is there: `make bench` prints this.

The findings are made up, each of another row, and every row and item has a text of its own; so nothing is
stored once that a real run would store often. The page is opened in headless Chromium from its file, with a
new profile each time; the median of several openings counts from the start of the navigation.
"""

from __future__ import annotations

import argparse
import json
import random
import resource
import shutil
import statistics
import sys
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
from selenium import webdriver
from selenium.webdriver.chrome.service import Service

from tulu_data.decontam.evidence import FINDING, explode
from tulu_data.decontam.items import SuiteItems, read_items
from tulu_data.decontam.review.page import Head, write_report
from tulu_data.decontam.review.texts import RowTexts
from tulu_data.decontam.suite import load_suite
from tulu_data.record import MESSAGES
from tulu_data.show import table
from tulu_data.workspace import Workspace

EVALS, ITEMS, DATASETS = 12, 20_000, 8
BATCH = 1_000
OPENINGS = 5
AIM = 2.0

FIRST_FINDING = (
    "return document.body.dataset.finding !== undefined && document.querySelector('#detail mark') !== null"
)
OVERVIEW = "return document.querySelector('.heat button') !== null"


def main() -> None:
    """Makes the page, opens it, prints one table."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--findings", type=int, default=50_000)
    parser.add_argument("--keep", type=Path, help="write the page here and leave it")
    options = parser.parse_args()
    if not shutil.which("chromium") or not shutil.which("chromedriver"):
        sys.exit("chromium and chromedriver are not installed: apt-get install chromium chromium-driver")
    with tempfile.TemporaryDirectory() as folder:
        path = options.keep or Path(folder) / "report.html"
        rows = [*written(path, Path(folder), options.findings), *opened(path)]
    print(f"\nThe review page of {options.findings:,} findings\n")
    table(("what", "figure", "aim"), rows)


# -- making it ----------------------------------------------------------------------------------------------


def written(path: Path, work: Path, findings: int) -> Iterator[tuple[object, ...]]:
    """Writes the page; how long it took, how large it and the process are."""
    suite = made_suite(work)
    _ = suite.matcher  # a run has it long since
    with RowTexts(work / "texts.arrow") as texts:
        rng, matches, keeping = random.Random(1), [], 0.0
        for start in range(0, findings, BATCH):
            ids, datasets, rows, found = batch(rng, suite, start, min(BATCH, findings - start))
            began = time.perf_counter()
            texts.append(ids, rows, found)
            keeping += time.perf_counter() - began
            matches.append(explode(datasets, ids, ids, found))
        head = Head(
            title="benchmark", datasets={f"dataset_{n}": findings for n in range(DATASETS)}, roles=["user"]
        )
        began = time.perf_counter()
        write_report(path, head=head, matches=matches, texts=texts, suite=suite)
        took = time.perf_counter() - began
    yield "keep the texts of the rows", f"{keeping:.2f} s", ""
    yield "write the page", f"{took:.2f} s", ""
    yield "its size", f"{path.stat().st_size / 1e6:.1f} MB", ""
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024
    yield "peak memory, with the made-up findings", f"{peak:.0f} MB", ""


def words(rng: random.Random, least: int, most: int) -> str:
    """A made-up text of so many words."""
    return " ".join(rng.choices(VOCABULARY, k=rng.randint(least, most)))


_letters = random.Random(0)
VOCABULARY = [
    "".join(_letters.choices("abcdefghijklmnoprstuvwy", k=_letters.randint(2, 9))) for _ in range(20_000)
]


def made_suite(work: Path) -> SuiteItems:
    """Evaluations of made-up items, of 20 to 90 words each."""
    rng, lines = random.Random(2), ["suite: benchmark", "evals:"]
    for number in range(EVALS):
        texts = [{"question": words(rng, 20, 90)} for _ in range(ITEMS // EVALS)]
        (work / f"{number}.jsonl").write_text("".join(json.dumps(text) + "\n" for text in texts))
        lines.append(f"  - {{name: eval_{number}, from: {number}.jsonl, split: test, fields: [question]}}")
    (work / "suite.yaml").write_text("\n".join(lines))
    return read_items(load_suite("suite.yaml", Workspace(work)))


def batch(rng: random.Random, suite: SuiteItems, start: int, size: int) -> tuple[Any, Any, pa.Table, Any]:
    """Rows of 60 to 400 words that repeat most of an item, with the findings that say so."""
    rows, found, datasets = [], [], []
    for _ in range(size):
        part = rng.choice(suite.evals)
        item = rng.randrange(len(part.ids))
        text, score = part.texts[0][item], rng.uniform(0.5, 1)
        piece = text[: int(len(text) * score)]
        before = words(rng, 10, 100)
        rows.append([{"role": "user", "content": f"{before} {piece} {words(rng, 10, 200)}"}])
        datasets.append(f"dataset_{rng.randrange(DATASETS)}")
        train = {
            "column": "messages",
            "message": 0,
            "start": len(before) + 1,
            "end": len(before) + 1 + len(piece),
        }
        found.append([finding(part.eval.name, part.ids[item], score, train, len(piece))])
    ids = [f"{name}/{rng.getrandbits(128):032x}/0" for name in datasets]
    table_ = pa.table({"messages": pa.array(rows, MESSAGES), "row": np.arange(start, start + size)})
    return pa.array(ids), pa.array(datasets), table_, pa.array(found, pa.list_(FINDING))


def finding(evaluation: str, item_id: str, score: float, train: dict[str, Any], size: int) -> dict[str, Any]:
    """One finding, as the matcher would say it."""
    return {
        "role": "development", "eval": evaluation, "split": "test", "item_id": item_id,
        "kind": "copy" if score > 0.99 else "partial", "score": score, "action": "drop",
        "field_scores": [{"field": "question", "score": score}],
        "train_spans": [train], "item_spans": [{"field": "question", "start": 0, "end": size}],
    }  # fmt: skip


# -- opening it ---------------------------------------------------------------------------------------------


def opened(path: Path) -> Iterator[tuple[object, ...]]:
    """Opens the page, and works with it."""
    for name, view, ready, aim in (
        ("open: the overview is there", "", OVERVIEW, ""),
        ("open: the first finding is there, marked", "#findings", FIRST_FINDING, f"{AIM:g} s"),
    ):
        seconds = []
        for _ in range(OPENINGS):
            with browser() as driver:
                seconds.append(_until(driver, f"{path.resolve().as_uri()}{view}", ready))
        spread = f"{min(seconds):.2f} to {max(seconds):.2f}"
        yield name, f"{statistics.median(seconds):.2f} s ({spread})", aim
    with browser() as driver:
        _until(driver, f"{path.resolve().as_uri()}#findings", FIRST_FINDING)
        for name, act in ACTS.items():
            yield name, f"{1000 * _act(driver, act):.0f} ms", ""
        heap = driver.execute_cdp_cmd("Runtime.getHeapUsage", {})
        yield "memory of the script afterwards", f"{heap['usedSize'] / 1e6:.0f} MB", ""


ACTS = {
    "to the next finding": "press('j')",
    "to the last finding": "press('End')",
    "filter by one evaluation": "choose('eval', 3)",
    "sort by item": "choose('order', 'item')",
    "decide one finding": "press('d')",
    "search the text of all findings": "choose('query', 'a' + 'b')",
}

HELPERS = """
const press = (key) =>
  document.getElementById("list").dispatchEvent(new KeyboardEvent("keydown", {key, bubbles: true}));
const choose = (name, value) => {
  const field = document.querySelector(`#filters [name=${name}]`);
  field.value = value;
  field.dispatchEvent(new Event(field.tagName === "INPUT" ? "input" : "change"));
};
"""


def _until(driver: webdriver.Chrome, url: str, ready: str) -> float:
    """Seconds from the start of the navigation until `ready` says so, by the page's own clock."""
    driver.get(url)
    while not driver.execute_script(ready):
        time.sleep(0.01)
    return float(driver.execute_script("return performance.now() / 1000"))


def _act(driver: webdriver.Chrome, act: str) -> float:
    """Seconds until the list and the finding stand still after an action."""
    script = f"""{HELPERS}
    const done = arguments[0];
    const began = performance.now();
    let last = began;
    const watch = new MutationObserver(() => {{ last = performance.now(); }});
    watch.observe(document.body, {{subtree: true, childList: true, characterData: true, attributes: true}});
    {act};
    const wait = setInterval(() => {{
      if (performance.now() - last < 600) return;
      clearInterval(wait);
      watch.disconnect();
      done((last - began) / 1000);
    }}, 50);"""
    return float(driver.execute_async_script(script))


@contextmanager
def browser() -> Iterator[webdriver.Chrome]:
    """Headless Chromium with an empty profile."""
    options = webdriver.ChromeOptions()
    options.binary_location = str(shutil.which("chromium"))
    with tempfile.TemporaryDirectory() as profile:
        for flag in (*FLAGS, f"--user-data-dir={profile}"):
            options.add_argument(flag)
        driver = webdriver.Chrome(options=options, service=Service(str(shutil.which("chromedriver"))))
        driver.set_script_timeout(120)
        try:
            yield driver
        finally:
            driver.quit()


FLAGS = (
    "--headless=new",
    "--no-sandbox",  # as root, which a container is
    "--disable-gpu",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-sync",
    "--no-first-run",
)


if __name__ == "__main__":
    main()
