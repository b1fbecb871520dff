"""From decisions to labels: which one counts where several speak of the same image, or of the same bytes.

Decisions are sorted on disk, by SQLite in the folder for temporary files, so memory does not grow with their number.
"""

from __future__ import annotations

import itertools
import sqlite3
from collections.abc import Iterable, Iterator
from contextlib import closing, contextmanager
from dataclasses import dataclass
from typing import Any

from sniffer.core.errors import SettingsError
from sniffer.core.kept_images import KeptImage
from sniffer.core.label_rules import about_newest_bytes, counting_label, decided_bytes
from sniffer.core.review_records import LABEL_OF, DecidedImage, EnteredBy, ReviewDecision
from sniffer.core.temporary import temporary_folder

MOST_NAMED = 50
"""So many decisions, and places, of the same bytes are named: a campaign has a million."""

_ROW = "number, image_id, content_hash, decision, entered_by, reason, decided_on, model_version, score, probability"
_TABLES = f"""
CREATE TABLE decision ({_ROW}, bucket, key, is_replaced, PRIMARY KEY (image_id, number)) WITHOUT ROWID;
CREATE TABLE kept (content PRIMARY KEY, bucket, key, version_id, size_bytes) WITHOUT ROWID;
CREATE TABLE image (
    content, is_open, numbers, bucket, key, is_replaced, {_ROW}, PRIMARY KEY (content, image_id)
) WITHOUT ROWID;
CREATE TABLE verdict (
    content PRIMARY KEY, label, number, is_settled, is_conflict, first_number, numbers, places
) WITHOUT ROWID;
"""
_BY_IMAGE = f"SELECT bucket, key, is_replaced, {_ROW} FROM decision ORDER BY image_id, number"
_BY_BYTES = f"SELECT content, numbers, bucket, key, {_ROW} FROM image WHERE NOT is_open ORDER BY content, image_id"
# Of bytes that were kept, one row: the object that the decision is about which counts.
_LABELS = f"""
SELECT image.bucket, image.key, verdict.label, image.numbers, verdict.numbers, verdict.number,
    kept.content, kept.bucket, kept.key, kept.version_id, kept.size_bytes,
    image.{_ROW.replace(", ", ", image.")}
FROM image JOIN verdict USING (content) LEFT JOIN kept USING (content)
WHERE NOT verdict.is_conflict AND (verdict.is_settled OR NOT image.is_open)
    AND CASE WHEN kept.content IS NULL THEN NOT image.is_replaced ELSE image.number = verdict.number END
ORDER BY image.bucket, image.key, image.image_id
"""
_REPLACED = """
SELECT COUNT(*) FROM image LEFT JOIN kept USING (content)
WHERE image.is_replaced AND NOT image.is_open AND kept.content IS NULL
"""
_OPEN = """
SELECT COUNT(*) FROM image LEFT JOIN verdict USING (content) WHERE image.is_open AND NOT IFNULL(verdict.is_settled, 0)
"""
_CONFLICTS = "SELECT numbers, places FROM verdict WHERE is_conflict ORDER BY first_number LIMIT ?"
_COUNT_OF_CONFLICTS = "SELECT COUNT(*) FROM verdict WHERE is_conflict"
_BETWEEN = "\n"
"""Between places; a key that has one is shown with a space in its place."""


@dataclass(frozen=True, slots=True)
class LabelRow:
    """Of a decision what the table of labels has; `decided_on` is the day, UTC, as 2026-11-27."""

    number: int
    image_id: int
    content_hash: bytes | None
    decision: ReviewDecision
    entered_by: EnteredBy
    reason: str
    decided_on: str
    model_version: int
    score: float | None
    probability: float

    @classmethod
    def of(cls, row: tuple[Any, ...]) -> LabelRow:
        """From the columns of _ROW."""
        number, image_id, content_hash, decision, entered_by, reason, decided_on, model_version, score, probability = (
            row
        )
        return cls(
            number,
            image_id,
            content_hash,
            ReviewDecision(decision),
            EnteredBy(entered_by),
            reason,
            decided_on,
            model_version,
            score,
            probability,
        )


@dataclass(frozen=True, slots=True)
class DecidedLabel:
    """A label, the object that it is of, and where it comes from.

    `row` is the decision about this object that counts. `numbers` are the decisions that stand behind the label, of the
    same bytes under whatever keys: all of this object's, the one that counts, and the first of the others, MOST_NAMED.
    `kept` is a copy of the bytes: the label is of that.
    """

    row: LabelRow
    bucket: str
    key: str
    label: str
    numbers: tuple[int, ...]
    kept: KeptImage | None = None


@dataclass(frozen=True, slots=True)
class LabelConflict:
    """Bytes that were decided both ways, without a lead who settles it: they have no label until one does.

    The first MOST_NAMED decisions about them, and the objects that have them.
    """

    numbers: tuple[int, ...]
    where: tuple[str, ...]


