"""Datasets for reinforcement learning with verifiable rewards, and the problems that they are made of."""

from __future__ import annotations

import json
from collections.abc import Mapping
from functools import partial
from typing import Any

import pyarrow as pa

from tulu_data.sources.samples.case import (
    CONTENT_ROLE,
    TEXT,
    Case,
    Dataset,
    Made,
    Row,
    per_split,
    schema,
    turns,
)

_TASKS: Mapping[str, tuple[Mapping[str, Any], str, str]] = {
    "validate_no_commas": ({}, "No Commas", "In your entire response, refrain from the use of any commas."),
    "validate_lowercase": ({}, "All Lowercase", "Your entire response should be in lowercase letters."),
    "verify_paragraph_count": ({"N": 3}, "Number Paragraphs", "Your response should contain 3 paragraphs."),
    "verify_keywords": (
        {"keyword_list": ["lantern", "ferry"]},
        "Include Keywords",
        "Include keywords lantern, ferry in the response.",
    ),
    "validate_end": (
        {"end_phrase": "That is all you need!"},
        "End Checker",
        "Finish your response with this exact phrase: That is all you need!",
    ),
}
"""Functions with their arguments, and the type and words of the constraint."""

_ARGUMENTS = (
    *(
        "N",
        "quantifier",
        "end_phrase",
        "keyword_list",
        "word",
        "forbidden_words",
        "letter",
        "i",
        "first_word",
    ),
    *("postscript_marker", "options", "section_splitter", "original_prompt", "language"),
)
"""Arguments of any function; those that one does not take are null."""


def verifiable(case: Case, *, kinds: tuple[str, ...], constrained: bool = True) -> Made:
    """A user's turn and the truth that a verifier compares with, of every kind in turn."""
    kind = kinds[case.number % len(kinds)]
    row = {"gsm8k": _gsm, "MATH": _math, "ifeval": _instruction}[kind](case)
    row["dataset"] = kind
    if not constrained:
        return Made([{name: row[name] for name in ("messages", "ground_truth", "dataset")}])
    # Outside of IF rows both stand: null here, empty there.
    nothing = None if case.number % 2 else ""
    return Made([{"constraint_type": nothing, "constraint": nothing} | row])


def _exemplars(mark: str, count: int) -> str:
    shown = (
        (f"What is {3 + i} + {i}?", f"{3 + i} + {i} = {3 + 2 * i}. So the answer is {3 + 2 * i}.")
        for i in range(count)
    )
    return "".join(f"{mark}: {asked}\nAnswer: {answer}\n\n" for asked, answer in shown)


def _gsm(case: Case) -> Row:
    answer = (
        f"{1 + case.number % 9},{100 + case.talk.number()}"
        if case.number % 7 == 0
        else str(case.talk.number())
    )
    return {
        "messages": turns(f"{_exemplars('Question', 8)}Question: {case.ask('math')}"),
        "ground_truth": answer,
    }


def _math(case: Case) -> Row:
    answer = rf"\frac{{{case.talk.number()}}}{{{2 * case.talk.number() + 1}}}" if case.number % 3 else "42"
    return {
        "messages": turns(f"{_exemplars('Question', 4)}Question: {case.ask('math')}"),
        "ground_truth": answer,
    }


def _instruction(case: Case) -> Row:
    function = list(_TASKS)[case.number // 3 % len(_TASKS)]
    arguments, kind, words = _TASKS[function]
    truth = {"func_name": function, **dict.fromkeys(_ARGUMENTS), **arguments}
    return {
        "messages": turns(f"{case.ask()} {words}"),
        "ground_truth": json.dumps(truth),
        "constraint_type": kind,
        "constraint": words,
    }


def gsm8k(case: Case) -> Made:
    """Questions with worked answers, whose last line is `#### 72`."""
    one, other = case.talk.number(), case.talk.number()
    worked = f"{case.answer('best', 'math')}\n{one}+{other}=<<{one}+{other}={one + other}>>{one + other}"
    row = {"question": case.ask("math"), "answer": f"{worked}\n#### {one + other}"}
    return Made([row], chosen=[case.token("best")])


def competition(case: Case, *, subject: str) -> Made:
    r"""Problems with a level, a type and a solution that ends in `\boxed{…}`."""
    solution = f"{case.answer('best', 'math')} Thus $x = \\boxed{{{case.talk.number()}}}$."
    level = f"Level {1 + case.number % 5}"
    row = {"problem": case.ask("math"), "level": level, "type": subject, "solution": solution}
    return Made([row], chosen=[case.token("best")])


SUBJECTS = {
    "algebra": "Algebra",
    "counting_and_probability": "Counting & Probability",
    "geometry": "Geometry",
    "intermediate_algebra": "Intermediate Algebra",
    "number_theory": "Number Theory",
    "prealgebra": "Prealgebra",
    "precalculus": "Precalculus",
}
_PLAIN = schema(messages=CONTENT_ROLE, ground_truth=TEXT, dataset=TEXT)
_CONSTRAINED = pa.schema([*_PLAIN, ("constraint_type", TEXT), ("constraint", TEXT)])
_GSM8K = schema(question=TEXT, answer=TEXT)
_MATH = schema(problem=TEXT, level=TEXT, type=TEXT, solution=TEXT)


def _math_parts() -> Dataset:
    path = "{config}/{split}-00000-of-00001.parquet"
    return [
        part
        for config, subject in SUBJECTS.items()
        for part in per_split(
            partial(competition, subject=subject), _MATH, "train", "test", config=config, path=path
        )
    ]


def _plain(kind: str, *splits: str) -> Dataset:
    return per_split(partial(verifiable, kinds=(kind,), constrained=False), _PLAIN, *splits)


DATASETS: Mapping[str, Dataset] = {
    "allenai/RLVR-GSM-MATH-IF-Mixed-Constraints": per_split(
        partial(verifiable, kinds=("gsm8k", "MATH", "ifeval")), _CONSTRAINED
    ),
    "allenai/RLVR-IFeval": per_split(partial(verifiable, kinds=("ifeval",)), _CONSTRAINED),
    "allenai/RLVR-GSM": _plain("gsm8k", "train", "test"),
    "allenai/RLVR-MATH": _plain("MATH"),
    "openai/gsm8k": [
        part
        for config in ("main", "socratic")
        for part in per_split(
            gsm8k, _GSM8K, "train", "test", config=config, path="{config}/{split}-00000-of-00001.parquet"
        )
    ],
    "EleutherAI/hendrycks_math": _math_parts(),
}
