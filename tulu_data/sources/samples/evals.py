"""Evaluation datasets: what the steps of a recipe hold its rows against, in their native columns."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from functools import partial
from typing import Any

import pyarrow as pa

from tulu_data.sources.samples.case import (
    TEXT,
    WHOLE,
    Case,
    Dataset,
    Made,
    Part,
    per_split,
)

Column = tuple[pa.DataType, Callable[[Case], Any]]
"""A column's type and what makes its values."""


def item(case: Case, *, columns: Mapping[str, Column]) -> Made:
    """A row of columns that are made one by one."""
    return Made([{name: make(case) for name, (_, make) in columns.items()}])


def parts(columns: Mapping[str, Column], splits: Sequence[str], *configs: str, path: str = "") -> list[Part]:
    """The files of an evaluation: each split of each config."""
    schema = pa.schema([(name, kind) for name, (kind, _) in columns.items()])
    pattern = path or ("{config}/" if configs else "data/") + "{split}-00000-of-00001.parquet"
    make = partial(item, columns=columns)
    return [
        part
        for config in configs or ("default",)
        for part in per_split(make, schema, *splits, config=config, path=pattern, items=True)
    ]


# -- columns -------------------------------------------------------------------------------------------------

asked: Column = (TEXT, lambda case: case.ask("chat"))
worked: Column = (TEXT, lambda case: case.talk.answer("math", 1, 2))
told: Column = (TEXT, lambda case: case.talk.answer("chat", 1, 2))
program: Column = (TEXT, lambda case: case.talk.code())
named: Column = (TEXT, lambda case: case.talk.topic["A"])
number: Column = (WHOLE, lambda case: case.number)
texts: Column = (pa.list_(TEXT), lambda case: [case.talk.answer("chat", 1, 1) for _ in range(4)])
listed: Column = (TEXT, lambda case: f'["{case.talk.topic["A"]}", "{case.talk.topic["B"]}"]')
letter: Column = (TEXT, lambda case: "ABCD"[case.number % 4])
index: Column = (WHOLE, lambda case: case.number % 4)


def one_of(*values: Any) -> Column:
    """Each of the values in turn."""
    return pa.array(values).type, lambda case: values[case.number % len(values)]


def made(pattern: str) -> Column:
    """A text that holds the item's number."""
    return TEXT, lambda case: pattern.format(case.number)


def _problem(case: Case) -> str:
    return f'def {case.talk.topic["A"]}(items):\n    """{case.ask("chat")}"""\n'


def _targets(case: Case) -> dict[str, Any]:
    return {"choices": texts[1](case), "labels": [1, 0, 0, 0]}


_TARGETS: Column = (pa.struct([("choices", pa.list_(TEXT)), ("labels", pa.list_(pa.int32()))]), _targets)
_SPANS: Column = (
    pa.struct([("spans", pa.list_(TEXT)), ("types", pa.list_(TEXT))]),
    lambda case: {"spans": [str(case.talk.number())], "types": ["number"]},
)


def _arguments(**columns: pa.DataType) -> Column:
    """Arguments of an instruction: every key, null where it takes none."""
    kind = pa.list_(pa.struct(list(columns.items())))
    return kind, lambda _: [dict.fromkeys(columns)]


_IFEVAL_ARGUMENTS = {
    **dict.fromkeys(
        ("capital_relation", "end_phrase", "first_word", "keyword", "language", "let_relation"), TEXT
    ),
    **dict.fromkeys(("letter", "postscript_marker", "prompt_to_repeat", "relation", "section_spliter"), TEXT),
    **dict.fromkeys(("forbidden_words", "keywords"), pa.list_(TEXT)),
    **dict.fromkeys(
        ("capital_frequency", "frequency", "let_frequency", "nth_paragraph", "num_bullets"), WHOLE
    ),
    **dict.fromkeys(("num_highlights", "num_paragraphs", "num_placeholders", "num_sections"), WHOLE),
    **dict.fromkeys(("num_sentences", "num_words"), WHOLE),
}


# -- the catalogue -------------------------------------------------------------------------------------------

