"""The exception of a task whose program failed: why, in the program's own words on one line, and whether to retry."""

from __future__ import annotations

import signal
from typing import Any

from airflow.sdk.exceptions import AirflowException, AirflowFailException

from sniffer.core.errors import SettingsError

_FIRST_SIGNAL = 128
_SILENT = "it did not say why"


def failure(module: str, status: int, reason: str | None, log: Any) -> AirflowException:
    """The exception for that exit status (128 + n after signal n). Its text is the reason, where the program gave one.

    Status 2, wrong usage or settings or a person who has to decide, is not retried. The log says what happens next.
    """
    if status == SettingsError.exit_status:
        log.info("%s ended with exit status %d: a retry would not help", module, status)
        return AirflowFailException(reason or f"{module} refused its flags or settings; {_SILENT}")
    log.info("%s ended with exit status %d: a retry takes up what is left", module, status)
    if killed_by := _signal_name(status):
        hint = ", often for want of memory" if killed_by == signal.SIGKILL.name else ""
        last = f"; its last error: {reason}" if reason else ""
        return AirflowException(f"{module} was killed by {killed_by}{hint}{last}")
    return AirflowException(reason or f"{module} ended with exit status {status}; {_SILENT}")


def _signal_name(status: int) -> str | None:
    try:
        return signal.Signals(status - _FIRST_SIGNAL).name
    except ValueError:
        return None
