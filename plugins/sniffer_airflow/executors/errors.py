"""Airflow's exception for each of ours."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

from airflow.sdk.exceptions import AirflowException, AirflowFailException

from sniffer.core.errors import SnifferError, TransientError


@contextmanager
def errors_by_reaction() -> Iterator[None]:
    """Only transient errors are retried."""
    try:
        yield
    except TransientError as error:
        raise AirflowException(str(error)) from error
    except SnifferError as error:
        raise AirflowFailException(str(error)) from error
