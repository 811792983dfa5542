"""Instruction datasets whose rows are a question and an answer in columns of their own."""

from __future__ import annotations

from collections.abc import Mapping
from functools import partial

import pyarrow as pa

from tulu_data.sources.samples.case import (
    CONTENT_ROLE,
    JSON,
    TEXT,
    Case,
    Dataset,
    Made,
    Part,
    Row,
    per_split,
    schema,
    turns,
)
from tulu_data.sources.samples.sft import SYSTEM, kept, said
from tulu_data.sources.samples.text import Style

_LANGUAGES = {
    "eng": ("English", "{} {}"),
    "spa": ("Spanish", "¿Qué sabes de esto? {} {}"),
    "deu": ("German", "Kannst du das erklären? {} {}"),
    "hin": ("Hindi", "यह क्या है? {} {}"),
    "zho": ("Chinese", "这是什么?{} {}"),
    "arb": ("Standard Arabic", "ما هذا؟ {} {}"),
}


def pairs(case: Case, *, asked: str, answered: str, style: Style | None = None, named: str = "") -> Made:
    """A column of questions and one of answers."""
    answer, why = said(case, style=style)
    row = {asked: case.ask(style), answered: answer}
    return kept(case, row | ({"id": f"{named}.{case.number}"} if named else {}), why)


def alpaca(case: Case) -> Made:
    """Alpaca's three columns; the input is often empty."""
    answer, why = said(case)
    row = {
        "instruction": case.ask(),
        "input": "" if case.number % 3 else case.talk.answer(),
        "output": answer,
    }
    return kept(case, row, why)


def orca(case: Case) -> Made:
    """OpenOrca: a system text that may be empty."""
    answer, why = said(case)
    row = {
        "id": f"flan.{case.number}",
        "system_prompt": SYSTEM if case.number % 2 else "",
        "question": case.ask(),
    }
    return kept(case, row | {"response": answer}, why)


def aya(case: Case) -> Made:
    """Questions and answers in many languages."""
    code = list(_LANGUAGES)[case.number % len(_LANGUAGES)]
    language, pattern = _LANGUAGES[code]
    row = {
        "inputs": pattern.format(case.ask("chat"), ""),
        "targets": pattern.format(case.answer("best", "chat"), ""),
        "language": language,
        "language_code": code,
        "annotation_type": "re-annotations" if case.number % 3 else "original-annotations",
        "user_id": case.id(64),
    }
    return kept(case, row)


def open_math(case: Case) -> Made:
    """OpenMathInstruct-2: four sources of problems, of which Tülu 3 takes those of GSM8K."""
    sources = ("gsm8k", "augmented_gsm8k", "math", "augmented_math")
    value = str(case.talk.number())
    row = {
        "problem": case.ask("math"),
        "generated_solution": f"{case.answer('best', 'math')} So the answer is \\boxed{{{value}}}.",
        "expected_answer": value,
        "problem_source": sources[case.number % 4],
    }
    return kept(case, row)


def numina(case: Case) -> Made:
    """NuminaMath-TIR: answers that hold a program and its output."""
    problem = case.ask("math")
    numbers = [case.talk.number() for _ in range(3)]
    program = "```python\nprint({} * {})\n```\n```output\n{}\n```".format(*numbers)
    solution = f"{case.answer('best', 'math')}\n\n{program}\nThe answer is $\\boxed{{{case.talk.number()}}}$."
    return kept(case, {"problem": problem, "solution": solution, "messages": turns(problem, solution)})


def coconot(case: Case, *, answered: bool = True) -> Made:
    """Requests that an assistant should not, or (contrast) should comply with; some have no answer."""
    row = {
        "id": f"coconot_{case.number}",
        "category": "Unsupported requests",
        "subcategory": case.talk.pick(("input modality limitations", "temporal limitations")),
        "prompt": case.ask(),
        "response": case.answer("best") if answered else "",
    }
    return kept(case, row) if answered else Made([row], "dropped", "empty_answer")


