"""Typed records and their JSON: what reads JSON gets a record, what writes JSON gives one."""

from __future__ import annotations

from typing import Any, TypeVar

import msgspec

from sniffer.core.errors import ContractError

RecordT = TypeVar("RecordT")


def json_values(record: object) -> Any:
    """The record as values that `json.dumps` takes: objects, lists, strings, numbers, None."""
    return msgspec.to_builtins(record)


def parse_record(values: object, kind: type[RecordT], where: object, remedy: str) -> RecordT:
    """The record of that type in parsed JSON. Fields that the type does not have are ignored.

    Raises ContractError, which names `where` the JSON comes from, the wrong field, and the remedy.
    """
    try:
        return msgspec.convert(values, kind)
    except msgspec.ValidationError as error:
        raise ContractError(f"{where} is of another form ({error}): {remedy}") from error
