"""Conversations under other names, in trees, or with much beside them: ShareGPT, LIMA, oasst1, WildChat."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from typing import NamedTuple

import pyarrow as pa

from tulu_data.sources.samples.case import (
    JSON,
    NUMBER,
    TEXT,
    WHOLE,
    Case,
    Dataset,
    Made,
    Message,
    Part,
    Row,
    per_split,
    schema,
    turns,
)
from tulu_data.sources.samples.sft import SYSTEM, dialogue, kept

# -- turns under other names ---------------------------------------------------------------------------------


def sharegpt(case: Case) -> Made:
    """ShareGPT's JSON: several names for the speakers, and conversations that are empty or very long."""
    quirk = case.quirk(
        "other_names", "bing", "bard", "system", "empty", "begins_with_answer", "long", "ends_with_user"
    )
    texts, why, labels = dialogue(case, 30 if quirk == "long" else 1 + case.number % 4)
    asks = "user" if quirk == "other_names" else "human"
    answers = {"other_names": "chatgpt", "bing": "bing", "bard": "bard"}.get(quirk, "gpt")
    said_in_turn = [{"from": (asks, answers)[i % 2], "value": text} for i, text in enumerate(texts)]
    if quirk == "system":
        said_in_turn.insert(0, {"from": "system", "value": SYSTEM})
    if quirk == "begins_with_answer":
        said_in_turn.insert(0, {"from": "gpt", "value": case.talk.answer()})
    row = {"id": f"{case.id(7)}_{case.number}", "conversations": said_in_turn}
    if quirk == "ends_with_user":
        said_in_turn.append({"from": "human", "value": case.talk.follow_up()})
        return Made([row], "dropped", quirk)
    if quirk == "empty":
        return Made([row | {"conversations": []}], "dropped", "no_messages")
    return kept(case, row, why or quirk, *labels)


def wizardlm(case: Case) -> Made:
    """WizardLM's turns of human and gpt, in turn."""
    texts, why, labels = dialogue(case, 1 + case.number % 2)
    spoken = [{"from": ("human", "gpt")[i % 2], "value": text} for i, text in enumerate(texts)]
    return kept(case, {"idx": case.id(8), "conversations": spoken}, why, *labels)


def lima(case: Case) -> Made:
    """LIMA's conversations are lists of texts; of an odd number the last has no answer."""
    texts, why, labels = dialogue(case, 3 if case.number % 6 == 5 else 1)
    odd = case.quirk("odd_length")
    return kept(
        case, {"conversations": texts + ([case.talk.follow_up()] if odd else [])}, why or odd, *labels
    )


# -- trees ---------------------------------------------------------------------------------------------------


class _Reply(NamedTuple):
    """A message of a tree: the number of the one it answers, and what people said of it."""

    parent: int | None
    role: str
    text: str
    quality: float | None
    deleted: bool = False


def _tree(case: Case) -> tuple[list[_Reply], Made]:
    """A tree, and what must become of it: the reply of the highest quality is taken at each step.

    A deleted reply has the highest quality of all, and a reply without labels counts as 0.
    """
    texts, why, labels = dialogue(case, 2)
    tree = [
        _Reply(None, "prompter", texts[0], 0.8),
        _Reply(0, "assistant", texts[1], 0.9),
        _Reply(0, "assistant", case.answer("worse1"), 0.4),
        _Reply(0, "assistant", case.answer("deleted1"), 1.0, deleted=True),
        _Reply(0, "assistant", case.answer("unrated1"), None),
        _Reply(1, "prompter", texts[2], 0.7),
        _Reply(5, "assistant", case.answer("worse2"), 0.25),
        _Reply(5, "assistant", texts[3], 0.75),
    ]
    size = 1 if case.quirk("no_reply") else 5 if case.number % 3 == 1 else 8
    size = min(size, case.room if case.room not in (6, 7) else 5)  # whose best path would end otherwise
    if size == 1:
        return tree[:1], Made([], "dropped", "no_reply")
    return tree[:size], Made([], "kept", why, [case.token(label) for label in labels[: 1 + (size == 8)]])


