"""Preference datasets whose rows are transcripts, or texts with a vote."""

from __future__ import annotations

import json
from collections.abc import Mapping

import pyarrow as pa

from tulu_data.sources.samples.case import (
    CONTENT_ROLE,
    NUMBER,
    TEXT,
    WHOLE,
    Case,
    Dataset,
    Made,
    Message,
    Part,
    per_split,
    schema,
    turns,
)
from tulu_data.sources.samples.preference import MODELS, pair, sides

SYSTEM = "You are a patient assistant who explains each step."


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
    """Answers to questions of Stack Exchange: `response_j` is the better; a question has several."""
    question = f"{case.talk.ask()} ({case.prompt_token})"
    rows = [
        {
            "qid": case.number + 1,
            "question": question,
            "date": f"20{10 + case.number % 12}/0{1 + case.number % 9}/1{case.number % 9}",
            "metadata": [
                "https://stackoverflow.com",
                f"https://stackoverflow.com/users/{case.talk.number()}/",
            ],
            "response_j": case.answer("best"),
            "response_k": case.answer(label),
        }
        for label in case.worse(min(case.room, 1 + case.number % 3))
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
    *(
        "harassment",
        "harassment/threatening",
        "hate",
        "hate/threatening",
        "self-harm",
        "self-harm/instructions",
    ),
    *("self-harm/intent", "sexual", "sexual/minors", "violence", "violence/graphic"),
)


def arena(case: Case) -> Made:
    """Chatbot Arena 2023: two models' conversations and a vote, which may be one of two kinds of tie."""
    winner, labels, tie = _voted(case, "tie", "tie (bothbad)")
    several = case.number % 5 == 4  # then each model was asked on from its own answer
    asked = [case.ask(), *([case.talk.follow_up()] if several else [])]
    talks = [turns(*(text for ask in asked for text in (ask, case.answer(label)))) for label in labels]
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
    if tie:
        return pair(case, [row], "tie", tie)
    return pair(case, [row], "paired", "several_turns" if several else "")


def arena_55k(case: Case) -> Made:
    """Chatbot Arena 2024, a csv: every text is a JSON list of turns, and an element may be null."""
    winner, labels, tie = _voted(case, "tie")
    several = case.number % 5 == 4
    asked = [case.ask(), *([case.talk.follow_up()] if several else [])]
    answers: list[list[str | None]] = [[case.answer(label) for _ in asked] for label in labels]
    silent = not tie and case.quirk("plain", "silent") == "silent"
    if silent:
        answers[labels.index("worse1")][-1] = None
    row = {
        "id": str(30_192 + 17 * case.number),
        "model_a": case.talk.pick(MODELS),
        "model_b": case.talk.pick(MODELS),
        "prompt": json.dumps(asked),
        "response_a": json.dumps(answers[0]),
        "response_b": json.dumps(answers[1]),
        "winner_model_a": int(winner == "model_a"),
        "winner_model_b": int(winner == "model_b"),
        "winner_tie": int(tie != ""),
    }
    if tie or silent:
        return pair(case, [row], *(("tie", tie) if tie else ("dropped", "empty_answer")))
    return pair(case, [row], "paired", "several_turns" if several else "")


def alpaca_farm(case: Case) -> Made:
    """AlpacaFarm: `preference` is the number of the better output; `input` is often empty."""
    first = case.rng.random() < 0.5
    answers = [case.answer("best"), case.answer("worse1")]
    row = {
        "instruction": case.ask(),
        "input": "" if case.number % 3 else case.talk.answer(),
        "output_1": answers[0 if first else 1],
        "output_2": answers[1 if first else 0],
        "preference": 1 if first else 2,
    }
    return pair(case, [row])


def orca(case: Case) -> Made:
    """Intel's pairs: a system text that may be empty; one pair is of equal answers."""
    same = case.once(7)
    best = case.answer("best")
    row = {
        "system": SYSTEM if case.number % 2 else "",
        "question": case.ask(),
        "chosen": best,
        "rejected": best if same else case.answer("worse1"),
    }
    return pair(case, [row], *(("dropped", "same_answer") if same else ()))


def orca_argilla(case: Case) -> Made:
    """Argilla's version of Intel's pairs: `input` is the question, and a judge's status may be a tie."""
    quirk = case.quirk("tie", "unrated", "in_gsm8k_train")
    made = orca(case)
    row = made.rows[0]
    score = None if quirk == "unrated" else 9.0 if quirk != "tie" else 8.0
    whole = {
        "system": row["system"],
        "input": row["question"],
        "chosen": row["chosen"],
        "rejected": row["rejected"],
        "generations": [row["chosen"], row["rejected"]],
        "order": ["chosen", "rejected"],
        "rationale": case.talk.answer(),
        "rating": None if score is None else [score, score if quirk == "tie" else 3.0],
        "status": quirk if quirk == "tie" else ("unchanged" if case.number % 3 else "swapped"),
        "original_chosen": row["chosen"],
        "original_rejected": row["rejected"],
        "chosen_score": score,
        "in_gsm8k_train": quirk == "in_gsm8k_train",
    }
    if made.expected == "dropped":
        return Made([whole], made.expected, made.why)
    return pair(case, [whole], *(("tie", "tie") if quirk == "tie" else ("paired", quirk)))


