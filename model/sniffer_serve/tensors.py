"""JSON values to numpy arrays and back, by TensorFlow Serving's rules for every element type (json_tensor.cc).

Element types go by TensorFlow's short names ("float", "int64", "string" ...); strings are arrays of `bytes` objects.
"""

from __future__ import annotations

import binascii
import json
import math
from collections.abc import Sequence
from itertools import chain
from typing import Any

import numpy as np
from numpy.typing import NDArray

from sniffer_serve.errors import Code, StatusError, invalid_argument

Array = NDArray[Any]

_INTEGER_RANGES = {
    # The narrow types are checked as 32 bits and then cut, as TensorFlow Serving does.
    "int8": (-(2**31), 2**31 - 1),
    "uint8": (-(2**31), 2**31 - 1),
    "int16": (-(2**31), 2**31 - 1),
    "int32": (-(2**31), 2**31 - 1),
    "int64": (-(2**63), 2**63 - 1),
    "uint32": (0, 2**32 - 1),
    "uint64": (0, 2**64 - 1),
}
_FLOATS = {"float": np.float32, "double": np.float64}
_JSON_TYPES = {
    type(None): "Null",
    bool: "",
    dict: "Object",
    list: "Array",
    str: "String",
    int: "Number",
    float: "Number",
}
_MAX_RANK = 64  # numpy's limit; TensorFlow's own is higher
_SHOWN_CHARACTERS = 200
_SPACE = dict.fromkeys(map(ord, " \t\n\v\f\r"))


def dense_array(value: object, dtype: str) -> Array:
    """A JSON value, nested lists of one shape, as an array of that shape; a bare value gives a scalar.

    Raises StatusError: INVALID_ARGUMENT for ragged lists and elements that are not of the type, UNIMPLEMENTED for
    types that do not pass REST.
    """
    shape = _dense_shape(value)
    if len(shape) > _MAX_RANK:
        raise invalid_argument(f"Shape must have rank at most {_MAX_RANK}, got {len(shape)}")
    leaves: list[Any] = [value]
    for level, size in enumerate(shape):
        for item in leaves:
            _check_list(item, level, size, len(shape))
        leaves = list(chain.from_iterable(leaves))
    if list in set(map(type, leaves)):
        raise invalid_argument(f"Encountered list at unexpected level: {len(shape)} expected < {len(shape)}")
    return _convert(leaves, dtype).reshape(shape)


def _dense_shape(value: object) -> tuple[int, ...]:
    shape = []
    while type(value) is list:
        shape.append(len(value))
        if not value:
            break
        value = value[0]
    return tuple(shape)


def _check_list(item: object, level: int, size: int, rank: int) -> None:
    if type(item) is not list:
        raise invalid_argument(
            f"JSON Value: {shown(item)} found at incorrect level: {level + 1} in the JSON DOM. "
            f"Expected at level: {rank}"
        )
    if len(item) != size:
        raise invalid_argument(
            f"Encountered list at unexpected size: {len(item)} at level: {level} expected size: {size}"
        )


def _convert(leaves: list[Any], dtype: str) -> Array:
    if dtype == "string":
        return bytes_array([_string_element(leaf) for leaf in leaves])
    if dtype in _FLOATS:
        _check_types(leaves, {int, float}, dtype)
        return _float_array(leaves, dtype)
    if dtype == "bool":
        _check_types(leaves, {bool}, dtype)
        return np.array(leaves, np.bool_)
    if dtype in _INTEGER_RANGES:
        _check_types(leaves, {int}, dtype)
        return _integer_array(leaves, dtype)
    first = shown(leaves[0]) if leaves else "[]"
    raise StatusError(Code.UNIMPLEMENTED, f"Conversion of JSON Value: {first} to type: {dtype}")


def _check_types(leaves: list[Any], allowed: set[type], dtype: str) -> None:
    if not set(map(type, leaves)) <= allowed:
        raise _type_error(next(leaf for leaf in leaves if type(leaf) not in allowed), dtype)


def _type_error(leaf: object, dtype: str) -> StatusError:
    kind = str(leaf) if isinstance(leaf, bool) else _JSON_TYPES[type(leaf)]
    return invalid_argument(f"JSON Value: {shown(leaf)} Type: {kind} is not of expected type: {dtype}")


def _float_array(leaves: list[Any], dtype: str) -> Array:
    try:
        with np.errstate(over="ignore"):  # beyond float32 is infinity, by the rules
            return np.array(leaves, np.float64).astype(_FLOATS[dtype], copy=False)
    except OverflowError as error:
        raise invalid_argument("JSON Parse error: Number too big to be stored in double.") from error


