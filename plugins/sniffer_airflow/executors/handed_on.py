"""What of a program's result a task hands on as its XCom, and when the task goes on with what is left instead."""

from __future__ import annotations

from collections.abc import Collection, Mapping
from datetime import UTC, datetime
from typing import Any

from airflow.sdk.exceptions import AirflowRescheduleException


def handed_on(result: Mapping[str, Any], log: Any, *, leave_out: Collection[str], only: str, again_if: str) -> Any:
    """The result without the fields to leave out; with `only`, that field alone.

    Where the field `again_if` is set, something is left: the task gives its place back and is started again for it,
    which is no retry. Raises AirflowRescheduleException then.
    """
    if again_if and result.get(again_if) is not None:
        log.info("Something is left (%s %s): this task is started again for it", again_if, result[again_if])
        raise AirflowRescheduleException(datetime.now(UTC))  # type: ignore[no-untyped-call]
    if only:
        return result[only]
    return {name: value for name, value in result.items() if name not in leave_out}
