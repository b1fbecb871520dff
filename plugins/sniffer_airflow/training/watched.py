"""What an event of the Asset `labelled_images` says: where `watch_labels` has found enough new labelled images.

With four eyes, only what `watch_labels` itself has emitted is taken: of an event created by hand Airflow does not
record by whom, and whoever chooses the labels, those of the test split among them, decides what passes.
"""

from __future__ import annotations

import logging
from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any

from sniffer.core.errors import SettingsError
from sniffer.core.text import one_line
from sniffer_airflow.asset_events import EventExtra, told
from sniffer_airflow.forms.values import check_value
from sniffer_airflow.names import WATCH_DAG
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


def watched_source(events: Iterable[Any], *, four_eyes: bool) -> str | None:
    """The source of the newest event that names one, of `events` from the oldest; None when none does.

    Events that name none start a retraining by the Variable, and with four eyes so do those created by hand.
    """
    named = told(events, WatchedExtra)
    if four_eyes:
        for one in named:
            if not one.is_by(WATCH_DAG):
                log.warning(
                    "the source %s is left out: its event was created by hand, by whom is not known; trigger "
                    "retrain_model with that source instead",
                    one_line(one.extra.source),
                )
        named = [one for one in named if one.is_by(WATCH_DAG)]
    if not named:
        return None
    source = named[-1].extra.source.strip()
    log.info("new labels of %s have started this run", one_line(source))
    return source


def watched_for(events: Iterable[Any]) -> tuple[str, ...]:
    """The users whose runs of `watch_labels` led to these events."""
    return tuple(name for one in told(events, WatchedExtra) if one.is_by(WATCH_DAG) for name in one.extra.requested_by)
