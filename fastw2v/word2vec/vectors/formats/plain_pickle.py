"""Pickles that gensim writes, read as plain records.

A pickle may run any program. Here none runs and no class is imported, gensim's and NumPy's neither:
the names that gensim writes stand for plain records of this file, and every other name is refused.
"""

from __future__ import annotations

import gzip
import mmap
import os
import pickle
from collections.abc import Callable
from typing import Any, ClassVar

import numpy as np

from fastw2v.word2vec.vectors.formats.gzipped import Reader, reading

_PLAIN_TYPES = frozenset({str, int, float, bool, bytes, type(None)})
_FIRST_BYTES = tuple(bytes([0x80, protocol]) for protocol in range(2, 6))


def is_pickle(file: Reader) -> bool:
    """Whether an open file begins as a pickle does. Its place stays as it is."""
    return file.peek(2)[:2] in _FIRST_BYTES


def is_plain_key(value: Any) -> bool:
    """Whether a value can be compared in a short time: tuples within tuples may take any."""
    types = map(type, value) if type(value) is tuple else [type(value)]
    return _PLAIN_TYPES.issuperset(types)


class Record:
    """An object of a class of gensim: its name and its attributes."""

    def __init__(self, kind: str) -> None:
        self.kind = kind
        self.fields: dict[str, Any] = {}


class _Type:
    """A type of NumPy's elements."""

    def __init__(self, code: Any) -> None:
        self._dtype: Any = np.dtype(code) if isinstance(code, str) and len(code) <= 8 else None

    def set_state(self, state: Any) -> None:
        order = state[1]
        if self._dtype is not None and order in ("<", ">"):
            self._dtype = self._dtype.newbyteorder(order)

    @property
    def is_plain(self) -> bool:
        """Whether elements are numbers or text."""
        return self._dtype is not None and self._dtype.kind in "biufU"

    def array_of(self, data: Any, shape: Any, order: str) -> np.ndarray:
        if not self.is_plain:
            raise ValueError("an array is neither of numbers nor of text")
        if isinstance(data, str):  # bytes, as Python 2 reads them
            data = data.encode("latin1")
        array = np.frombuffer(data, self._dtype).reshape(shape, order=order)
        return array.astype(self._dtype.newbyteorder("="))  # can be written to


class Array:
    """An array of NumPy; of objects, as it may be in a field that is not read, it has no values."""

    def __init__(self) -> None:
        self._state: Any = None

    def set_state(self, state: Any) -> None:
        _, shape, dtype, is_fortran, data = state
        self._state = dtype, data, shape, "F" if is_fortran else "C"

    @property
    def is_plain(self) -> bool:
        return self._state[0].is_plain

    def values(self) -> np.ndarray:
        dtype, *content = self._state
        return dtype.array_of(*content)


class _Ignored:
    """What is not looked at: the state of random numbers, functions, types."""

    def set_state(self, state: Any) -> None:
        pass


def _array_of_buffer(data: Any, dtype: Any, shape: Any, order: str) -> Array:
    array = Array()
    array.set_state((1, shape, dtype, order == "F", data))
    return array


def _number(dtype: _Type, data: Any) -> Any:
    return dtype.array_of(data, (), "C")[()].item()


def _bytes(text: str, encoding: str) -> bytes:
    return text.encode("latin1")


def _ignored(*arguments: Any) -> _Ignored:
    return _Ignored()


def _made(kind: str) -> Callable[..., Record]:
    return lambda *arguments: Record(kind)


_NUMPY: dict[str, Callable[..., Any]] = {
    "_reconstruct": lambda *arguments: Array(),
    "scalar": _number,
    "_frombuffer": _array_of_buffer,
}
_KEYED_VECTORS = (
    *("KeyedVectors", "Word2VecKeyedVectors", "WordEmbeddingsKeyedVectors"),
    *("BaseKeyedVectors", "EuclideanKeyedVectors", "Vocab", "CompatVocab"),
)
# What each name in a pickle stands for: a function that makes it from its arguments.
_NAMES: dict[tuple[str, str], Callable[..., Any]] = {
    **{("gensim.models.keyedvectors", name): _made(name) for name in _KEYED_VECTORS},
    **{
        ("gensim.models.word2vec", name): _made(name)
        for name in ("Word2Vec", "Word2VecVocab", "Word2VecTrainables", "Vocab")
    },
    **{
        (f"numpy.{package}.{module}", name): made
        for package in ("core", "_core")
        for module in ("multiarray", "numeric")
        for name, made in _NUMPY.items()
    },
    ("numpy", "ndarray"): _ignored,  # the argument of _reconstruct
    ("numpy", "dtype"): lambda code, *arguments: _Type(code),
    **{
        ("numpy.random._pickle", f"__{name}_ctor"): _ignored
        for name in ("randomstate", "bit_generator", "generator")
    },
    ("numpy.random", "__RandomState_ctor"): _ignored,
    ("numpy.random._mt19937", "MT19937"): _ignored,
    ("numpy.random.bit_generator", "SeedSequence"): _ignored,
    ("gensim.utils", "call_on_class_only"): _ignored,
    **{
        (module, name): _ignored
        for module in ("builtins", "__builtin__")
        for name in ("int", "long", "hash", "object", "set", "frozenset")
    },
    ("collections", "defaultdict"): lambda *arguments: {},
    ("collections", "OrderedDict"): lambda *arguments: {},
    ("UserString", "defaultdict"): lambda *arguments: {},  # as Python 2 to 3 names it
    ("_codecs", "encode"): _bytes,
    ("copyreg", "_reconstructor"): lambda made, *arguments: made.make(()),
    ("copy_reg", "_reconstructor"): lambda made, *arguments: made.make(()),
}


