"""Finished versions train: TRL takes one real step of each of its trainers on them, as their cards say."""

from __future__ import annotations

import json
import math
import os
import subprocess
import sys
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import pytest

from tests.mixtures.places import Place, preference_rows, rlvr_rows, sft_rows

pytestmark = [pytest.mark.train, pytest.mark.slow]

SCRIPT = Path(__file__).with_name("train_steps.py")
KINDS = {"sft": sft_rows(20), "preference": preference_rows(20, rated=True), "rlvr": rlvr_rows(20)}


@pytest.fixture(scope="module")
def told(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Any]:
    """What happened, in a process of its own; with one thread, as several would wait for each other."""
    missing = [name for name in ("torch", "transformers", "trl") if find_spec(name) is None]
    if missing:
        message = f"{', '.join(missing)} missing: pip install torch, then pip install -e '.[train]'"
        (pytest.fail if os.environ.get("CI") else pytest.skip)(message)
    root = tmp_path_factory.mktemp("train")
    (root / "mixtures").mkdir()
    place = Place(root)
    paths = []
    for kind, rows in KINDS.items():
        place.recipe(kind, kind=kind, sources=[{"name": "a", "from": place.jsonl(kind, rows)}])
        paths.append(str(place.build(kind).path))
    offline = {"HF_HUB_OFFLINE": "1", "HF_HOME": str(root / "hf"), "OMP_NUM_THREADS": "1"}
    done = subprocess.run(
        [sys.executable, str(SCRIPT), str(root / "work"), *paths],
        env={**os.environ, **offline},
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    found: dict[str, Any] = json.loads(done.stdout.splitlines()[-1])
    return found


@pytest.mark.parametrize("trainer", ["sft", "dpo", "reward", "grpo"])
def test_one_step_moves_every_weight(told: dict[str, Any], trainer: str) -> None:
    step = told[trainer]
    assert step["steps"] == 1
    assert step["moved"] == step["weights"] > 0
    assert math.isfinite(step["loss"])


def test_dpo_starts_where_policy_and_reference_agree(told: dict[str, Any]) -> None:
    assert told["pairs"] == ["chosen", "rejected", "source"]
    assert told["dpo"]["loss"] == pytest.approx(math.log(2), abs=1e-4)


def test_the_reward_functions_of_grpo_see_the_ground_truth_and_its_verifier(told: dict[str, Any]) -> None:
    answers = {row["ground_truth"] for row in KINDS["rlvr"]}
    assert told["seen"]
    assert all(answer in answers and verifier == "gsm8k" for answer, verifier in told["seen"])


def test_trl_takes_no_text_prompt_beside_conversations(told: dict[str, Any]) -> None:
    """Why a version of pairs has the config `trl`."""
    assert told["refused"] in {"TypeError", "AttributeError"}