def _integer_array(leaves: list[Any], dtype: str) -> Array:
    low, high = _INTEGER_RANGES[dtype]
    if leaves and not (low <= min(leaves) and max(leaves) <= high):
        raise _type_error(next(leaf for leaf in leaves if not low <= leaf <= high), dtype)
    wide = np.uint64 if dtype == "uint64" else np.int64
    return np.array(leaves, wide).astype(dtype)


def _string_element(leaf: object) -> bytes:
    if type(leaf) is str:
        return encode_text(leaf)
    if type(leaf) is not dict:
        raise _type_error(leaf, "string")
    text = leaf.get("b64")
    if len(leaf) != 1 or type(text) is not str:
        raise invalid_argument(f"JSON Value: {shown(leaf)} not formatted correctly for base64 data")
    return decode_base64(text)


def decode_base64(text: str) -> bytes:
    """Standard base64, with or without padding, white space ignored (absl's rules); anything else is 400."""
    packed = text.translate(_SPACE)
    # Padding is all or nothing: "QQ" and "QQ==" are both fine, "QQ=" is not.
    padded = packed if "=" in packed else packed + "=" * (-len(packed) % 4)
    try:
        return binascii.a2b_base64(padded, strict_mode=True)
    except ValueError as error:
        raise invalid_argument("Unable to base64 decode") from error


def bytes_array(elements: Sequence[bytes]) -> Array:
    """A string tensor's array; numpy's own choice would cut trailing NUL bytes."""
    return np.array(elements, dtype=object)


def encode_text(text: str) -> bytes:
    """A string as the bytes it had in the request; raises StatusError for half a surrogate pair."""
    try:
        return text.encode("utf-8", "surrogateescape")
    except UnicodeEncodeError as error:
        raise invalid_argument("JSON Parse error: The surrogate pair in string is invalid.") from error


def shown(value: object) -> str:
    """A JSON value for an error text, cut to a length that a log line bears."""
    text = json.dumps(value, ensure_ascii=False)
    return text if len(text) <= _SHOWN_CHARACTERS else text[:_SHOWN_CHARACTERS] + "..."


def json_elements(name: str, array: Array, dtype: str) -> list[str]:
    """Every element of an output as a JSON token, in C order; raises StatusError for types that do not pass REST.

    A name that ends in `_bytes` turns its strings into base64 objects.
    """
    values = np.asarray(array).ravel().tolist()
    if dtype == "string":
        write = _b64_object if name.endswith("_bytes") else _json_string
        return [write(value) for value in values]
    if dtype in _FLOATS:
        return _decimals(values, dtype)
    if dtype == "bool":
        return ["true" if value else "false" for value in values]
    if dtype in _INTEGER_RANGES:
        return [str(value) for value in values]
    raise invalid_argument(f"Failed to write JSON value for tensor type: {dtype}")


def nest(tokens: Sequence[str], shape: Sequence[int]) -> str:
    """Tokens in C order as the nested JSON lists of that shape; a scalar stays bare."""
    for axis in reversed(range(len(shape))):
        groups, size = math.prod(shape[:axis]), shape[axis]
        tokens = ["[" + ", ".join(tokens[g * size : (g + 1) * size]) + "]" for g in range(groups)]
    return tokens[0]


def _decimals(values: list[float], dtype: str) -> list[str]:
    """Six digits where they give the same number back, else as many as always do; whole numbers end in `.0`."""
    short = [f"{value:.6g}" for value in values]
    as_read = np.array([float(text) for text in short], _FLOATS[dtype]).tolist()
    digits = 9 if dtype == "float" else 17
    return [
        _decimal(text if value == again else f"{value:.{digits}g}")
        for text, value, again in zip(short, values, as_read, strict=True)
    ]


_BARE_TOKENS = {"nan": "NaN", "inf": "Infinity", "-inf": "-Infinity"}


def _decimal(text: str) -> str:
    if text in _BARE_TOKENS:
        return _BARE_TOKENS[text]
    return text if "." in text or "e" in text else text + ".0"


def _json_string(value: bytes | str) -> str:
    text = value.decode("utf-8", "surrogateescape") if isinstance(value, bytes) else value
    return json.dumps(text, ensure_ascii=False)


def _b64_object(value: bytes | str) -> str:
    data = value if isinstance(value, bytes) else value.encode()
    return '{"b64": "' + binascii.b2a_base64(data, newline=False).decode("ascii") + '"}'