@contextmanager
def decided_labels(decided: Iterable[DecidedImage], kept: Iterable[KeptImage] = ()) -> Iterator[DecidedLabels]:
    """The labels of these live decisions, in any order, each read once; `kept` are copies of decided bytes.

    Of one image counts what counting_decision() says of its newest bytes. The same bytes under several keys have one
    label: the newest of a lead's decisions about any of them, else what all say; where they differ, they are left out
    and are a conflict. Bytes of which there is a copy have one label, of the copy. Others have one for each object, but
    those with a newer version, whose bytes are gone.

    Holds about 400 bytes of disk for each decision. SettingsError where there is no room.
    """
    with temporary_folder("sniffer-labels-") as folder:
        try:
            with closing(sqlite3.connect(folder / "decisions.sqlite", isolation_level=None)) as file:
                # Nothing of it outlives this process.
                file.executescript(f"PRAGMA journal_mode = OFF; PRAGMA synchronous = OFF; {_TABLES} BEGIN;")
                _fill(file, decided, kept)
                yield DecidedLabels(file)
        except sqlite3.OperationalError as error:
            raise SettingsError(
                f"decisions cannot be sorted in {folder} ({error}): set TMPDIR to a folder with room"
            ) from error


class DecidedLabels:
    """What decided_labels() has found."""

    def __init__(self, file: sqlite3.Connection) -> None:
        self._file = file

    def labels(self) -> Iterator[DecidedLabel]:
        """One by one, in the order of bucket and key."""
        for row in self._file.execute(_LABELS):
            bucket, key, label, own, of_bytes, number, content, *copy = row[:11]
            numbers = {*_numbers(own), *_numbers(of_bytes), number}
            kept = None if content is None else KeptImage(content, copy[0], copy[1], copy[2], copy[3])
            yield DecidedLabel(LabelRow.of(row[11:]), bucket, key, label, tuple(sorted(numbers)), kept)

    def conflicts(self, limit: int) -> list[LabelConflict]:
        """The first of them, by the number of the first decision."""
        rows = self._file.execute(_CONFLICTS, (limit,))
        return [LabelConflict(_numbers(numbers), tuple(places.split(_BETWEEN))) for numbers, places in rows]

    @property
    def conflict_count(self) -> int:
        """How many bytes have no label, since they were decided both ways."""
        return self._count(_COUNT_OF_CONFLICTS)

    @property
    def open_count(self) -> int:
        """How many images have none since their reviewers disagree, or are not sure."""
        return self._count(_OPEN)

    @property
    def replaced_count(self) -> int:
        """How many decided images have none since nobody can get the bytes any more."""
        return self._count(_REPLACED)

    def _count(self, query: str) -> int:
        return int(self._file.execute(query).fetchone()[0])


def _fill(file: sqlite3.Connection, decided: Iterable[DecidedImage], kept: Iterable[KeptImage]) -> None:
    file.executemany(f"INSERT INTO decision VALUES ({_marks(13)})", map(_decision, decided))
    copies = ((each.content_hash, each.bucket, each.key, each.version_id, each.size_bytes) for each in kept)
    file.executemany(f"INSERT INTO kept VALUES ({_marks(5)})", copies)
    file.executemany(f"INSERT INTO image VALUES ({_marks(16)})", _images(file))
    file.executemany(f"INSERT INTO verdict VALUES ({_marks(8)})", _verdicts(file))


def _images(file: sqlite3.Connection) -> Iterator[tuple[object, ...]]:
    """A row for each image: its newest bytes, and the decision that counts, or of an open one the newest."""
    for _, found in itertools.groupby(file.execute(_BY_IMAGE), key=lambda row: row[4]):
        rows = list(found)
        live = about_newest_bytes([LabelRow.of(row[3:]) for row in rows])
        counting = counting_label(live)
        shown = counting or live[-1]
        content = live[-1].content_hash or f"image {shown.image_id}"
        numbers = " ".join(str(each.number) for each in live)
        row = next(row for row in rows if row[3] == shown.number)
        yield (content, counting is None, numbers, *row)


def _verdicts(file: sqlite3.Connection) -> Iterator[tuple[object, ...]]:
    """A row for the bytes of each image that is not open."""
    for content, found in itertools.groupby(file.execute(_BY_BYTES), key=lambda row: row[0]):
        named = _Named()
        verdict = decided_bytes(LabelRow.of(row[4:]) for row in named.noting(found))
        label, number = None, None
        if verdict.counting is not None:
            label, number = LABEL_OF[verdict.counting.decision], verdict.counting.number
        numbers = sorted(named.numbers)
        says = (label, number, verdict.is_settled, verdict.is_conflict)
        yield (content, *says, numbers[0], " ".join(map(str, numbers)), _BETWEEN.join(sorted(named.places)))


class _Named:
    """The first decisions about some bytes, and the first places where they are."""

    def __init__(self) -> None:
        self.numbers: list[int] = []
        self.places: list[str] = []

    def noting(self, rows: Iterable[tuple[Any, ...]]) -> Iterator[tuple[Any, ...]]:
        """The rows, each noted on its way."""
        for row in rows:
            if len(self.places) < MOST_NAMED:
                self.places.append(f"{row[2]}/{row[3]}".replace(_BETWEEN, " "))
                self.numbers += _numbers(row[1])
            yield row


def _decision(each: DecidedImage) -> tuple[object, ...]:
    row = each.row
    return (
        row.number,
        row.image_id,
        row.content_hash,
        str(row.decision),
        str(row.entered_by),
        row.reason or "",
        row.decided_at.date().isoformat(),
        row.model_version,
        row.score,
        row.probability,
        each.bucket,
        each.key,
        each.is_replaced,
    )


def _numbers(text: str) -> tuple[int, ...]:
    return tuple(map(int, text.split()))


def _marks(count: int) -> str:
    return ", ".join("?" * count)
