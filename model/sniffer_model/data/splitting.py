"""Which labelled images go into the manifest, and on which side of the split each of them stands.

The rules, in their order:

1. The same bytes under two classes are left out: nobody knows which label is right.
2. So are two near-duplicates of two classes, for the same reason. Others of their group stay.
3. An image whose split was settled by the previous manifest keeps it for good, whatever comes.
4. A new image that is a near-duplicate of images in two splits is left out: either side would let the model be judged
   on what it was trained on.
5. What is left falls into groups of near-duplicates. A group follows the split settled for one of its members. If new
   images in a chain link two splits, those new ones are left out.
6. Groups that are new as a whole are dealt out class by class, in an order that a hash shuffles, each to the split that
   its class lacks most, so that every class has its share of groups in every split.

So near-duplicates in a manifest are always of one split. Without a previous manifest the last rule alone decides, and
added images may move others: retrain with the previous manifest.
"""

from __future__ import annotations

import hashlib
import logging
from collections import Counter, defaultdict
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from sniffer.core.model_records import LABELS
from sniffer_model.data.manifest import Exclusion, LabelledImage, ManifestEntry, Split, SplitFractions, SplitImage
from sniffer_model.data.near_duplicates import Hashes, Indices, as_matrix, groups, near_pairs

log = logging.getLogger(__name__)

_BIT = {Split.TRAIN: 1, Split.VALIDATION: 2, Split.TEST: 4}
_SPLIT = {bit: split for split, bit in _BIT.items()}
_LARGE_GROUP, _LARGE_GROUP_SHARE = 20, 0.05
_NEW = 0
_ABSENT = -1


@dataclass(frozen=True, slots=True)
class InspectedImage:
    """A labelled image that could be read and decoded, before it has a split."""

    labelled: LabelledImage
    etag: str
    content_sha256: str
    perceptual_hash: str

    def entry(self, split: Split) -> ManifestEntry:
        """The image as the manifest names it."""
        image = self.labelled
        return ManifestEntry(
            key=image.key,
            content_sha256=self.content_sha256,
            label=image.label,
            slice=image.slice,
            split=split,
            etag=self.etag,
            perceptual_hash=self.perceptual_hash,
            source=image.source,
            date=image.date,
            chance=image.chance,
        )


@dataclass(frozen=True, slots=True)
class _Pictures:
    """What is known of each content, ordered by its hash; row i of all is one content.

    `labels` is an index of LABELS, or _ABSENT of a content that is only remembered; `splits` is a bit, or _NEW.
    """

    contents: list[str]
    keys: list[str]
    hashes: Hashes
    labels: NDArray[np.int8]
    splits: NDArray[np.uint8]


@dataclass(frozen=True, slots=True)
class _Neighbourhood:
    """What near-duplicates say of each picture: one of another class (or _ABSENT), their settled splits, any at all."""

    rival: Indices
    splits: NDArray[np.uint8]
    has_any: NDArray[np.bool_]


def split_images(
    images: Sequence[InspectedImage], settled: Mapping[str, SplitImage], fractions: SplitFractions
) -> tuple[list[ManifestEntry], list[Exclusion]]:
    """Entries and what is left out, by the rules above, each in the order of the images.

    `settled` is by content hash. The same arguments give the same result, whatever the order of the images.
    """
    usable, exclusions = _without_conflicting_copies(images)
    pictures = _pictures(usable, settled)
    near = _neighbourhood(pictures)
    reasons = _conflicts(pictures, near) | _bridges(pictures, near)
    splits, links = _group_splits(pictures, near, reasons, fractions)
    reasons |= links
    entries = []
    for image in usable:
        if (reason := reasons.get(image.content_sha256)) is not None:
            exclusions.append(Exclusion(image.labelled.key, *reason))
        else:
            entries.append(image.entry(splits[image.content_sha256]))
    return entries, exclusions


def _without_conflicting_copies(images: Iterable[InspectedImage]) -> tuple[list[InspectedImage], list[Exclusion]]:
    by_content: dict[str, list[InspectedImage]] = defaultdict(list)
    for image in images:
        by_content[image.content_sha256].append(image)
    usable, conflicts = [], []
    for copies in by_content.values():
        if len({image.labelled.label for image in copies}) == 1:
            usable += copies
        else:
            all_keys = ", ".join(f"{image.labelled.key} ({image.labelled.label})" for image in copies)
            message = f"the same bytes have labels of two classes: {all_keys}"
            conflicts += [Exclusion(image.labelled.key, "conflicting_label", message) for image in copies]
    return usable, conflicts


def _pictures(images: Iterable[InspectedImage], settled: Mapping[str, SplitImage]) -> _Pictures:
    present = {image.content_sha256: image for image in sorted(images, key=lambda image: image.labelled.key)}
    known: dict[str, SplitImage | InspectedImage] = {**settled, **present}
    hashes = {content: image.perceptual_hash for content, image in known.items()}
    contents = sorted(hashes)
    found = [present.get(content) for content in contents]
    return _Pictures(
        contents=contents,
        keys=["" if image is None else image.labelled.key for image in found],
        hashes=as_matrix([hashes[content] for content in contents]),
        labels=np.array([_ABSENT if i is None else LABELS.index(i.labelled.label) for i in found], np.int8),
        splits=np.array([_BIT[settled[c].split] if c in settled else _NEW for c in contents], np.uint8),
    )