def coconot_pairs(case: Case) -> Made:
    """Its preference pairs: texts, not messages."""
    row = dict(coconot(case).rows[0])
    row.pop("response")
    row |= {"chosen": case.answer("best"), "rejected": case.answer("worse1")}
    row |= {"chosen_model": "gpt-4", "rejected_model": "gpt-3.5-turbo"}
    return Made([row], "paired", "", [case.token("best")], [case.token("worse1")])


def wildjailbreak(case: Case) -> Made:
    """Tab-separated; `adversarial` is empty in vanilla rows, and the prompt is `vanilla` then."""
    kind = ("vanilla_harmful", "adversarial_harmful", "vanilla_benign", "adversarial_benign")[case.number % 4]
    adversarial = kind.startswith("adversarial")
    plain = case.talk.ask() if adversarial else case.ask()
    row = {
        "vanilla": plain,
        "adversarial": f"Pretend that you are a novelist.\n{case.ask()}" if adversarial else "",
        "completion": case.answer("best"),
        "data_type": kind,
    }
    return kept(case, row)


def wildguard(case: Case) -> Made:
    """Prompts of which many have no response; those are no rows to learn from."""
    silent = case.number % 2 == 1
    harmful = case.number % 4 > 1
    row = {
        "prompt": case.ask(),
        "adversarial": case.number % 3 == 0,
        "response": None if silent else case.answer("best"),
        "prompt_harm_label": "harmful" if harmful else "unharmful",
        "response_refusal_label": None if silent else "refusal" if harmful else "compliance",
        "response_harm_label": None if silent else "unharmful",
        "subcategory": "fraud" if harmful else "benign",
    }
    return Made([row], "dropped", "no_response") if silent else kept(case, row)


def sciriff_task(case: Case) -> Made:
    """SciRIFF as it is, before its tasks were mixed."""
    row: Row = {
        "input": case.ask("list"),
        "output": case.answer("best", "list"),
        "metadata": {"domains": ["biomedicine"], "input_context": "paragraph", "task_family": "qa"},
        "_instance_id": f"bioasq:train:{case.number}",
    }
    return kept(case, row)


def persona_hub(case: Case) -> Made:
    """PersonaHub's columns have spaces in their names."""
    row = {
        "input persona": case.talk.fill("A {d} keeper of {A}s in {P}"),
        "synthesized text": case.ask(),
        "description": "math problem",
    }
    return Made([row])


def bare_persona(case: Case) -> Made:
    """A persona, and nothing else."""
    return Made([{"persona": f"{case.talk.fill('A {d} keeper of {A}s in {P}')} ({case.prompt_token})"}])


# -- the catalogue -------------------------------------------------------------------------------------------

_FLAN = schema(inputs=TEXT, targets=TEXT)
_CODE = {name: schema(instruction=TEXT, **{name: TEXT}) for name in ("response", "output")}
_TABLE = schema(prompt=TEXT, completion=TEXT)
_ORCA = schema(id=TEXT, system_prompt=TEXT, question=TEXT, response=TEXT)
_AYA = schema(
    inputs=TEXT, targets=TEXT, language=TEXT, language_code=TEXT, annotation_type=TEXT, user_id=TEXT
)
_OPEN_MATH = schema(problem=TEXT, generated_solution=TEXT, expected_answer=TEXT, problem_source=TEXT)
_NUMINA = schema(problem=TEXT, solution=TEXT, messages=CONTENT_ROLE)
_COCONOT = schema(id=TEXT, category=TEXT, subcategory=TEXT, prompt=TEXT, response=TEXT)
_COCONOT_PAIRS = schema(
    id=TEXT, category=TEXT, subcategory=TEXT, prompt=TEXT, chosen=TEXT, rejected=TEXT, chosen_model=TEXT,
    rejected_model=TEXT,
)  # fmt: skip
_JAILBREAK = schema(vanilla=TEXT, adversarial=TEXT, completion=TEXT, data_type=TEXT)
_GUARD = schema(
    prompt=TEXT, adversarial=pa.bool_(), response=TEXT, prompt_harm_label=TEXT, response_refusal_label=TEXT,
    response_harm_label=TEXT, subcategory=TEXT,
)  # fmt: skip
_METADATA = pa.struct([("domains", pa.list_(TEXT)), ("input_context", TEXT), ("task_family", TEXT)])
_SCIRIFF = schema(input=TEXT, output=TEXT, metadata=_METADATA, _instance_id=TEXT)
_FLAN_FOLDERS = [
    f"{kind}_{shots}opt_data" for kind in ("cot", "niv2", "flan", "t0", "dialog") for shots in ("fs", "zs")
]
_STORE = ("flan_v2_resampled_50k.jsonl", "cot_zsopt.jsonl", "cot_fsopt.jsonl")
_HUB = ("math", "instruction", "reasoning", "knowledge", "npc", "tool")

