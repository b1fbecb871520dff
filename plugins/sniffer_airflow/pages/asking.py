"""What pages ask our database: at once, or not at all."""

from __future__ import annotations

import os
from collections.abc import Callable
from typing import TypeVar

from sniffer.adapters.mysql.database import Database
from sniffer.core.settings import database_settings
from sniffer_airflow.executors.connections import fetch, program_environ

AnswerT = TypeVar("AnswerT")


def ask_database(question: Callable[[Database], AnswerT]) -> AnswerT:
    """What our tables say, by the Connection mysql_default; SnifferError without waiting when MySQL does not answer."""
    environ = program_environ(os.environ, fetch(aws=False, serving=False))
    # A page is not worth minutes of patience.
    with Database(database_settings({**environ, "SNIFFER_DATABASE_PATIENCE_S": "0"})) as database:
        return question(database)
