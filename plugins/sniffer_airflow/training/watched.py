"""What an event of the Asset `labelled_images` says, as input: in Airflow's UI anybody who may can create one."""

from __future__ import annotations

import logging
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from sniffer.core.errors import SnifferError
from sniffer.core.json_records import parse_record
from sniffer.core.text import one_line
from sniffer_airflow.forms.values import check_value
from sniffer_airflow.training.fields import source_field

log = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True)
class WatchedLabels:
    """Where `watch_labels` has found enough new labelled images."""

    source: str


def watched_source(events: Sequence[Any]) -> str | None:
    """The source of the newest event that names one, of `events` from the oldest; None when none does.

    The others are named in the log: an event without a source starts a retraining by the Variable.
    """
    for event in reversed(events):
        try:
            watched = parse_record(event.extra, WatchedLabels, "its extra", "left out", ignore_unknown=True)
            check_value(watched.source, source_field(), "its source")
        except SnifferError as error:
            log.warning("an event of the Asset labelled_images names no source: %s", one_line(error))
            continue
        if source := watched.source.strip():
            log.info("new labels of %s have started this run", one_line(source))
            return source
    return None
