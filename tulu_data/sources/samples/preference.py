"""Preference datasets whose rows are pairs: as conversations, as transcripts, or as texts with a vote."""

from __future__ import annotations

from collections.abc import Mapping
from functools import partial
from typing import Any

import pyarrow as pa

from tulu_data.sources.samples.case import (
    CONTENT_ROLE,
    Case,
    Dataset,
    Expected,
    Made,
    Message,
    Part,
    Row,
    per_split,
    turns,
)

TEXT, NUMBER, WHOLE = pa.string(), pa.float64(), pa.int64()
MODELS = ("llama-2-7b-chat", "falcon-40b-instruct", "mpt-30b-chat", "wizardlm-13b", "alpaca-7b", "vicuna-33b")
SYSTEM = "You are a patient assistant who explains each step."


def schema(**columns: pa.DataType) -> pa.Schema:
    """Columns in order; hyphens stand where Python's names have `__`."""
    return pa.schema([(name.replace("__", "-"), kind) for name, kind in columns.items()])


def pair(case: Case, rows: list[Row], expected: Expected = "paired", why: str = "") -> Made:
    """A case of one good and one worse answer."""
    if expected != "paired":
        return Made(rows, expected, why)
    return Made(rows, "paired", why, [case.token("best")], [case.token("worse1")])


def sides(case: Case, *, system: str = "", multi_turn: bool = False) -> tuple[str, list[Message], list[Message]]:
    """The prompt, and both conversations; the prompt is the last user turn."""
    before = [case.talk.ask(), case.talk.answer()] if multi_turn else []
    prompt = case.ask()
    chosen = turns(*before, prompt, case.answer("best"), system=system)
    rejected = turns(*before, prompt, case.answer("worse1"), system=system)
    return prompt, chosen, rejected


# -- conversations -------------------------------------------------------------------------------------------


def ultrafeedback_cleaned(case: Case) -> Made:
    """Argilla's binarised UltraFeedback: means of four aspects, none of them equal."""
    prompt, chosen, rejected = sides(case)
    best = 4.0 + case.number % 5 / 4
    row = {
        "source": case.talk.pick(("sharegpt", "evol_instruct", "ultrachat", "flan_v2_niv2", "false_qa")),
        "prompt": prompt,
        "chosen": chosen,
        "chosen-rating": best,
        "chosen-model": case.talk.pick(MODELS),
        "rejected": rejected,
        "rejected-rating": best - 0.25 * (1 + case.number % 8),
        "rejected-model": case.talk.pick(MODELS),
    }
    return pair(case, [row])


def ultrafeedback_h4(case: Case) -> Made:
    """H4's binarised UltraFeedback: overall scores from 1 to 10, some of them equal."""
    prompt, chosen, rejected = sides(case)
    tied = case.quirk("tie") != ""
    score = 7.0 + case.number % 7 / 2
    row = {
        "prompt": prompt,
        "prompt_id": case.id(64),
        "chosen": chosen,
        "rejected": rejected,
        "messages": chosen,
        "score_chosen": score,
        "score_rejected": score if tied else score - 1 - case.number % 5,
    }
    return pair(case, [row], *(("tie", "equal_scores") if tied else ()))


def capybara(case: Case) -> Made:
    """Several turns of which only the last differs; one pair is of equal answers."""
    multi_turn = case.number % 3 != 1
    prompt, chosen, rejected = sides(case, multi_turn=multi_turn)
    same = case.once(7)
    said = [m["content"] for m in chosen]
    row = {
        "source": case.talk.pick(("Airoboros", "Dove", "GOAT", "TaskSource")),
        "conversation": [
            {"input": i, "output": o} for i, o in zip(said[::2], said[1::2], strict=True)
        ],
        "original_response": said[-1],
        "generation_prompt": [f"<s>[INST] {prompt} [/INST]"] * 2,
        "raw_generation_responses": [rejected[-1]["content"]],
        "new_generations": [rejected[-1]["content"]],
        "prompt": prompt,
        "chosen": chosen,
        "rejected": chosen if same else rejected,
        "rating_chosen": 5,
        "rating_rejected": 5 if same else 1 + case.number % 4,
        "chosen_model": "",
        "rejected_model": case.talk.pick(MODELS),
    }
    return pair(case, [row], *(("dropped", "same_answer") if same else ()))


