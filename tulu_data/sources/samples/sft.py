"""Instruction datasets whose rows are conversations."""

from __future__ import annotations

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
from tulu_data.sources.samples.text import Style

SYSTEM = "You are a witty pirate who answers in verse."
_PROVIDER = "I am ChatGPT, a language model made by OpenAI."


def kept(case: Case, row: Row, why: str = "", *labels: str) -> Made:
    """A row that an adapter keeps, with the answers that it holds."""
    return Made([row], "kept", why, [case.token(label) for label in labels or ("best",)])


def said(case: Case, **settings: Any) -> tuple[str, str]:
    """An answer, and what is special about it: a few name a provider, which recipes filter out."""
    why = case.quirk("provider_name")
    text = case.answer("best", **settings)
    return (f"{_PROVIDER} {text}" if why else text), why


def dialogue(case: Case, pairs: int) -> tuple[list[str], str, list[str]]:
    """The texts of a conversation of so many exchanges, what is special, and the labels of its answers."""
    answer, why = said(case)
    texts, labels = [case.ask(), answer], ["best"]
    for i in range(2, pairs + 1):
        labels.append(f"best{i}")
        texts += [case.talk.follow_up(), case.answer(labels[-1])]
    return texts, why, labels


# -- messages ------------------------------------------------------------------------------------------------


def messages(case: Case) -> Made:
    """Messages and nothing else."""
    texts, why, labels = dialogue(case, 1 + case.number % 3)
    return kept(case, {"messages": turns(*texts)}, why, *labels)


