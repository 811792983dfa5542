"""BLAKE2b of many rows at once: `hashlib`'s values, without a Python object per row."""

from tulu_data.digests.rows import Part, hash_rows, part_of_texts

__all__ = ["Part", "hash_rows", "part_of_texts"]