# -- the catalogue -------------------------------------------------------------------------------------------

_SIDES = schema(chosen=TEXT, rejected=TEXT)
_STACK = schema(
    qid=WHOLE, question=TEXT, date=TEXT, metadata=pa.list_(TEXT), response_j=TEXT, response_k=TEXT
)
_SHP = schema(
    post_id=TEXT, domain=TEXT, upvote_ratio=NUMBER, history=TEXT, c_root_id_A=TEXT, c_root_id_B=TEXT,
    created_at_utc_A=WHOLE, created_at_utc_B=WHOLE, score_A=WHOLE, score_B=WHOLE, human_ref_A=TEXT,
    human_ref_B=TEXT, labels=WHOLE, seconds_difference=NUMBER, score_ratio=NUMBER,
)  # fmt: skip


def _flags(kind: pa.DataType) -> pa.DataType:
    return pa.struct([(name, kind) for name in _CATEGORIES])


def _tag(score: str) -> pa.DataType:
    return pa.struct([("flagged", pa.bool_()), (score, NUMBER)])


_ARENA = pa.schema(
    [
        *((name, TEXT) for name in ("question_id", "model_a", "model_b", "winner", "judge")),
        *(("conversation_a", CONTENT_ROLE), ("conversation_b", CONTENT_ROLE), ("turn", WHOLE)),
        *(("anony", pa.bool_()), ("language", TEXT), ("tstamp", NUMBER)),
        (
            "openai_moderation",
            pa.struct(
                [
                    ("categories", _flags(pa.bool_())),
                    ("category_scores", _flags(NUMBER)),
                    ("flagged", pa.bool_()),
                ]
            ),
        ),
        ("toxic_chat_tag", pa.struct([("roberta-large", _tag("probability")), ("t5-large", _tag("score"))])),
    ]
)
_ARENA_55K = schema(
    id=TEXT, model_a=TEXT, model_b=TEXT, prompt=TEXT, response_a=TEXT, response_b=TEXT, winner_model_a=WHOLE,
    winner_model_b=WHOLE, winner_tie=WHOLE,
)  # fmt: skip
_FARM = schema(instruction=TEXT, input=TEXT, output_1=TEXT, output_2=TEXT, preference=WHOLE)
_ORCA = schema(system=TEXT, question=TEXT, chosen=TEXT, rejected=TEXT)
_ORCA_ARGILLA = schema(
    system=TEXT, input=TEXT, chosen=TEXT, rejected=TEXT, generations=pa.list_(TEXT), order=pa.list_(TEXT),
    rationale=TEXT, rating=pa.list_(NUMBER), status=TEXT, original_chosen=TEXT, original_rejected=TEXT,
    chosen_score=NUMBER, in_gsm8k_train=pa.bool_(),
)  # fmt: skip


_HH_FOLDERS = ("harmless-base", "helpful-base", "helpful-online", "helpful-rejection-sampled")


def _hh_parts() -> list[Part]:
    out = [
        Part(f"{folder}/{split}.jsonl.gz", hh, _SIDES, split=split)
        for split in ("train", "test")
        for folder in _HH_FOLDERS
    ]
    columns = schema(transcript=TEXT, rating=NUMBER, tags=TEXT)
    path = "red-team-attempts/red_team_attempts.jsonl.gz"
    return [*out, Part(path, red_team, columns, config="red-team-attempts")]


def _stack_parts() -> list[Part]:
    folders = ("rl", "reward", "finetune", "evaluation")
    names = [
        (folder, f"data/{folder}/train-0000{i}-of-00002.parquet") for folder in folders for i in range(2)
    ]
    return [Part(path, stack_exchange, _STACK, config=f"data/{folder}") for folder, path in names]


def _farm_parts() -> list[Part]:
    configs = ("alpaca_gpt4_preference", "alpaca_human_preference")
    return [Part(f"{name}.json", alpaca_farm, _FARM, config=name, split="preference") for name in configs]


DATASETS: Mapping[str, Dataset] = {
    "Anthropic/hh-rlhf": _hh_parts(),
    "lvwerra/stack-exchange-paired": _stack_parts(),
    "stanfordnlp/SHP": per_split(shp, _SHP, "train", "validation", "test"),
    "stanfordnlp/SHP-2": per_split(shp, _SHP, "train", "validation", "test"),
    "lmsys/chatbot_arena_conversations": per_split(arena, _ARENA),
    "lmsys/lmsys-arena-human-preference-55k": [Part("train.csv", arena_55k, _ARENA_55K)],
    "lmarena-ai/arena-human-preference-55k": [Part("train.csv", arena_55k, _ARENA_55K)],
    "tatsu-lab/alpaca_farm": _farm_parts(),
    "Intel/orca_dpo_pairs": per_split(orca, _ORCA),
    "argilla/distilabel-intel-orca-dpo-pairs": per_split(orca_argilla, _ORCA_ARGILLA),
}
