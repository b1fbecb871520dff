"""Typed records and their JSON: what reads JSON gets a record, what writes JSON gives one."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, TypeVar

import msgspec

from sniffer.core.errors import ContractError

RecordT = TypeVar("RecordT")


def json_values(record: object) -> Any:
    """The record as values that `json.dumps` takes: objects, lists, strings, numbers, None."""
    return msgspec.to_builtins(record)


def parse_record(
    values: object,
    kind: type[RecordT],
    where: object,
    remedy: str,
    *,
    ignore_unknown: bool = False,
    renamed: Mapping[str, str] | None = None,
) -> RecordT:
    """The record of that type in parsed JSON. Fields that the type does not have are refused, or ignored if so wanted.

    `renamed` has the names that fields of what is stored had in earlier releases, and what they are now.

    Raises ContractError, which names `where` the JSON comes from, the wrong field, and the remedy.
    """
    if renamed and isinstance(values, dict):
        values = {renamed.get(name, name): value for name, value in values.items()}
    try:
        record = msgspec.convert(values, kind)
    except msgspec.ValidationError as error:
        raise ContractError(f"{where} is of another form ({error}): {remedy}") from error
    if not ignore_unknown and (unknown := _unknown_field(values, json_values(record), "$")):
        raise ContractError(f"{where} is of another form (unknown field `{unknown}`): {remedy}")
    return record


def _unknown_field(values: object, known: object, path: str) -> str:
    """The path of the first field that the record did not take over, or an empty text.

    msgspec refuses unknown fields of its own structs only, and ours are dataclasses.
    """
    children: list[tuple[str, object, object]] = []
    if isinstance(values, dict) and isinstance(known, dict):
        if unknown := [name for name in values if name not in known]:
            return f"{path}.{unknown[0]}"
        children = [(f"{path}.{name}", value, known[name]) for name, value in values.items()]
    elif isinstance(values, list) and isinstance(known, list | tuple):
        children = [(f"{path}[{at}]", *both) for at, both in enumerate(zip(values, known, strict=True))]
    return next((found for child in children if (found := _unknown_field(child[1], child[2], child[0]))), "")