_MMLU = {"question": asked, "subject": one_of("anatomy", "virology"), "choices": texts, "answer": index}
_BBH = (
    *("boolean_expressions", "causal_judgement", "date_understanding", "disambiguation_qa", "dyck_languages"),
    *("formal_fallacies", "geometric_shapes", "hyperbaton", "logical_deduction_five_objects"),
    *("logical_deduction_seven_objects", "logical_deduction_three_objects", "movie_recommendation"),
    *("multistep_arithmetic_two", "navigate", "object_counting", "penguins_in_a_table"),
    *("reasoning_about_colored_objects", "ruin_names", "salient_translation_error_detection", "snarks"),
    *("sports_understanding", "temporal_sequences", "tracking_shuffled_objects_five_objects"),
    *("tracking_shuffled_objects_seven_objects", "tracking_shuffled_objects_three_objects", "web_of_lies"),
    "word_sorting",
)
_ENTITY = dict.fromkeys(("subj", "prop", "obj"), named)
_POPQA = {
    "id": number,
    **_ENTITY,
    **{f"{side}_id": number for side in _ENTITY},
    **{f"{side}_{what}": make for side in ("s", "o") for what, make in (("aliases", listed), ("uri", named))},
    **{
        f"{side}_{what}": make
        for side in ("s", "o")
        for what, make in (("wiki_title", named), ("pop", number))
    },
    "question": asked,
    "possible_answers": listed,
}
_HUMANEVAL = {
    "task_id": made("HumanEval/{}"),
    "prompt": (TEXT, _problem),
    "canonical_solution": program,
    "test": (TEXT, lambda case: f"def check(candidate):\n    assert candidate([{case.talk.number()}])\n"),
    "entry_point": named,
}
_IFEVAL = {
    "key": number,
    "prompt": asked,
    "instruction_id_list": one_of(["punctuation:no_comma"]),
    "kwargs": _arguments(**_IFEVAL_ARGUMENTS),
}
_IFBENCH = {
    "key": made("{}"),
    "prompt": asked,
    "instruction_id_list": one_of(["count:keywords_multiple"]),
    "kwargs": _arguments(N=WHOLE, keyword1=TEXT),
}
_ALPACA_EVAL = {
    "instruction": asked,
    "output": told,
    "generator": one_of("text_davinci_003"),
    "dataset": one_of("helpful_base", "koala", "oasst", "selfinstruct", "vicuna"),
}
_HARMBENCH = {
    "Behavior": asked,
    "FunctionalCategory": one_of("standard", "contextual", "copyright"),
    "SemanticCategory": one_of("illegal"),
    "Tags": one_of("context", ""),
    "ContextString": told,
    "BehaviorID": made("behavior_{}"),
}
_GUARD_TEST = {
    "prompt": asked,
    "adversarial": one_of(True, False),
    "response": told,
    "prompt_harm_label": one_of("harmful", "unharmful", None),
    "response_refusal_label": one_of("refusal", "compliance"),
    "response_harm_label": one_of("unharmful", "harmful"),
    "subcategory": one_of("fraud", "benign"),
}
_MMLU_PRO = {
    "question_id": number,
    "question": asked,
    "options": texts,
    "answer": letter,
    "answer_index": index,
    "cot_content": one_of(""),
    "category": one_of("math", "law"),
    "src": one_of("ori_mmlu"),
}
_GPQA = {
    "Question": asked,
    "Correct Answer": told,
    **{f"Incorrect Answer {i}": told for i in (1, 2, 3)},
    "Explanation": worked,
    "Subdomain": one_of("Physics (general)", "Genetics"),
}
_AGIEVAL: Mapping[str, Column] = {
    "passage": (TEXT, lambda case: case.talk.answer("chat", 3, 5) if case.number % 2 else None),
    "question": asked,
    "options": (pa.list_(TEXT), lambda case: [f"({name}){case.talk.number()}" for name in "ABCD"]),
    "label": letter,
    "answer": (TEXT, lambda _: None),
    "other": (pa.struct([("solution", TEXT)]), lambda case: {"solution": case.talk.answer("math", 1, 1)}),
}
_EXAMS = (
    "aqua_rat",
    "logiqa-en",
    "lsat-ar",
    "lsat-lr",
    "lsat-rc",
    "sat-en",
    "sat-en-without-passage",
    "sat-math",
)
_BIGCODEBENCH = {
    "task_id": made("BigCodeBench/{}"),
    "complete_prompt": (TEXT, _problem),
    "instruct_prompt": asked,
    "canonical_solution": program,
    "code_prompt": program,
    "test": program,
    "entry_point": one_of("task_func"),
    "doc_struct": one_of('{"description": []}'),
    "libs": one_of("['random']"),
}
_MATHEMATICS = (
    *(f"algebra__{name}" for name in ("linear_1d", "linear_2d", "polynomial_roots", "sequence_next_term")),
    *(
        f"arithmetic__{name}"
        for name in ("add_or_sub", "mixed", "mul", "mul_div_multiple", "nearest_integer_root")
    ),
    *(f"calculus__{name}" for name in ("differentiate", "differentiate_composed")),
    *(f"comparison__{name}" for name in ("closest", "kth_biggest", "pair", "sort")),
    *(f"measurement__{name}" for name in ("conversion", "time")),
    *(
        f"numbers__{name}"
        for name in ("base_conversion", "gcd", "is_prime", "lcm", "place_value", "round_number")
    ),
    *(f"polynomials__{name}" for name in ("add", "collect", "compose", "evaluate", "expand")),
)
"""Half of the 56 modules; a suite reads whichever there are."""
_XSTEST = {
    "prompt": asked,
    "focus": named,
    "type": one_of("homonyms", "contrast_homonyms"),
    "label": one_of("safe", "unsafe"),
}
_JAILBREAK = {
    "adversarial": asked,
    "label": one_of(1, 0),
    "data_type": one_of("adversarial_harmful", "adversarial_benign"),
}
_DAN = {
    "adversarial": asked,
    "vanilla": told,
    **dict.fromkeys(("jailbreak", "platform", "source"), named),
}