def oasst1(case: Case) -> Made:
    """A tree of messages, one row each."""
    tree, made = _tree(case)
    ids = [f"{case.id(8)}-{case.id(4)}" for _ in tree]
    return replace(made, rows=[_oasst_message(case, ids, i, reply) for i, reply in enumerate(tree)])


def _oasst_message(case: Case, ids: list[str], number: int, reply: _Reply) -> Row:
    rated = {"name": ["spam", "quality", "violence"], "value": [0.0, reply.quality, 0.0], "count": [3, 3, 2]}
    return {
        "message_id": ids[number],
        "parent_id": None if reply.parent is None else ids[reply.parent],
        "user_id": case.id(16),
        "created_date": f"2023-02-{1 + case.number % 28:02}T06:24:20.{number:06}+00:00",
        "text": reply.text,
        "role": reply.role,
        "lang": "de" if case.number % 10 == 9 else "en",
        "review_count": 3,
        "review_result": None if reply.quality is None else not reply.deleted,
        "deleted": reply.deleted,
        "rank": number - 1 if reply.parent == 0 and reply.role == "assistant" else None,
        "synthetic": False,
        "model_name": None,
        "detoxify": None if reply.quality is None else dict.fromkeys(_TOXICITY, 0.001),
        "message_tree_id": ids[0],
        "tree_state": "ready_for_export",
        "emojis": {"name": ["+1"], "count": [2]} if number == 1 else None,
        "labels": None if reply.quality is None else rated,
    }


def oasst1_tree(case: Case) -> Made:
    """A tree as one nested row, as in the file that Tülu 2 was made from."""
    tree, made = _tree(case)
    nodes: list[Row] = []
    for reply in tree:
        labels = {} if reply.quality is None else {"quality": {"value": reply.quality, "count": 3}}
        node = {
            "text": reply.text,
            "role": reply.role,
            "deleted": reply.deleted,
            "labels": labels,
            "replies": [],
        }
        nodes.append(node)
        if reply.parent is not None:
            nodes[reply.parent]["replies"].append(node)
    return replace(made, rows=[{"message_tree_id": case.id(36), "prompt": nodes[0]}])


# -- WildChat ------------------------------------------------------------------------------------------------

_HARMS = (
    *("harassment", "harassment/threatening", "harassment_threatening", "hate", "hate/threatening"),
    *("hate_threatening", "self-harm", "self-harm/instructions", "self-harm/intent", "self_harm"),
    *("self_harm_instructions", "self_harm_intent", "sexual", "sexual/minors", "sexual_minors", "violence"),
    *("violence/graphic", "violence_graphic"),
)
_TOXICITY = (
    *("toxicity", "severe_toxicity", "obscene", "identity_attack", "insult", "threat", "sexual_explicit"),
)
_BEGUN = datetime(2023, 4, 9, tzinfo=UTC)


def wildchat(case: Case) -> Made:
    """WildChat: a moderation entry for each turn, and flags of toxic and redacted conversations."""
    quirk = case.quirk("toxic", "redacted")
    texts, why, labels = dialogue(case, 1 + case.number % 3)
    time = _BEGUN + timedelta(minutes=case.number)
    language = case.talk.pick(("English", "English", "English", "Chinese", "French"))
    model = case.talk.pick(("gpt-4-0314", "gpt-3.5-turbo-0301", "gpt-4-1106-preview"))
    row = {
        "conversation_hash": case.id(32),
        "model": model,
        "timestamp": time,
        "conversation": [_wild_turn(case, m, i, language, quirk, time) for i, m in enumerate(turns(*texts))],
        "turn": len(texts) // 2,
        "language": language,
        "openai_moderation": [
            {
                "categories": dict.fromkeys(_HARMS, False),
                "category_scores": dict.fromkeys(_HARMS, 0.0001),
                "flagged": quirk == "toxic",
            }
            for _ in texts
        ],
        "detoxify_moderation": [dict.fromkeys(_TOXICITY, 0.9 if quirk == "toxic" else 0.001) for _ in texts],
        "toxic": quirk == "toxic",
        "redacted": quirk == "redacted",
    }
    return kept(case, row, why or quirk, *labels)


