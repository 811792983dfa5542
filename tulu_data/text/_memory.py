"""Reading Arrow's buffers from Numba: 8 and 64 bytes at any address, as LLVM instructions.

Every function takes a plain address. Callers see to it that at least `SLACK` readable bytes follow the text.
"""

from __future__ import annotations

from typing import Any

from llvmlite import ir
from numba import types
from numba.extending import intrinsic

SLACK = 128
"""Bytes that must be readable behind the end of any text handed to a kernel."""

_U8, _U64 = ir.IntType(8), ir.IntType(64)
_BLOCK = ir.VectorType(_U8, 64)


@intrinsic
def load8(_context: Any, address: Any) -> Any:
    """Eight bytes as a little-endian uint64."""

    def code(_c: Any, builder: Any, _s: Any, args: Any) -> Any:
        return builder.load(builder.inttoptr(args[0], _U64.as_pointer()), align=1, typ=_U64)

    return types.uint64(types.uint64), code


@intrinsic
def load1(_context: Any, address: Any) -> Any:
    """One byte."""

    def code(_c: Any, builder: Any, _s: Any, args: Any) -> Any:
        return builder.load(builder.inttoptr(args[0], _U8.as_pointer()), align=1, typ=_U8)

    return types.uint8(types.uint64), code


@intrinsic
def trailing_zeros(_context: Any, value: Any) -> Any:
    """The number of zero bits below the lowest set bit."""

    def code(_c: Any, builder: Any, _s: Any, args: Any) -> Any:
        return builder.cttz(args[0], ir.IntType(1)(0))

    return types.uint64(types.uint64), code


def _splat(value: int) -> Any:
    return ir.Constant(_BLOCK, [value] * 64)


@intrinsic
def word_bits(_context: Any, address: Any) -> Any:
    """Which of 64 bytes are ASCII letters, digits or `_`: bit i for byte i."""

    def code(_c: Any, builder: Any, _s: Any, args: Any) -> Any:
        block = builder.load(builder.inttoptr(args[0], _BLOCK.as_pointer()), align=1, typ=_BLOCK)
        letter = builder.icmp_unsigned(
            "<", builder.sub(builder.or_(block, _splat(0x20)), _splat(ord("a"))), _splat(26)
        )
        digit = builder.icmp_unsigned("<", builder.sub(block, _splat(ord("0"))), _splat(10))
        line = builder.icmp_unsigned("==", block, _splat(ord("_")))
        return builder.bitcast(builder.or_(builder.or_(letter, digit), line), _U64)

    return types.uint64(types.uint64), code


@intrinsic
def high_bits(_context: Any, address: Any) -> Any:
    """Which of 64 bytes are outside ASCII: bit i for byte i."""

    def code(_c: Any, builder: Any, _s: Any, args: Any) -> Any:
        block = builder.load(builder.inttoptr(args[0], _BLOCK.as_pointer()), align=1, typ=_BLOCK)
        return builder.bitcast(builder.icmp_signed("<", block, _splat(0)), _U64)

    return types.uint64(types.uint64), code
