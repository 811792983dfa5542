"""Preference datasets that judge several answers: with ratings by aspect, with ranks, or step by step."""

from __future__ import annotations

from collections.abc import Mapping
from functools import partial
from typing import Any

import pyarrow as pa

from tulu_data.sources.samples.case import (
    JSON,
    NUMBER,
    TEXT,
    WHOLE,
    Case,
    Dataset,
    Made,
    Part,
    Row,
    per_split,
    schema,
)
from tulu_data.sources.samples.preference import MODELS

# -- ratings by aspect, in text ------------------------------------------------------------------------------

_PRINCIPLES = ("helpfulness", "truthfulness", "honesty", "verbalized_calibration", "harmlessness")
_ASPECTS = ("instruction_following", "honesty", "truthfulness", "helpfulness")
_UNRATED = {"not_applicable": (1, "N/A"), "unparsable": (0, "Rating: five of five")}
"""Quirks that leave the best answer without a number for one aspect, which makes its mean no worse."""


def ultrafeedback(case: Case, *, subset: str) -> Made:
    """UltraFeedback: four answers, each rated by four aspects in text.

    The second answer's mean is 4.25. So who takes "N/A" for -1, or what cannot be read for 1, takes the best
    answer for the worse one.
    """
    quirk = case.quirk("not_applicable", "tie", "unparsable", "zero", "few", "single", "none")
    labels = ["best", *case.worse({"few": 2, "single": 0}.get(quirk, 3))]
    if quirk == "none":
        labels = []
    if quirk == "tie":
        labels = ["tie1", "tie2", "tie3", "tie4"]
    prompt = case.ask()
    answers = [_rated_answer(case, label, quirk) for label in labels]
    case.rng.shuffle(answers)
    row = {
        "source": f"flan_v2_{case.talk.pick(('cot', 'p3', 'niv2', 'flan2021'))}"
        if subset == "flan"
        else subset,
        "instruction": prompt,
        "models": [answer["model"] for answer in answers],
        "completions": answers,
        "correct_answers": ["None"],
        "incorrect_answers": ["None"],
    }
    if quirk == "tie":
        return Made([row], "tie", "equal_scores")
    if len(labels) < 2:
        return Made([row], "dropped", "single_answer" if labels else "no_answer")
    return Made([row], "paired", quirk, [case.token("best")], [case.token(label) for label in labels[1:]])


def _rated_answer(case: Case, label: str, quirk: str) -> Row:
    ratings, overall = {
        "best": (["5", "5", "5", "5"], 9.0),
        "worse1": (["4", "4", "5", "4"], 8.0),
    }.get(label, ([str(1 + case.talk.number() % 3) for _ in _ASPECTS], 1.0 + case.talk.number() % 6))
    if label.startswith("tie"):
        ratings, overall = ["4", "3", "4", "3"], 7.0
    if label == "best" and quirk in _UNRATED:
        place, said = _UNRATED[quirk]
        ratings[place] = said
    if label == "worse2" and quirk == "zero":
        ratings[0] = "0"
    numbers = [int(text) for text in ratings if text.isdigit()]
    return {
        "model": case.talk.pick(MODELS),
        "principle": case.talk.pick(_PRINCIPLES),
        "custom_system_prompt": "As an AI assistant, be as helpful as you can.",
        "response": case.answer(label),
        "critique": case.talk.answer(),
        "overall_score": overall,
        "fine-grained_score": sum(numbers) / len(numbers),
        "annotations": {
            name: _annotation(case, name, said) for name, said in zip(_ASPECTS, ratings, strict=True)
        },
    }


def _annotation(case: Case, aspect: str, rating: str) -> Row:
    said = {"Rating": rating, "Rationale": case.talk.answer(most=2)}
    if aspect in ("instruction_following", "honesty"):
        return said
    # A list in some rows and the text "None" in others, as published.
    kind = ["1", "2"] if aspect == "helpfulness" and case.number % 2 else "None"
    return {"Type": kind, **said, "Rationale For Rating": case.talk.answer(most=1)}


# -- ratings by aspect, one row for each answer --------------------------------------------------------------