def _wild_turn(case: Case, turn: Message, number: int, language: str, quirk: str, time: datetime) -> Row:
    user = turn["role"] == "user"
    header = {"accept-language": "en-US,en;q=0.9", "user-agent": "Mozilla/5.0"}
    return {
        "content": turn["content"],
        "country": case.talk.pick(("United States", "France", "China")) if user else None,
        "hashed_ip": case.id(64) if user else None,
        "header": header if user else None,
        "language": language,
        "redacted": quirk == "redacted",
        "role": turn["role"],
        "state": case.talk.pick(("Texas", "Île-de-France")) if user else None,
        "timestamp": None if user else time,
        "toxic": quirk == "toxic",
        "turn_identifier": 100_000 + 10 * case.number + number // 2,
    }


# -- the catalogue -------------------------------------------------------------------------------------------


def _struct(names: tuple[str, ...], kind: pa.DataType) -> pa.DataType:
    return pa.struct([(name, kind) for name in names])


_OASST = pa.schema(
    [
        *(
            (name, TEXT)
            for name in ("message_id", "parent_id", "user_id", "created_date", "text", "role", "lang")
        ),
        *(
            ("review_count", pa.int32()),
            ("review_result", pa.bool_()),
            ("deleted", pa.bool_()),
            ("rank", pa.int32()),
        ),
        *(("synthetic", pa.bool_()), ("model_name", TEXT), ("detoxify", _struct(_TOXICITY, NUMBER))),
        *(("message_tree_id", TEXT), ("tree_state", TEXT)),
        ("emojis", pa.struct([("name", pa.list_(TEXT)), ("count", pa.list_(pa.int32()))])),
        (
            "labels",
            pa.struct(
                [("name", pa.list_(TEXT)), ("value", pa.list_(NUMBER)), ("count", pa.list_(pa.int32()))]
            ),
        ),
    ]
)
_TIME = pa.timestamp("us", tz="UTC")
_WILD_TURN = pa.struct(
    [
        *((name, TEXT) for name in ("content", "country", "hashed_ip")),
        ("header", _struct(("accept-language", "user-agent"), TEXT)),
        *(
            ("language", TEXT),
            ("redacted", pa.bool_()),
            ("role", TEXT),
            ("state", TEXT),
            ("timestamp", _TIME),
        ),
        *(("toxic", pa.bool_()), ("turn_identifier", WHOLE)),
    ]
)
_MODERATION = pa.struct(
    [
        ("categories", _struct(_HARMS, pa.bool_())),
        ("category_scores", _struct(_HARMS, NUMBER)),
        ("flagged", pa.bool_()),
    ]
)
_WILDCHAT = schema(
    conversation_hash=TEXT, model=TEXT, timestamp=_TIME, conversation=pa.list_(_WILD_TURN), turn=WHOLE,
    language=TEXT, openai_moderation=pa.list_(_MODERATION),
    detoxify_moderation=pa.list_(_struct(_TOXICITY, NUMBER)), toxic=pa.bool_(), redacted=pa.bool_(),
)  # fmt: skip


DATASETS: Mapping[str, Dataset] = {
    "OpenAssistant/oasst1": [
        *per_split(oasst1, _OASST, "train", "validation"),
        Part("2023-04-12_oasst_ready.trees.jsonl.gz", oasst1_tree, JSON, config="trees"),
    ],
    "allenai/WildChat-1M": per_split(wildchat, _WILDCHAT, copies=True),
    "allenai/WildChat-1M-Full": per_split(wildchat, _WILDCHAT, copies=True),
    "anon8231489123/ShareGPT_Vicuna_unfiltered": [
        Part(f"HTML_cleaned_raw_dataset/sg_90k_part{i}_html_cleaned.json", sharegpt, JSON, copies=True)
        for i in (1, 2)
    ],
    "WizardLMTeam/WizardLM_evol_instruct_V2_196k": [
        Part("WizardLM_evol_instruct_V2_143k.json", wizardlm, JSON, copies=True)
    ],
    "GAIR/lima": [Part("train.jsonl", lima, JSON, most=1030)],
}