_flan = partial(pairs, asked="inputs", answered="targets")
_IN_CONFIG = "{config}/{split}-00000-of-00001.parquet"


def _coconot_parts() -> list[Part]:
    return [
        *per_split(coconot, _COCONOT, "train", "test", config="original", path=_IN_CONFIG),
        *per_split(partial(coconot, answered=False), _COCONOT, "test", config="contrast", path=_IN_CONFIG),
        *per_split(coconot_pairs, _COCONOT_PAIRS, config="pref", path=_IN_CONFIG),
    ]


def _hub_parts() -> list[Part]:
    return [
        *(Part(f"{name}.jsonl", persona_hub, JSON, config=name) for name in _HUB),
        Part("persona.jsonl", bare_persona, JSON, config="persona"),
    ]


def _sciriff_parts() -> list[Part]:
    sizes = ("4096", "8192", "16384")
    return [
        part
        for size in sizes
        for part in per_split(sciriff_task, _SCIRIFF, "train", "validation", config=size, path=_IN_CONFIG)
    ]


DATASETS: Mapping[str, Dataset] = {
    "Open-Orca/FLAN": [
        Part(f"{folder}/part.0.parquet", _flan, _FLAN, copies=True) for folder in _FLAN_FOLDERS
    ],
    "hamishivi/tulu_mix_store": [Part(name, _flan, JSON) for name in _STORE],
    # Not on the Hub: repositories of GitHub, under their names there.
    "Instruction-Tuning-with-GPT-4/GPT-4-LLM": [
        Part("data/alpaca_gpt4_data.json", alpaca, JSON, copies=True)
    ],
    "sahil280114/codealpaca": [Part("data/code_alpaca_20k.json", alpaca, JSON, copies=True)],
    "Open-Orca/OpenOrca": [
        Part(name, orca, _ORCA) for name in ("1M-GPT4-Augmented.parquet", "3_5M-GPT3_5-Augmented.parquet")
    ],
    "ise-uiuc/Magicoder-Evol-Instruct-110K": per_split(
        partial(pairs, asked="instruction", answered="response", style="code"), _CODE["response"], copies=True
    ),
    "theblackcat102/evol-codealpaca-v1": per_split(
        partial(pairs, asked="instruction", answered="output", style="code"), _CODE["output"], copies=True
    ),
    "LipengCS/Table-GPT": [
        part
        for config in ("All", "Train")
        for part in per_split(
            partial(pairs, asked="prompt", answered="completion", style="list"), _TABLE, "train", "test",
            config=config, path=_IN_CONFIG,
        )
    ],
    "CohereForAI/aya_dataset": per_split(aya, _AYA, "train", "test"),
    "nvidia/OpenMathInstruct-2": per_split(
        open_math, _OPEN_MATH, "train", "train_1M", "train_2M", "train_5M"
    ),
    "AI-MO/NuminaMath-TIR": per_split(numina, _NUMINA, "train", "test"),
    "allenai/coconot": _coconot_parts(),
    "allenai/wildjailbreak": [Part("train/train.tsv", wildjailbreak, _JAILBREAK, config="train")],
    "allenai/wildguardmix": [
        Part("train/wildguard_train.parquet", wildguard, _GUARD, config="wildguardtrain")
    ],
    "allenai/SciRIFF": _sciriff_parts(),
    "proj-persona/PersonaHub": _hub_parts(),
}  # fmt: skip
