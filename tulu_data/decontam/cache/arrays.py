"""Values made of NumPy arrays, as one block of bytes: what it costs to build, and nothing to load.

A value is a tree: dataclasses and named tuples of this package, tuples, lists and dictionaries of texts, and
in its leaves arrays, numbers and texts. Its shape goes into JSON, its arrays behind one another. Nothing is
pickled: to load an entry runs no code but the constructors of this package's own types.
"""

from __future__ import annotations

import dataclasses
import importlib
import math
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from tulu_data.decontam.cache.store import ALIGNED, Bytes, Part

OURS = "tulu_data."
"""Only types of these modules are packed, and made again."""


def packed(value: Any) -> tuple[Any, list[Part]]:
    """The shape of a value, and the bytes of its arrays.

    Raises:
        TypeError: something in it is of another type.
    """
    packing = _Packing()
    return packing.shape(value), packing.parts


@dataclass
class _Packing:
    """The arrays of a value, put down one behind the other; one that occurs twice lies there once."""

    parts: list[Part] = field(default_factory=list)
    size: int = 0
    places: dict[int, tuple[Any, list[Any]]] = field(default_factory=dict)
    """By identity: the array (held, so that no other takes its identity), and where it lies."""

    def shape(self, value: Any) -> Any:
        """A value as JSON: numbers, texts and lists as they are, all else as an object with one key."""
        match value:
            case None | bool() | int() | float() | str() if not isinstance(value, np.generic):
                shape: Any = value
            case np.ndarray():
                shape = {"array": self.place(value)}
            case np.generic():
                shape = {"scalar": [value.dtype.str, value.item()]}
            case dict():
                shape = {"dict": [[key, self.shape(inner)] for key, inner in value.items()]}
            case list():
                shape = [self.shape(inner) for inner in value]
            case tuple() if not hasattr(value, "_fields"):
                shape = {"tuple": [self.shape(inner) for inner in value]}
            case _:
                kind = type(value)
                fields = {name: self.shape(getattr(value, name)) for name in _fields(kind)}
                shape = {"type": [f"{kind.__module__}:{kind.__qualname__}", fields]}
        return shape

    def place(self, array: Any) -> list[Any]:
        """Where an array lies, and how; in the order of its axes that a kernel compiled for it expects."""
        if array.dtype.hasobject:
            raise TypeError(f"an array of {array.dtype} cannot be kept")
        if id(array) not in self.places:
            order = "F" if array.flags.f_contiguous and not array.flags.c_contiguous else "C"
            body = np.ascontiguousarray(array if order == "C" else array.T).reshape(-1).view(np.uint8)
            writeable = bool(array.flags.writeable)
            place = [array.dtype.str, list(array.shape), order, writeable, self.size]
            self.places[id(array)] = array, place
            padding = -len(body) % ALIGNED
            self.parts += [body.data, bytes(padding)]
            self.size += len(body) + padding
        return self.places[id(array)][1]


def unpacked(shape: Any, content: Bytes) -> Any:
    """The value of that shape, its arrays in place.

    Raises:
        TypeError: it names a type that is not one of ours.
    """
    return _Unpacking(content).value(shape)


@dataclass
class _Unpacking:
    """What `_Packing` put down; an array that occurs twice is one again."""

    content: Bytes
    arrays: dict[str, Any] = field(default_factory=dict)

    def value(self, shape: Any) -> Any:
        """The value of a shape."""
        match shape:
            case list():
                value: Any = [self.value(inner) for inner in shape]
            case {"array": place}:
                value = self.arrays.setdefault(str(place), self.array(*place))
            case {"scalar": [dtype, number]}:
                value = np.dtype(dtype).type(number)
            case {"dict": pairs}:
                value = {key: self.value(inner) for key, inner in pairs}
            case {"tuple": inners}:
                value = tuple(self.value(inner) for inner in inners)
            case {"type": [name, fields]}:
                value = _type(name)(**{key: self.value(inner) for key, inner in fields.items()})
            case _:
                value = shape
        return value

    def array(self, dtype: str, sizes: list[int], order: Any, writeable: bool, start: int) -> Any:
        """The array that lies there."""
        kind = np.dtype(dtype)
        stop = start + kind.itemsize * math.prod(sizes)
        array = self.content[start:stop].view(kind).reshape(sizes, order=order)
        array.flags.writeable = writeable
        return array


def _fields(kind: type) -> list[str]:
    """What a type is made with. Fields that begin with `_` are for its time in memory, and start afresh."""
    if kind.__module__.startswith(OURS):
        if dataclasses.is_dataclass(kind):
            return [f.name for f in dataclasses.fields(kind) if f.init and not f.name.startswith("_")]
        if issubclass(kind, tuple) and hasattr(kind, "_fields"):
            return list(kind._fields)
    raise TypeError(f"a value of type {kind.__module__}.{kind.__qualname__} cannot be kept")


def _type(name: str) -> type:
    module, _, names = name.partition(":")
    if not module.startswith(OURS):
        raise TypeError(f"{name} is no type of this package")
    found: Any = importlib.import_module(module)
    for part in names.split("."):
        found = getattr(found, part)
    _fields(found)
    assert isinstance(found, type)
    return found