def helpsteer(case: Case, *, most: int, marked: bool = False) -> Made:
    """HelpSteer: rows of one prompt lie apart; some prompts have one row, or answers of equal means.

    The mean of four aspects leaves out verbosity: with it, the second answer would be the best.
    """
    quirk = case.quirk("single", "tie")
    size = min(case.room, 1 if quirk == "single" else most - case.number % max(1, most - 1))
    prompt = case.ask()
    if marked and case.number % 3 == 1:
        told = f"{case.talk.answer()}\n<extra_id_1>User\n{case.talk.follow_up()}"
        prompt = f"{prompt}\n<extra_id_1>Assistant\n{told}"
    labels = ["tie1", "tie2"][:size] if quirk == "tie" else ["best", *case.worse(size - 1)]
    rows = []
    for label in labels:
        low = [case.talk.number() % 3 for _ in range(5)]
        scores = {
            "best": [4, 4, 4, 3, 0],
            "worse1": [3, 4, 3, 3, 4],
            "tie1": [3, 3, 2, 2, 1],
            "tie2": [2, 3, 3, 2, 4],
        }
        row: Row = {"prompt": prompt, "response": case.answer(label)}
        rows.append(row | dict(zip(_SCORES, scores.get(label, low), strict=True)))
    case.rng.shuffle(rows)
    if len(labels) < 2:
        return Made(rows, "dropped", "single_answer")
    if quirk == "tie":
        return Made(rows, "tie", "equal_scores")
    return Made(rows, "paired", "", [case.token("best")], [case.token(label) for label in labels[1:]])


# -- ranks ---------------------------------------------------------------------------------------------------


def nectar(case: Case) -> Made:
    """Nectar: seven answers in any order, rank 1 the best; some hold turns that a model made up."""
    quirk = case.quirk("made_up_turns", "tie", "shared_rank", "single", "few")
    labels = ["best", *case.worse({"single": 0, "few": 2}.get(quirk, 6))]
    ranks = [float(rank) for rank in range(1, len(labels) + 1)]
    if quirk == "tie":
        labels, ranks = [f"tie{i}" for i in range(1, 8)], [1.0] * 7
    if quirk == "shared_rank":
        ranks[2] = ranks[1]
    before = (
        f"\n\nHuman: {case.talk.ask()}\n\nAssistant: {case.talk.answer()}" if case.number % 3 == 2 else ""
    )
    prompt = f"{before}\n\nHuman: {case.ask()} \n\nAssistant: "
    answers: list[Row] = [
        {"answer": case.answer(label, most=4), "model": case.talk.pick(MODELS), "rank": rank}
        for label, rank in zip(labels, ranks, strict=True)
    ]
    if quirk == "made_up_turns":
        answers[-1]["answer"] += (
            f"\n\nHuman: {case.talk.follow_up()}\n\nAssistant: {case.talk.answer(most=2)}"
        )
    case.rng.shuffle(answers)
    row = {
        "prompt": prompt,
        "answers": answers,
        "turns": 2 if before else 1,
        "num_response": len(answers),
        "source": ["lmsys-chat-1m"] if case.number % 2 else ["anthropic-hh", "ultrachat"],
        "good_natured": case.number % 4 > 0,
    }
    if quirk == "tie":
        return Made([row], "tie", "equal_scores")
    if quirk == "single":
        return Made([row], "dropped", "single_answer")
    return Made([row], "paired", quirk, [case.token("best")], [case.token(label) for label in labels[1:]])


# -- labels of steps -----------------------------------------------------------------------------------------