class _Name:
    """A name in a pickle: of a class or a function."""

    def __init__(self, module: str, name: str) -> None:
        if (module, name) not in _NAMES:
            raise ValueError(
                f"it names {module}.{name}, which is not among what gensim writes for word "
                "vectors, and is not loaded"
                + (
                    "; load it with gensim, and take WordVectors.from_gensim"
                    if module.startswith("gensim.")
                    else ""
                )
            )
        self._make = _NAMES[module, name]

    def make(self, arguments: tuple[Any, ...]) -> Any:
        return self._make(*arguments)


# The unpickler that is written in C makes a table as long as the largest number in a file.
class _Unpickler(pickle._Unpickler):
    """Makes records. What is called is a function of `_NAMES`, and nothing else."""

    # Members of Python's class that its type stubs leave out.
    stack: list[Any]
    append: Callable[[Any], None]
    read: Callable[[int], bytes]
    pop_mark: Callable[[], list[Any]]

    dispatch: ClassVar[Any] = dict(pickle._Unpickler.dispatch)

    def find_class(self, module: str, name: str) -> _Name:
        return _Name(module, name)

    def get_extension(self, code: int) -> None:
        raise ValueError("it names a class by a number")

    def _reduce(self) -> None:
        arguments = self.stack.pop()
        self.stack[-1] = self.stack[-1].make(arguments)

    def _newobj_ex(self) -> None:
        self.stack.pop()
        self._reduce()

    def _build(self) -> None:
        state = self.stack.pop()
        target = self.stack[-1]
        if isinstance(target, Record):
            if type(state) is not dict:
                raise ValueError(f"the state of {target.kind} is no dict")
            target.fields.update(state)
        elif isinstance(target, (Array, _Type, _Ignored)):
            target.set_state(state)
        else:
            raise ValueError(f"a {type(target).__name__} has no state")

    def _set_item(self) -> None:
        key, value = self.stack[-2:]
        del self.stack[-2:]
        self._update([key], [value])

    def _set_items(self) -> None:
        items = self.pop_mark()
        self._update(items[::2], items[1::2])

    def _update(self, keys: list[Any], values: list[Any]) -> None:
        if not _PLAIN_TYPES.issuperset(map(type, keys)) and not all(map(is_plain_key, keys)):
            raise ValueError("a key is neither a string, a number nor a tuple of such")
        if type(self.stack[-1]) is not dict:
            raise ValueError("a key is set of what is no dict")
        self.stack[-1].update(zip(keys, values, strict=True))

    def _add_items(self) -> None:
        self.pop_mark()

    def _set(self) -> None:
        self.append(_Ignored())

    def _frozen_set(self) -> None:
        self.pop_mark()
        self._set()

    def _bytearray(self) -> None:
        # Not made in the length that is stated before it is known that so much is there.
        self.append(self.read(int.from_bytes(self.read(8), "little")))

    def _other(self) -> None:
        raise ValueError("it is written in a way that gensim does not use")

    dispatch[pickle.REDUCE[0]] = _reduce
    dispatch[pickle.NEWOBJ[0]] = _reduce
    dispatch[pickle.NEWOBJ_EX[0]] = _newobj_ex
    dispatch[pickle.BUILD[0]] = _build
    dispatch[pickle.SETITEM[0]] = _set_item
    dispatch[pickle.SETITEMS[0]] = _set_items
    dispatch[pickle.EMPTY_SET[0]] = _set
    dispatch[pickle.ADDITEMS[0]] = _add_items
    dispatch[pickle.FROZENSET[0]] = _frozen_set
    dispatch[pickle.BYTEARRAY8[0]] = _bytearray
    dispatch[pickle.INST[0]] = _other
    dispatch[pickle.OBJ[0]] = _other


def unpickled(path: str | os.PathLike[str]) -> Any:
    """Returns what a pickle holds: a `Record` of gensim, an `Array`, or Python's own types.

    Raises:
        OSError: The file cannot be read.
        ValueError: It names what is not among what gensim writes.
        Exception: Whatever Python's unpickler raises for damaged bytes.
    """
    with reading(path) as file:
        if isinstance(file, gzip.GzipFile) or not os.path.isfile(path):
            return _Unpickler(file, encoding="latin1").load()
        # What is mapped has an end, and no length in it takes memory beyond that.
        with mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ) as content:
            return _Unpickler(content, encoding="latin1").load()