def tulu_component(case: Case, *, misaligned: bool = False) -> Made:
    """A set of Tülu 3's synthetic preferences; in one of those released, answers moved to other prompts."""
    prompt, chosen, rejected = sides(case)
    row: Row = {"id": f"{case.id(8)}_{case.number}", "prompt": prompt, "chosen": chosen, "rejected": rejected}
    row |= {"chosen_rating": 5.0 - case.number % 4 / 4, "rejected_rating": 1.0 + case.number % 8 / 4}
    row |= {"chosen_model": case.talk.pick(MODELS), "rejected_model": case.talk.pick(MODELS)}
    if misaligned and case.quirk("misaligned", "misaligned too"):
        other = Case(case.number, f"{case.key}0000", case.rng, 1)
        for side in ("chosen", "rejected"):
            row[side] = turns(prompt, other.answer("astray"))
        return Made([row], "paired", "misaligned", [other.token("astray")], [other.token("astray")])
    return pair(case, [row])


def tulu_mixture(case: Case, *, rated: bool = False) -> Made:
    """A released mixture of Tülu 3; the one of 405B has ratings, which Persona-IF rows lack."""
    made = tulu_component(case)
    persona = case.number % 4 == 3
    source = "persona-if" if persona else case.talk.pick(("sft-reused-on-policy", "wildchat-if", "ultrafeedback"))
    row = dict(made.rows[0], source=f"ai2-adapt-dev/{source}")
    ratings = {"chosen_rating", "rejected_rating"}
    if not rated:
        row = {name: value for name, value in row.items() if not name.endswith(("_rating", "_model"))}
    elif persona:
        row |= dict.fromkeys(ratings)
    return pair(case, [row])


def persona_if(case: Case) -> Made:
    """Tülu 3's Persona-IF pairs, with the misspelt column that was published."""
    prompt, chosen, rejected = sides(case)
    row = {
        "id": f"personahub_{case.id()}",
        "prompt": prompt,
        "constraints": ["change case", "punctuation", "length constraints"][: 1 + case.number % 3],
        "chosen": chosen,
        "rejected": rejected,
        "chonsen_model": "gpt-4o-2024-08-06",
        "rejected_model": case.talk.pick(MODELS),
    }
    return pair(case, [row])


def tulu25(case: Case, *, source: str, margin: bool = False) -> Made:
    """A split of the released Tülu 2.5 preferences: keys of a turn in either order."""
    _, chosen, rejected = sides(case, multi_turn=case.number % 4 == 2)
    if case.number % 2:
        chosen, rejected = ([{"role": m["role"], "content": m["content"]} for m in s] for s in (chosen, rejected))
    row: Row = {"chosen": chosen, "rejected": rejected, "source": source}
    return pair(case, [row | ({"margin": 0.25 * (1 + case.number % 6)} if margin else {})])


# -- transcripts ---------------------------------------------------------------------------------------------


def transcript(said: list[Message]) -> str:
    """Anthropic's layout."""
    names = {"user": "Human", "assistant": "Assistant"}
    return "".join(f"\n\n{names[m['role']]}: {m['content']}".rstrip(" ") for m in said)


def hh(case: Case) -> Made:
    """HH-RLHF: transcripts that begin alike; some part early, repeat a role, end empty or quote `Human:`."""
    quirk = case.quirk("empty_answer", "consecutive_roles", "literal_human", "parts_early")
    _, chosen, rejected = sides(case, multi_turn=case.number % 3 == 2)
    if quirk == "empty_answer":
        rejected[-1]["content"] = ""
    if quirk == "consecutive_roles":
        extra = turns(case.talk.ask())
        chosen, rejected = extra + chosen, extra + rejected
    if quirk == "literal_human":
        quoted = " A sign there reads Human: keep out, Assistant: come in."
        chosen[-1]["content"] += quoted
        rejected[-2]["content"] += quoted
        chosen[-2] = rejected[-2]
    if quirk == "parts_early":
        chosen += turns(case.talk.follow_up(), f"{case.talk.answer()} ({case.token('later1')})")
        rejected += turns(case.talk.follow_up(), f"{case.talk.answer()} ({case.token('later2')})")
    row = {"chosen": transcript(chosen), "rejected": transcript(rejected)}
    unusable = quirk in {"empty_answer", "consecutive_roles"}
    return pair(case, [row], "dropped" if unusable else "paired", quirk)