def prm800k(case: Case, *, phase: int) -> Made:
    """PRM800K: several labelled generations of a problem; those with an error may be the worse answer.

    Some problems have no solution to choose, or no generation with an error.
    """
    quirk = case.quirk("no_ground_truth", "no_error", "plain")
    reasons = ["found_error", "solution", "found_error", "give_up", "bad_problem"]
    count = min(case.room, 1 + case.number % 5)
    ends = ["solution"] * count if quirk == "no_error" else reasons[:count]
    problem = case.ask("math")
    solution = f"{case.answer('best', 'math')} The answer is $\\boxed{{{case.talk.number()}}}$."
    labels = [f"{'worse' if end == 'found_error' else 'other'}{i}" for i, end in enumerate(ends, 1)]
    question = {
        "problem": problem,
        "ground_truth_solution": None if quirk == "no_ground_truth" else solution,
        "ground_truth_answer": str(case.talk.number()),
    }
    rows = [
        _generation(case, question, label, end, i, phase)
        for i, (label, end) in enumerate(zip(labels, ends, strict=True))
    ]
    if quirk in ("no_ground_truth", "no_error"):
        return Made(rows, "dropped", quirk)
    worse = [case.token(label) for label in labels if label.startswith("worse")]
    return Made(rows, "paired", "", [case.token("best")], worse)


def _generation(case: Case, question: Row, label: str, end: str, number: int, phase: int) -> Row:
    steps = [case.answer(label, "math", least=1, most=1), *(case.talk.answer("math", 1, 2) for _ in range(3))]
    steps.append(f"# Answer\n\n{case.talk.number()}")
    seen = steps[: 2 + number % 3] if end == "found_error" else steps
    labelled: list[Row] = []
    for i, text in enumerate(seen):
        rating = -1 if end == "found_error" and i == len(seen) - 1 else (1, 1, 0, None)[i % 4]
        first = {"text": text, "rating": rating, "flagged": None if i else False}
        labelled.append({"completions": [first], "human_completion": None, "chosen_completion": 0})
    if end == "solution" and number % 2:
        # Where a person wrote the step, no completion was labelled.
        human = {"text": case.talk.answer("math", 1, 1), "rating": None, "source": "human", "flagged": False}
        labelled[1] = {"completions": None, "human_completion": human, "chosen_completion": None}
    made = {
        "pre_generated_steps": steps,
        "pre_generated_answer": steps[-1].split("\n\n")[1],
        "pre_generated_verifier_score": case.number % 100 / 100,
    }
    return {
        "labeler": case.id(32),
        "timestamp": f"2022-{1 + case.number % 12:02}-{1 + number:02}T21:09:{case.number % 60:02}.000000",
        "generation": number if phase == 2 else None,
        "is_quality_control_question": False,
        "is_initial_screening_question": end == "bad_problem",
        "question": question | (made if phase == 2 else {}),
        "label": {"steps": labelled, "total_time": 1000 * case.talk.number(), "finish_reason": end},
    }


# -- the catalogue -------------------------------------------------------------------------------------------

_SCORES = ("helpfulness", "correctness", "coherence", "complexity", "verbosity")
_HELPSTEER = schema(prompt=TEXT, response=TEXT, **dict.fromkeys(_SCORES, pa.int32()))
_NECTAR = schema(
    prompt=TEXT, answers=pa.list_(pa.struct([("answer", TEXT), ("model", TEXT), ("rank", NUMBER)])),
    turns=WHOLE, num_response=WHOLE, source=pa.list_(TEXT), good_natured=pa.bool_(),
)  # fmt: skip
_SUBSETS = ("evol_instruct", "false_qa", "flan", "sharegpt", "truthful_qa", "ultrachat")


def _helpsteer(**settings: Any) -> Dataset:
    return per_split(partial(helpsteer, **settings), _HELPSTEER, "train", "validation", scattered=True)


def _prm800k(phase: int) -> list[Part]:
    make = partial(prm800k, phase=phase)
    path = f"prm800k/data/phase{phase}_{{split}}.jsonl"
    config = "default" if phase == 2 else "phase1"
    return per_split(make, JSON, "train", "test", path=path, config=config, scattered=True)


DATASETS: Mapping[str, Dataset] = {
    "openbmb/UltraFeedback": [
        Part(f"{subset}.jsonl", partial(ultrafeedback, subset=subset), JSON) for subset in _SUBSETS
    ],
    "berkeley-nest/Nectar": [Part("data/rlaif.parquet", nectar, _NECTAR)],
    "nvidia/HelpSteer": _helpsteer(most=4),
    "nvidia/HelpSteer2": _helpsteer(most=2, marked=True),
    "openai/prm800k": [*_prm800k(2), *_prm800k(1)],
}
