"""Compiled kernels: one way to compile and cache them, and the few machine instructions that Python has no word for.

A kernel is a function over arrays, compiled by numba. numba looks for a change in the file of a cached kernel
alone; a kernel's name here carries a hash of everything it was compiled from (its own code, the kernels it
calls in whatever file, the constants it reads), so that stale machine code is never found.

The instructions are written for vectors of 64 bytes. LLVM cuts them down to what a processor has: the answers
are the same everywhere, the speed is best with AVX-512.
"""

from __future__ import annotations

import functools
import hashlib
from collections.abc import Callable
from types import CodeType, FunctionType
from typing import Any, Final

import numba
import numpy as np
from llvmlite import ir
from numba import types
from numba.core import cgutils
from numba.extending import intrinsic


def kernel(function: Callable[..., Any], **options: Any) -> Callable[..., Any]:
    """Compile a function over arrays, without the GIL, and cache the machine code where that is possible.

    numba keeps compiled code in NUMBA_CACHE_DIR if that is set, else in `__pycache__` beside the
    source, else (a read-only installation) in the user's cache folder. Where none of these can be
    written the kernel is compiled anew in each process, a few seconds, rather than refused.
    `options` are numba's.
    """
    options = {"nogil": True, "error_model": "numpy", **options}
    function.__qualname__ += f"_{_hash_of(function)}"  # numba names its cache file by it
    compiled: Callable[..., Any]
    try:
        compiled = numba.njit(cache=True, **options)(function)
    except RuntimeError:  # "no locator available": numba found no folder that it may write
        compiled = numba.njit(**options)(function)
    return compiled


def lean(function: Callable[..., Any]) -> Callable[..., Any]:
    """Compile a kernel that makes no array: counting references to those it gets would cost more than small ones do."""
    return kernel(function, _nrt=False)


def inlined(function: Callable[..., Any]) -> Callable[..., Any]:
    """Compile a lean function into each kernel that calls it, where a call would cost more than what it does."""
    return kernel(function, _nrt=False, forceinline=True)


@functools.cache
def _hash_of(function: Callable[..., Any]) -> str:
    """Hash what a function's machine code is made from: its bytecode and whatever global it names, to any depth."""
    digest = hashlib.sha256()
    for code in _codes(function.__code__):
        constants = [value for value in code.co_consts if not isinstance(value, CodeType)]
        digest.update(repr((code.co_code, constants, code.co_names, code.co_varnames)).encode())
        for name in code.co_names:
            digest.update(_mark(function.__globals__.get(name), function).encode())
    return digest.hexdigest()[:16]


def _codes(code: CodeType) -> list[CodeType]:
    """A function's code and that of the functions inside it."""
    inner = [value for value in code.co_consts if isinstance(value, CodeType)]
    return [code, *(below for value in inner for below in _codes(value))]


def _mark(value: Any, reader: Callable[..., Any]) -> str:
    """What of a global value decides a kernel's machine code, in words that are the same in every process."""
    value = getattr(value, "py_func", getattr(value, "__wrapped__", value))  # a kernel's function, an instruction's
    if isinstance(value, FunctionType):
        return "itself" if value is reader else _hash_of(value)
    if isinstance(value, np.ndarray):
        return f"{value.dtype} {value.shape} {hashlib.sha256(value.tobytes()).hexdigest()}"
    if isinstance(value, bool | int | float | str | bytes | tuple | np.generic | None):
        return repr(value)
    return f"{getattr(value, '__module__', '')}.{getattr(value, '__qualname__', type(value).__qualname__)}"


# --- Instructions --------------------------------------------------------------------------------
# None checks a bound: the caller sees to it that what is read or written lies within the array.

_BLOCK: Final = 64  # bytes that `word_bits` looks at
_BYTE, _U32, _U64 = ir.IntType(8), ir.IntType(32), ir.IntType(64)
_LANES: Final = 16  # shingles that `lower` takes at once: a whole AVX-512 register
_PERMUTATIONS: Final = 4  # whose constants and minima fit the registers together, AVX2's too


def _instruction(define: Callable[..., Any]) -> Callable[..., Any]:
    """Make numba write the LLVM code of a function's second answer wherever a kernel calls it."""
    instruction: Callable[..., Any] = intrinsic(define)
    return instruction


def _place(context: Any, builder: Any, kind: Any, array: Any, index: Any, pointed: Any) -> Any:
    """The address of an array's element, as a pointer to another type."""
    address = builder.gep(context.make_array(kind)(context, builder, array).data, [index])
    return builder.bitcast(address, pointed.as_pointer())


def _repeat(vector: ir.VectorType, value: int) -> ir.Constant:
    return ir.Constant(vector, [ir.Constant(vector.element, value)] * vector.count)


@_instruction
def word_bits(_: Any, data: Any, at: Any) -> Any:
    """Look at data[at:at + 64]: two uint64, a bit for each ASCII letter or digit, and one for each byte beyond ASCII."""

    def generate(context: Any, builder: Any, signature: Any, args: Any) -> Any:
        vector = ir.VectorType(_BYTE, _BLOCK)
        block = builder.load(_place(context, builder, signature.args[0], args[0], args[1], vector))
        block.align = 1
        letters = builder.sub(builder.or_(block, _repeat(vector, 0x20)), _repeat(vector, ord("a")))
        digits = builder.sub(block, _repeat(vector, ord("0")))
        word = builder.or_(
            builder.icmp_unsigned("<", letters, _repeat(vector, 26)),
            builder.icmp_unsigned("<", digits, _repeat(vector, 10)),
        )
        beyond = builder.icmp_signed("<", block, _repeat(vector, 0))
        return context.make_tuple(builder, signature.return_type, [builder.bitcast(b, _U64) for b in (word, beyond)])

    return types.Tuple((types.uint64, types.uint64))(data, at), generate  # type: ignore[no-untyped-call]


