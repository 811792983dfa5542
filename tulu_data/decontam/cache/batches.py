"""The hash of a batch of training rows: of what is looked at, and not of how Arrow lays it out."""

from __future__ import annotations

import json
from collections.abc import Sequence
from hashlib import sha256
from typing import Any

import numpy as np
import pyarrow as pa

from tulu_data.decontam.cache.keys import DIGITS, feed, feed_texts
from tulu_data.decontam.evidence import scanned_columns
from tulu_data.record import MESSAGES, Kind
from tulu_data.turns import one_chunk, turns_of


def batch_key(batch: pa.Table, kind: Kind, roles: Sequence[str] | None) -> str:
    """A hash of what of a batch is looked at.

    Args:
        batch: rows with the columns of `scanned_columns(kind)`.
        kind: of the rows.
        roles: whose messages are looked at; None means everyone's.
    """
    digest = sha256()
    looked = None if roles is None else list(roles)
    feed(digest, json.dumps([kind, looked, batch.num_rows]).encode())
    for name in scanned_columns(kind):
        _feed_column(digest, one_chunk(batch[name]), roles)
    return digest.hexdigest()[:DIGITS]


def _feed_column(digest: Any, column: pa.Array, roles: Sequence[str] | None) -> None:
    if column.type != MESSAGES:  # a bare prompt is what a user says
        if roles is None or "user" in roles:
            feed_texts(digest, column)
        return
    turns = turns_of(column)
    texts, speakers = turns.texts, turns.roles
    feed(digest, turns.sizes().astype(np.int32))
    if roles is not None:
        wanted = turns.role(*roles)
        texts, speakers = texts.filter(pa.array(wanted)), speakers.filter(pa.array(wanted))
        feed(digest, np.flatnonzero(wanted).astype(np.int32))
    named = speakers.dictionary_encode()
    feed(digest, json.dumps(named.dictionary.to_pylist()).encode())
    feed(digest, named.indices.fill_null(-1).to_numpy(zero_copy_only=False).astype(np.int32))
    feed_texts(digest, texts)
