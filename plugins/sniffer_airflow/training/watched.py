"""What an event of the Asset `labelled_images` says: where `watch_labels` has found enough new labelled images."""

from __future__ import annotations

import logging
from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any

from sniffer.core.errors import SettingsError
from sniffer.core.text import one_line
from sniffer_airflow.asset_events import EventExtra, told
from sniffer_airflow.forms.values import check_value
from sniffer_airflow.training.fields import source_field

log = logging.getLogger(__name__)


@dataclass(frozen=True)
class WatchedExtra(EventExtra):
    """As an event of `labelled_images` has it."""

    source: str

    def problem(self) -> str:
        """A source is named, of the form's kind."""
        try:
            check_value(self.source, source_field(), "its source")
        except SettingsError as error:
            return str(error)
        return "" if self.source.strip() else "its source is empty"


def watched_source(events: Iterable[Any]) -> str | None:
    """The source of the newest event that names one, of `events` from the oldest; None when none does.

    Events that name none start a retraining by the Variable.
    """
    named = told(events, WatchedExtra)
    if not named:
        return None
    source = named[-1].extra.source.strip()
    log.info("new labels of %s have started this run", one_line(source))
    return source