DATASETS: Mapping[str, Dataset] = {
    "cais/mmlu": parts(_MMLU, ("test", "validation", "dev"), "all", "anatomy", "virology"),
    "akariasai/PopQA": parts(_POPQA, ("test",), path="test.tsv"),
    "truthfulqa/truthful_qa": [
        *parts(
            {
                **dict.fromkeys(("type", "category"), told),
                "question": asked, "best_answer": told, "correct_answers": texts, "incorrect_answers": texts,
                "source": named,
            },
            ("validation",),
            "generation",
        ),
        *parts(
            {"question": asked, "mc1_targets": _TARGETS, "mc2_targets": _TARGETS},
            ("validation",), "multiple_choice",
        ),
    ],
    "lukaemon/bbh": parts({"input": asked, "target": one_of("False", "True", "(A)")}, ("test",), *_BBH),
    "ucinlp/drop": parts(
        {
            "section_id": made("nfl_{}"), "query_id": made("query-{}"),
            "passage": (TEXT, lambda case: case.talk.answer("chat", 4, 7)), "question": asked,
            "answers_spans": _SPANS,
        },
        ("train", "validation"),
    ),
    "openai/openai_humaneval": parts(
        _HUMANEVAL, ("test",), path="openai_humaneval/{split}-00000-of-00001.parquet"
    ),
    "evalplus/humanevalplus": parts(_HUMANEVAL, ("test",)),
    "google/IFEval": parts(_IFEVAL, ("train",), path="ifeval_input_data.jsonl"),
    "tatsu-lab/alpaca_eval": [
        *parts(_ALPACA_EVAL, ("eval",), "alpaca_eval", path="alpaca_eval.json"),
        *parts(_ALPACA_EVAL, ("eval",), "alpaca_eval_gpt4_baseline", path="alpaca_eval_gpt4_baseline.json"),
    ],
    "walledai/XSTest": parts(_XSTEST, ("test",)),
    "allenai/tulu-3-harmbench-eval": parts(_HARMBENCH, ("test",)),
    "allenai/tulu-3-do-anything-now-eval": parts(_DAN, ("test",)),
    "allenai/tulu-3-trustllm-jailbreaktrigger-eval": parts(
        {"prompt": asked, "label": one_of("harmful"), "source": named}, ("test",)
    ),
    "allenai/wildjailbreak": parts(_JAILBREAK, ("train",), "eval", path="eval/eval.tsv"),
    "allenai/wildguardmix": parts(
        _GUARD_TEST, ("test",), "wildguardtest", path="test/wildguard_test.parquet"
    ),
    "TIGER-Lab/MMLU-Pro": parts(_MMLU_PRO, ("test", "validation")),
    "Idavidrein/gpqa": parts(
        _GPQA, ("train",), "gpqa_main", "gpqa_extended", "gpqa_diamond", path="{config}.csv"
    ),
    "lighteval/agi_eval_en": parts(_AGIEVAL, ("train",), *_EXAMS),
    "bigcode/bigcodebench": parts(_BIGCODEBENCH, ("v0.1.0_hf", "v0.1.1", "v0.1.2", "v0.1.4")),
    "deepmind/math_dataset": parts({"question": asked, "answer": worked}, ("train", "test"), *_MATHEMATICS),
    "allenai/IFBench_test": parts(_IFBENCH, ("train",)),
    "allenai/href": parts(
        {"instruction": asked, "category": one_of("Generation", "Open QA", "Rewrite")}, ("dev",)
    ),
}  # fmt: skip
