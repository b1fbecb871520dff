"""What waits, for another program to decide: CSV, tasks of Label Studio, items of ROOST's Coop. Pure.

None of it has the score or how an image came up, unless the caller wants them: a reviewer could tell a random sample
from what is flagged.
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Sequence
from enum import StrEnum

from sniffer.core.review_records import QueueItem, Reason, ReviewDecision
from sniffer.review.spreadsheets import csv_text

EXPORT_COLUMNS = (
    "image_id",
    "bucket",
    "key",
    "etag",
    "last_modified",
    "content_sha256",
    "decision",
    "reason",
    "note",
    "reviewer",
)
"""Of the CSV: the last four are empty, for whoever decides; `sniffer review import` reads it back."""
MOST_COOP_ITEMS = 100
"""In one request; Coop's documentation names no limit."""
LABELING_CONFIG = (
    '<View>\n  <Image name="image" value="$image"/>\n'
    '  <Choices name="decision" toName="image" choice="single" required="true">\n'
    + "".join(f'    <Choice value="{each}"/>\n' for each in list(ReviewDecision)[:3])
    + '  </Choices>\n  <Choices name="reason" toName="image" choice="single" visibleWhen="choice-selected"\n'
    '           whenTagName="decision" whenChoiceValue="drug">\n'
    + "".join(f'    <Choice value="{each}"/>\n' for each in Reason)
    + '  </Choices>\n  <TextArea name="note" toName="image"/>\n</View>\n'
)
"""The labelling interface of a Label Studio project for these tasks."""


class ExportFormat(StrEnum):
    """In which form the queue is exported."""

    CSV = "csv"
    LABEL_STUDIO = "label-studio"
    COOP = "coop"


def as_csv(items: Iterable[QueueItem]) -> str:
    """A table to be filled in."""
    return csv_text(EXPORT_COLUMNS, ([*_identity(item), "", "", "", ""] for item in items))


def as_label_studio(items: Iterable[QueueItem], *, with_scores: bool = False) -> str:
    """A JSON list of tasks. The image is its `s3://` address, which Label Studio's S3 storage resolves.

    With scores each has a prediction, by which its Data Manager sorts.
    """
    tasks = []
    for item in items:
        data = dict(zip(EXPORT_COLUMNS, _identity(item), strict=False)) | {"image": _address(item)}
        task: dict[str, object] = {"data": data}
        if with_scores and item.score is not None:
            task["predictions"] = [_prediction(item, item.score)]
        tasks.append(task)
    return json.dumps(tasks, ensure_ascii=False, indent=1) + "\n"


def as_coop(items: Sequence[QueueItem], type_id: str, images: Sequence[str]) -> list[str]:
    """Bodies for `POST /api/v1/items/async/`, each of at most MOST_COOP_ITEMS items; `images` are the URLs.

    Coop and its reviewers' browsers fetch the image from its URL without any credential, so it has to be one that is
    signed beforehand and stays valid as long as a job may wait.
    """
    found = [
        {
            "id": coop_id(item),
            "typeId": type_id,
            "data": {
                "image": url,
                "images": [url],
                "bucket": item.bucket,
                "key": item.key,
                "last_modified": item.last_modified.isoformat(timespec="milliseconds").replace("+00:00", "Z"),
            },
        }
        for item, url in zip(items, images, strict=True)
    ]
    parts = (found[at : at + MOST_COOP_ITEMS] for at in range(0, len(found), MOST_COOP_ITEMS))
    return [json.dumps({"items": part}, ensure_ascii=False) for part in parts]


def coop_id(item: QueueItem) -> str:
    """The item's id in Coop: number and the beginning of the hash of the bytes, so that an answer is about these."""
    return f"{item.image_id}-{item.content_hash.hex()}" if item.content_hash else str(item.image_id)


def _identity(item: QueueItem) -> list[str]:
    digest = item.content_hash.hex() if item.content_hash else ""
    return [str(item.image_id), item.bucket, item.key, item.etag, item.last_modified.isoformat(), digest]


def _address(item: QueueItem) -> str:
    return f"s3://{item.bucket}/{item.key}"


def _prediction(item: QueueItem, score: float) -> dict[str, object]:
    says = ReviewDecision.DRUG if item.threshold is not None and score >= item.threshold else ReviewDecision.NOT_DRUG
    result = {"from_name": "decision", "to_name": "image", "type": "choices", "value": {"choices": [says]}}
    return {"model_version": str(item.model_version), "score": score, "result": [result]}