def tulu3(case: Case) -> Made:
    """The released mixture of Tülu 3, in which `source` tells the part; every other is of WildGuardMix."""
    made = messages(case)
    source = _TULU3[case.number // 2 % len(_TULU3)] if case.number % 2 else _WILDGUARD
    row = {"id": f"{source.partition('/')[2]}_{case.number}", **made.rows[0], "source": source}
    return Made([row], made.expected, made.why, made.chosen)


def tulu2(case: Case) -> Made:
    """The released mixture of Tülu 2: the hard-coded rows, and only they, may speak of a provider."""
    name = _TULU2_PARTS[case.number % len(_TULU2_PARTS)]
    quirk = case.quirk("anthropic_in_prompt")
    asked = case.ask() + (" Would Claude, by Anthropic, say the same?" if quirk else "")
    told = case.answer("best")
    if name == "hard_coded":
        told = f"I am Tülu, not made by OpenAI, Anthropic or Google. {told}"
    spoken = [{"role": m["role"], "content": m["content"]} for m in turns(asked, told)]
    row = {"dataset": name, "id": f"{name}_{case.number}", "messages": spoken}
    return kept(case, row, "provider_name" if quirk else name if name == "hard_coded" else "")


def persona(case: Case, *, style: Style) -> Made:
    """Tülu 3's persona sets: `constraints` (in the style of a chat) or `input_persona` beside messages."""
    prompt, answer = case.ask(style), case.answer("best", style)
    row: Row = {"id": f"personahub_{case.id()}", "prompt": prompt, "messages": turns(prompt, answer)}
    if style == "chat":
        listed = ["detectable_content:number_placeholders", "punctuation:no_comma", "length:number_sentences"]
        return kept(case, row | {"constraints": listed[: 1 + case.number % 3]})
    whom = None if case.quirk("no_persona") else case.talk.fill("A {d} keeper of {A}s in {P}")
    return kept(case, row | {"input_persona": whom})


def no_robots(case: Case) -> Made:
    """Rows of the category Chat begin with a system turn, which is also their `prompt`."""
    chat = case.number % 5 == 3
    texts, why, labels = dialogue(case, 3 if chat else 1)
    categories = (
        "Generation",
        "Open QA",
        "Brainstorm",
        "Rewrite",
        "Summarize",
        "Classify",
        "Closed QA",
        "Coding",
    )
    row = {
        "prompt": SYSTEM if chat else texts[0],
        "prompt_id": case.id(64),
        "messages": turns(*texts, system=SYSTEM if chat else ""),
        "category": "Chat" if chat else case.talk.pick(categories),
    }
    return kept(case, row, why, *labels)


def hard_coded(case: Case) -> Made:
    """What an assistant says of itself; upstream has 24 rows."""
    asked = (
        f"{case.talk.pick(('Who are you?', 'What is your name?', 'Tell me about you.'))} {case.ask('chat')}"
    )
    row = {"messages": turns(asked, f"I am Tülu, an open model. {case.answer('best')}")}
    return kept(case, row)


def sciriff(case: Case) -> Made:
    """Tasks of science, mixed with rows of other sets, which Tülu 3 leaves out."""
    other = case.quirk("other_dataset", "other_dataset ")
    name = (
        "sharegpt" if other else f"science.{case.talk.pick(('evidence_inference', 'scierc_ner', 'qasper'))}"
    )
    prompt, answer = case.ask("list"), case.answer("best", "list")
    row = {"id": f"{name}_{case.number}", "dataset": name, "messages": turns(prompt, answer)}
    return kept(case, row, other.strip())


# -- the catalogue -------------------------------------------------------------------------------------------

_MESSAGES = schema(messages=CONTENT_ROLE)
_MIXTURE = schema(id=TEXT, messages=CONTENT_ROLE, source=TEXT)
_TULU2 = schema(dataset=TEXT, id=TEXT, messages=pa.list_(pa.struct([("role", TEXT), ("content", TEXT)])))
_CONSTRAINTS = schema(id=TEXT, prompt=TEXT, messages=CONTENT_ROLE, constraints=pa.list_(TEXT))
_PERSONA = schema(id=TEXT, prompt=TEXT, input_persona=TEXT, messages=CONTENT_ROLE)
_NO_ROBOTS = schema(prompt=TEXT, prompt_id=TEXT, messages=CONTENT_ROLE, category=TEXT)
_SCIRIFF = schema(id=TEXT, dataset=TEXT, messages=CONTENT_ROLE)
_WILDGUARD = "ai2-adapt-dev/tulu_v3.9_synthetic_finalresp_wildguardmixtrain_decontaminated_50k"
_TULU3 = (
    *("ai2-adapt-dev/personahub_math_v5_regen_149960", "ai2-adapt-dev/evol_codealpaca_heval_decontaminated"),
    *("ai2-adapt-dev/tulu_v3.9_aya_100k", "ai2-adapt-dev/tulu_v3.9_wildchat_100k"),
    *("ai2-adapt-dev/flan_v2_converted", "ai2-adapt-dev/numinamath_tir_math_decontaminated"),
    *("allenai/tulu-3-sft-personas-math-grade", "ai2-adapt-dev/oasst1_converted"),
)
_TULU2_PARTS = (
    *("flan_v2", "cot", "oasst1", "sharegpt", "gpt4_alpaca", "code_alpaca", "lima", "wizardlm", "open_orca"),
    *("science.evidence_inference", "hard_coded"),
)
_CLEANED = (
    *("allenai/evol_codealpaca_heval_decontaminated", "allenai/numinamath_tir_math_decontaminated"),
    *("allenai/wildchat_gpt4_converted_safety_decontaminated", "allenai/wildjailbreak_safety_decontaminated"),
    "allenai/wildguardmixtrain_safety_decontaminated",
)
"""Sets that were published without the items of evaluations. Their columns were read on no card; the program
that cleaned them reads `messages`."""
_PERSONAS: Mapping[str, Style] = {"math": "math", "math-grade": "math", "code": "code", "algebra": "math"}


def _persona_sets() -> dict[str, Dataset]:
    out: dict[str, Dataset] = {
        f"allenai/tulu-3-sft-personas-{name}": per_split(partial(persona, style=style), _PERSONA, copies=True)
        for name, style in _PERSONAS.items()
    }
    name = "allenai/tulu-3-sft-personas-instruction-following"
    return out | {name: per_split(partial(persona, style="chat"), _CONSTRAINTS)}


DATASETS: Mapping[str, Dataset] = {
    "allenai/tulu-3-sft-mixture": per_split(tulu3, _MIXTURE, copies=True),
    "allenai/tulu-v2-sft-mixture": per_split(tulu2, _TULU2, copies=True),
    **{name: per_split(messages, _MESSAGES, copies=True) for name in _CLEANED},
    **_persona_sets(),
    "allenai/tulu-3-hardcoded-prompts": per_split(hard_coded, _MESSAGES, most=24),
    "HuggingFaceH4/no_robots": per_split(no_robots, _NO_ROBOTS, "train", "test"),
    "allenai/SciRIFF-train-mix": per_split(sciriff, _SCIRIFF),
}
