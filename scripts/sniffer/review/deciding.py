"""From decisions to labels: which one counts where several speak of the same image, or of the same bytes. Pure."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Sequence
from dataclasses import dataclass

from sniffer.core.review_records import LABEL_OF, DecidedImage, EnteredBy, counting_decision


@dataclass(frozen=True, slots=True)
class DecidedLabel:
    """A label, the object it is of, and where it comes from.

    `image` has the decision that counts; `numbers` are all decisions that stand behind it, of these bytes.
    """

    image: DecidedImage
    label: str
    numbers: tuple[int, ...]


@dataclass(frozen=True, slots=True)
class LabelConflict:
    """Bytes that were decided both ways, without a lead who settles it: they have no label until one does."""

    numbers: tuple[int, ...]
    where: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class DecidedLabels:
    """All labels of a time, and what has none: `open` images that reviewers disagree on or are not sure of, and
    `replaced` ones, of which nobody can get the bytes that were decided any more."""

    labels: tuple[DecidedLabel, ...]
    conflicts: tuple[LabelConflict, ...]
    open: int
    replaced: int


def labels_of(decided: Iterable[DecidedImage]) -> DecidedLabels:
    """The labels of these live decisions, one for each object, in the order of bucket and key.

    Of one image counts what counting_decision() says. The same bytes under several keys have one label: the newest of a
    lead's decisions, else what all have said; where they differ, they are left out and listed. Objects that have a
    newer version are left out, and so are the decisions about them: the bytes are gone.
    """
    by_image: dict[int, list[DecidedImage]] = defaultdict(list)
    for each in decided:
        by_image[each.row.image_id].append(each)
    counting: list[DecidedImage] = []
    is_open = 0
    for image_id, images in by_image.items():
        images = by_image[image_id] = _about_newest_bytes(images)
        counts = counting_decision([each.row for each in images])
        if counts is None or counts.decision not in LABEL_OF:
            is_open += 1
            continue
        counting.append(next(each for each in images if each.row.number == counts.number))
    replaced = sum(each.is_replaced for each in counting)
    labels: list[DecidedLabel] = []
    conflicts: list[LabelConflict] = []
    for same in _by_bytes(counting):
        winner = _winner(same)
        numbers = tuple(sorted(row.row.number for each in same for row in by_image[each.row.image_id]))
        if winner is None:
            where = tuple(sorted(f"{each.bucket}/{each.key}" for each in same))
            conflicts.append(LabelConflict(numbers, where))
            continue
        label = LABEL_OF[winner.row.decision]
        labels += [DecidedLabel(each, label, numbers) for each in same if not each.is_replaced]
    labels.sort(key=lambda each: (each.image.bucket, each.image.key))
    conflicts.sort(key=lambda each: each.numbers)
    return DecidedLabels(tuple(labels), tuple(conflicts), is_open, replaced)


def _about_newest_bytes(images: Sequence[DecidedImage]) -> list[DecidedImage]:
    """Of an image whose bytes have changed under its identity: what was decided about those that came last."""
    newest = max(images, key=lambda each: each.row.number).row.content_hash
    return [each for each in images if newest is None or each.row.content_hash in (None, newest)]


def _by_bytes(counting: Sequence[DecidedImage]) -> Iterable[list[DecidedImage]]:
    """Those of the same content hash together; one without is alone."""
    groups: dict[object, list[DecidedImage]] = defaultdict(list)
    for each in counting:
        groups[each.row.content_hash or each.row.image_id].append(each)
    return groups.values()


def _winner(same: Sequence[DecidedImage]) -> DecidedImage | None:
    appeals = [each for each in same if each.row.entered_by is EnteredBy.APPEAL]
    if appeals:
        return max(appeals, key=lambda each: each.row.number)
    if len({each.row.decision for each in same}) > 1:
        return None
    return max(same, key=lambda each: each.row.number)
