"""A hash of what a dataset says, however its rows came in batches."""

from __future__ import annotations

from hashlib import sha256

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from tulu_data.decontam.evidence import scanned_columns
from tulu_data.record import MESSAGES, ROLES, Kind
from tulu_data.text.hashing import Texts
from tulu_data.turns import one_chunk, turns_of


class ScanDigest:
    """SHA-256 over the columns of some rows that a scan looks at, with the messages of every role.

    A column is four streams: the bytes of its texts, their lengths, who says each, and how many messages each
    row has. Streams know no batches, so the same rows in other batches have the same hash.
    """

    def __init__(self, kind: Kind) -> None:
        self._streams = {name: tuple(sha256() for _ in range(4)) for name in scanned_columns(kind)}

    def add(self, rows: pa.Table) -> None:
        """Takes in the next rows."""
        for name, (bodies, lengths, speakers, sizes) in self._streams.items():
            column = one_chunk(rows[name])
            if column.type == MESSAGES:
                turns = turns_of(column)
                column = turns.texts
                role = pc.fill_null(pc.index_in(turns.roles, pa.array(ROLES)), len(ROLES))
                speakers.update(role.to_numpy(zero_copy_only=False).astype(np.uint8).tobytes())
                sizes.update(turns.sizes().astype("<i8").tobytes())
            texts = Texts.of(column)
            lengths.update(np.diff(texts.offsets).astype("<i8").tobytes())
            bodies.update(texts.data[texts.offsets[0] : texts.offsets[-1]].data)

    def hexdigest(self) -> str:
        """The hash of all rows so far."""
        streams = (stream.digest() for streams in self._streams.values() for stream in streams)
        return sha256(b"".join(streams)).hexdigest()