def _neighbourhood(pictures: _Pictures) -> _Neighbourhood:
    count = len(pictures.contents)
    near = _Neighbourhood(np.full(count, _ABSENT), np.zeros(count, np.uint8), np.zeros(count, bool))
    for pair in near_pairs(pictures.hashes):
        for one, other in (pair, pair[::-1]):
            labels = pictures.labels[one], pictures.labels[other]
            differ = (labels[0] != labels[1]) & (labels[0] != _ABSENT) & (labels[1] != _ABSENT)
            near.rival[one[differ]] = other[differ]
            np.bitwise_or.at(near.splits, one, pictures.splits[other])
            near.has_any[one] = True
    return near


Reasons = dict[str, tuple[str, str]]
"""Code and message by content hash, of what is left out."""


def _conflicts(pictures: _Pictures, near: _Neighbourhood) -> Reasons:
    reasons = {}
    for index in np.flatnonzero(near.rival != _ABSENT):
        rival = near.rival[index]
        message = f"a near-duplicate of {pictures.keys[rival]}, which is labelled {LABELS[pictures.labels[rival]]}"
        reasons[pictures.contents[index]] = ("conflicting_near_duplicate", message)
    return reasons


def _bridges(pictures: _Pictures, near: _Neighbourhood) -> Reasons:
    joining = (pictures.splits == _NEW) & (np.bitwise_count(near.splits) > 1)
    message = "a near-duplicate of images that earlier snapshots put into different splits: {}"
    return {
        pictures.contents[index]: ("joins_splits", message.format(_named(near.splits[index])))
        for index in np.flatnonzero(joining)
    }


def _group_splits(
    pictures: _Pictures, near: _Neighbourhood, left_out: Reasons, fractions: SplitFractions
) -> tuple[dict[str, Split], Reasons]:
    """The split of each picture that is not left out, and the new pictures that link settled ones of two splits."""
    group = _groups(pictures, near, left_out)
    settled = np.zeros(len(group), np.uint8)
    np.bitwise_or.at(settled, group, pictures.splits)
    dealt = _dealt(pictures, group, settled, left_out, fractions)
    splits, links = {}, {}
    for index, content in enumerate(pictures.contents):
        if content in left_out:
            continue
        bits = int(pictures.splits[index] or settled[group[index]])
        if bits in _SPLIT:
            splits[content] = _SPLIT[bits]
        elif bits == _NEW:
            splits[content] = dealt[group[index]]
        else:
            message = f"near-duplicates in a chain of images that are in different splits: {_named(bits)}"
            links[content] = ("joins_splits", message)
    return splits, links


def _dealt(
    pictures: _Pictures, group: Indices, settled: NDArray[np.uint8], left_out: Reasons, fractions: SplitFractions
) -> dict[int, Split]:
    """The split of each group without a settled one, by the group's number."""
    sizes: dict[int, Counter[Split]] = {label: Counter() for label in range(len(LABELS))}
    new: dict[int, tuple[bytes, int]] = {}
    counted = set()
    for index, content in enumerate(pictures.contents):
        label, own = int(pictures.labels[index]), int(group[index])
        if label == _ABSENT or content in left_out:
            continue
        bits = int(pictures.splits[index] or settled[own])
        if bits == _NEW:
            # The group's smallest content hash; salted, so that other choices made by it are independent of this one.
            new.setdefault(own, (hashlib.sha256(f"split:{content}".encode()).digest(), label))
        elif bits in _SPLIT and (own, bits) not in counted:
            counted.add((own, bits))
            sizes[label][_SPLIT[bits]] += 1
    dealt = {}
    for own, (_, label) in sorted(new.items(), key=lambda item: item[1]):
        dealt[own] = fractions.next_split(sizes[label])
        sizes[label][dealt[own]] += 1
    return dealt


def _groups(pictures: _Pictures, near: _Neighbourhood, left_out: Reasons) -> Indices:
    """The group of each picture, as the index of one of its members. What is left out joins nothing by itself."""
    group: Indices = np.arange(len(pictures.contents))
    # A picture that was settled once stays what its near-duplicates follow, even if it is left out now.
    joins = (pictures.splits != _NEW) | np.array([content not in left_out for content in pictures.contents], bool)
    members = np.flatnonzero(near.has_any & joins)
    group[members] = members[groups(pictures.hashes[members])]
    _report_groups(np.bincount(group, minlength=1))
    return group


def _report_groups(sizes: Indices) -> None:
    images, largest = int(sizes.sum()), int(sizes.max())
    log.info("%d different images in %d groups of near-duplicates", images, np.count_nonzero(sizes))
    if largest > max(_LARGE_GROUP, _LARGE_GROUP_SHARE * images):
        log.warning("%d images are one group of near-duplicates: the splits' sizes may be far from asked for", largest)


def _named(bits: int) -> str:
    return ", ".join(split for split, bit in _BIT.items() if bits & bit)