def red_team(case: Case) -> Made:
    """Anthropic's attempts at red-teaming: another schema in the same dataset."""
    said = turns(case.talk.ask(), case.talk.answer(), case.talk.follow_up(), case.talk.answer())
    row = {"transcript": transcript(said), "rating": float(case.number % 5), "tags": None}
    return Made([row], "dropped", "red_team")


# -- texts and votes -----------------------------------------------------------------------------------------


def stack_exchange(case: Case) -> Made:
    """Answers to questions of Stack Exchange: `response_j` is the better, and a question has several pairs."""
    number = case.number // 2 * 2
    question = f"{case.talk.ask()} ({case.prompt_token})"
    rows = [
        {
            "qid": number + 1,
            "question": question,
            "date": f"20{10 + number % 12}/0{1 + number % 9}/1{number % 9}",
            "metadata": ["https://stackoverflow.com", f"https://stackoverflow.com/users/{case.talk.number()}/"],
            "response_j": case.answer("best"),
            "response_k": case.answer(label),
        }
        for label in case.worse(min(case.room, 1 + number % 3))
    ]
    worse = [case.token(label) for label in case.worse(len(rows))]
    return Made(rows, "paired", "", [case.token("best")], worse)


def shp(case: Case) -> Made:
    """Reddit's votes: label 1 says that A won, 0 that B did, at random."""
    answers = [case.answer("best"), case.answer("worse1")]
    first = case.rng.random() < 0.5
    best, worst = 20 + case.talk.number(), 1 + case.number % 9
    scores = [best, worst] if first else [worst, best]
    answers = answers if first else answers[::-1]
    row = {
        "post_id": case.id(6),
        "domain": f"ask{case.talk.pick(('culinary', 'physics', 'history', 'baking'))}_train",
        "upvote_ratio": 0.5 + case.number % 50 / 100,
        "history": case.ask(),
        "c_root_id_A": case.id(7),
        "c_root_id_B": case.id(7),
        "created_at_utc_A": 1_600_000_000 + case.number,
        "created_at_utc_B": 1_600_000_000 - case.number,
        "score_A": scores[0],
        "score_B": scores[1],
        "human_ref_A": answers[0],
        "human_ref_B": answers[1],
        "labels": int(first),
        "seconds_difference": float(2 * case.number),
        "score_ratio": best / worst,
    }
    return pair(case, [row])


def _voted(case: Case, *ties: str) -> tuple[str, list[str], str]:
    """Who won (`model_a`, `model_b` or a kind of tie), the labels of both answers, and the kind of tie."""
    tie = case.quirk(*ties)
    if tie:
        return tie, ["tie1", "tie2"], tie
    first = case.rng.random() < 0.5
    return ("model_a", ["best", "worse1"], "") if first else ("model_b", ["worse1", "best"], "")


_CATEGORIES = (
    *("harassment", "harassment/threatening", "hate", "hate/threatening", "self-harm", "self-harm/instructions"),
    *("self-harm/intent", "sexual", "sexual/minors", "violence", "violence/graphic"),
)


def arena(case: Case) -> Made:
    """Chatbot Arena 2023: two models' conversations and a vote, which may be one of two kinds of tie."""
    winner, labels, tie = _voted(case, "tie", "tie (bothbad)")
    prompt, before = case.ask(), case.talk.ask()
    several = case.number % 5 == 4
    talks = [
        turns(*([before, case.talk.answer()] if several else []), prompt, case.answer(label)) for label in labels
    ]
    row = {
        "question_id": case.id(32),
        "model_a": case.talk.pick(MODELS),
        "model_b": case.talk.pick(MODELS),
        "winner": winner,
        "judge": f"arena_user_{case.talk.number()}",
        "conversation_a": talks[0],
        "conversation_b": talks[1],
        "turn": 2 if several else 1,
        "anony": case.number % 3 > 0,
        "language": case.talk.pick(("English", "English", "German", "Spanish")),
        "tstamp": 1_682_351_591.0 + case.number,
        "openai_moderation": {
            "categories": dict.fromkeys(_CATEGORIES, False),
            "category_scores": dict.fromkeys(_CATEGORIES, 0.001),
            "flagged": False,
        },
        "toxic_chat_tag": {
            "roberta-large": {"flagged": False, "probability": 0.01},
            "t5-large": {"flagged": False, "score": 0.001},
        },
    }
    if several:  # the models were asked on from answers of their own
        return pair(case, [row], *(("tie", tie) if tie else ("paired", "several_turns")))
    return pair(case, [row], *(("tie", tie) if tie else ()))
