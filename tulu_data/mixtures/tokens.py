"""How many tokens a row has: counted with a tokenizer file, or estimated."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.compute as pc

from tulu_data.errors import SourceError
from tulu_data.mixtures.sums import file_hash
from tulu_data.mixtures.writer import text_bytes
from tulu_data.record import Kind, conversation_columns
from tulu_data.turns import one_chunk

BYTES_PER_TOKEN = 4
"""Bytes of UTF-8 text per token, for estimates: the usual rule of thumb for English text."""


@dataclass(frozen=True)
class TokenCounter:
    """Counts the tokens of each row's messages: of both conversations of a pair, without a chat template."""

    kind: Kind
    file: Path | None = None
    tokenizer: Any = None

    @classmethod
    def open(cls, kind: Kind, file: Path | None) -> TokenCounter:
        """A counter with the tokenizer of a `tokenizer.json`, or one that estimates.

        Raises:
            SourceError: the file is missing, or is no tokenizer.
        """
        if file is None:
            return cls(kind)
        if not file.is_file():
            raise SourceError(
                "the tokenizer file does not exist", where=str(file), expected="a `tokenizer.json`"
            )
        from tokenizers import Tokenizer

        try:
            return cls(kind, file, Tokenizer.from_file(str(file)))
        except Exception as error:  # the library raises nothing narrower
            detail = str(error).splitlines()[0]
            raise SourceError(f"this is no tokenizer: {detail}", where=str(file)) from error

    def told(self) -> dict[str, Any]:
        """How tokens were counted, for the manifest."""
        if self.file is None:
            return {"counted": "estimated", "bytes_per_token": BYTES_PER_TOKEN}
        return {"counted": "exact", "tokenizer": self.file.name, "sha256": file_hash(self.file)}

    def of(self, table: pa.Table) -> npt.NDArray[np.int32]:
        """The tokens of each row; an estimate is rounded up."""
        columns = conversation_columns(self.kind)
        if self.tokenizer is None:
            return (-(-text_bytes(table, columns) // BYTES_PER_TOKEN)).astype(np.int32)
        total = np.zeros(table.num_rows, np.int32)
        for name in columns:
            column = one_chunk(table[name])
            texts = pc.fill_null(pc.struct_field(column.flatten(), "content"), "").to_pylist()
            encoded = self.tokenizer.encode_batch_fast(texts, add_special_tokens=False)
            sums = np.concatenate([[0], np.cumsum([len(one) for one in encoded], dtype=np.int64)])
            ends = np.cumsum(pc.fill_null(pc.list_value_length(column), 0).to_numpy(zero_copy_only=False))
            total += np.diff(sums[np.concatenate([[0], ends])]).astype(np.int32)
        return total