@_instruction
def load_8(_: Any, data: Any, at: Any) -> Any:
    """data[at:at + 8] as a little-endian uint64."""

    def generate(context: Any, builder: Any, signature: Any, args: Any) -> Any:
        value = builder.load(_place(context, builder, signature.args[0], args[0], args[1], _U64))
        value.align = 1
        return value

    return types.uint64(data, at), generate


@_instruction
def store_8(_: Any, data: Any, at: Any, value: Any) -> Any:
    """data[at:at + 8] = value, a uint64, little end first."""

    def generate(context: Any, builder: Any, signature: Any, args: Any) -> Any:
        builder.store(args[2], _place(context, builder, signature.args[0], args[0], args[1], _U64)).align = 1
        return context.get_dummy_value()

    return types.void(data, at, types.uint64), generate


@_instruction
def trailing_zeros(_: Any, value: Any) -> Any:
    """How many bits below the lowest set one; 64 of 0."""

    def generate(_context: Any, builder: Any, _signature: Any, args: Any) -> Any:
        return builder.cttz(args[0], ir.Constant(ir.IntType(1), 0))

    return types.uint64(types.uint64), generate


@_instruction
def leading_zeros(_: Any, value: Any) -> Any:
    """How many bits above the highest set one; 64 of 0."""

    def generate(_context: Any, builder: Any, _signature: Any, args: Any) -> Any:
        return builder.ctlz(args[0], ir.Constant(ir.IntType(1), 0))

    return types.uint64(types.uint64), generate


@_instruction
def turn_8(_: Any, words: Any, at: Any, ngram: Any, turn: Any, out: Any, to: Any) -> Any:
    """out[to + i] = the exclusive or of words[at + i:at + i + ngram], each turned left `turn` bits for every one behind it.

    For eight i from 0, in one register; uint64 arrays.
    """

    def generate(context: Any, builder: Any, signature: Any, args: Any) -> Any:
        vector = ir.VectorType(_U64, 8)
        left = builder.insert_element(ir.Constant(vector, ir.Undefined), args[3], ir.Constant(_U32, 0))
        left = builder.shuffle_vector(left, left, ir.Constant(ir.VectorType(_U32, 8), [0] * 8))
        right = builder.sub(_repeat(vector, 64), left)
        value = cgutils.alloca_once_value(builder, _repeat(vector, 0))  # type: ignore[no-untyped-call]
        with cgutils.for_range(builder, args[2]) as loop:
            place = _place(context, builder, signature.args[0], args[0], builder.add(args[1], loop.index), vector)
            before, word = builder.load(value), builder.load(place)
            word.align = 8
            turned = builder.or_(builder.shl(before, left), builder.lshr(before, right))
            builder.store(builder.xor(turned, word), value)
        place = _place(context, builder, signature.args[4], args[4], args[5], vector)
        builder.store(builder.load(value), place).align = 8
        return context.get_dummy_value()

    return types.void(words, at, ngram, types.uint64, out, to), generate


@_instruction
def lower_4(_: Any, block: Any, size: Any, a: Any, b: Any, least: Any, at: Any) -> Any:
    """least[i] = min(least[i], (h * a[i] + b[i]) mod 2**32 for h in block[:size]) for four i from `at`.

    uint32 arrays; size is a multiple of 16. Each shingle is loaded once for four permutations, all in registers.
    """

    def generate(context: Any, builder: Any, signature: Any, args: Any) -> Any:
        vector = ir.VectorType(_U32, _LANES)

        def address(array: int, index: Any, pointed: Any) -> Any:
            return _place(context, builder, signature.args[array], args[array], index, pointed)

        def everywhere(array: int, index: Any) -> Any:
            first = builder.insert_element(
                ir.Constant(vector, ir.Undefined), builder.load(address(array, index, _U32)), ir.Constant(_U32, 0)
            )
            return builder.shuffle_vector(first, first, _repeat(vector, 0))

        def least_of(x: Any, y: Any) -> Any:
            return builder.select(builder.icmp_unsigned("<", x, y), x, y)

        places = [builder.add(args[5], ir.Constant(args[5].type, i)) for i in range(_PERMUTATIONS)]
        factors, terms = ([everywhere(array, place) for place in places] for array in (2, 3))
        lows = [cgutils.alloca_once_value(builder, everywhere(4, i)) for i in places]  # type: ignore[no-untyped-call]
        zero, step = (ir.Constant(args[1].type, n) for n in (0, _LANES))
        with cgutils.for_range_slice(builder, zero, args[1], step) as (j, _count):
            shingles = builder.load(address(0, j, vector))
            shingles.align = 4
            for factor, term, low in zip(factors, terms, lows, strict=True):
                value = builder.add(builder.mul(shingles, factor), term)
                builder.store(least_of(builder.load(low), value), low)
        for place, low in zip(places, lows, strict=True):
            value = builder.load(low)
            while (half := value.type.count // 2) > 0:
                sides = [ir.Constant(ir.VectorType(_U32, half), list(range(n, n + half))) for n in (0, half)]
                value = least_of(*(builder.shuffle_vector(value, value, side) for side in sides))
            builder.store(builder.extract_element(value, ir.Constant(_U32, 0)), address(4, place, _U32))
        return context.get_dummy_value()

    return types.void(block, size, a, b, least, at), generate
