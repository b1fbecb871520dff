"""Labels by folder: `[labels/]<class>/<slice>-<number>.<ext>`, and what in such folders is no image. Pure."""

from __future__ import annotations

import re
from collections.abc import Iterable
from pathlib import PurePosixPath

from sniffer.core.errors import SettingsError
from sniffer.core.model_records import LABELS
from sniffer.core.text import one_line
from sniffer_model.data.manifest import LabelledImage, LabelledSet

LABELS_FOLDER = "labels"
CLASS_FOLDERS = " and ".join(f"{LABELS_FOLDER}/{label}/" for label in LABELS)

_FOLDERS_OF_OTHERS = {"__macosx", "@eadir", "$recycle.bin"}
_FILES_OF_OTHERS = {"thumbs.db", "ehthumbs.db", "desktop.ini", "_success"}
_DOCUMENTS = re.compile(
    r"(readme|licen[cs]e|notice|changelog|citation)(\.(md|txt|rst|html?|pdf|docx?))?", re.IGNORECASE
)
_FOLDER_MARKER = "_$folder$"
"""The end of what Hadoop puts in S3 for a folder."""


def is_no_image(key: str) -> bool:
    """Whether a file is there for another reason than to be looked at: the system's, an archive's, or a document."""
    *folders, name = key.lower().split("/")
    if not name or name.endswith(_FOLDER_MARKER) or name in _FILES_OF_OTHERS or _DOCUMENTS.fullmatch(name):
        return True
    return any(part.startswith(".") or part in _FOLDERS_OF_OTHERS for part in (*folders, name))


def labelled_by_folder(keys: Iterable[str], location: str, root: str = LABELS_FOLDER) -> LabelledSet:
    """Label and slice of keys `root/<class>/<slice>-<number>.<ext>`; SettingsError where they show none.

    `root` is empty where the folders of the classes lie in the source itself.
    """
    images, skipped = [], []
    for key in keys:
        if is_no_image(key):
            skipped.append(key)
        else:
            images.append(_labelled(key, location, root))
    if not images:
        only = f" (only {', '.join(map(one_line, skipped[:3]))})" if skipped else ""
        raise SettingsError(f"there are no labelled images in {location}{only}: put some under {CLASS_FOLDERS}")
    return LabelledSet(tuple(images), skipped=tuple(skipped))


def _labelled(key: str, location: str, root: str) -> LabelledImage:
    parts = PurePosixPath(key).parts
    folders = parts[1 if root else 0 : -1]
    if not folders:
        raise SettingsError(f"{one_line(key)} in {location} belongs to no class: put it under {CLASS_FOLDERS}")
    if folders[0] not in LABELS:
        folder = "/".join(part for part in (root, folders[0]) if part)
        raise SettingsError(
            f"{one_line(folder)}/ in {location} is not a class of this model: images go under {CLASS_FOLDERS}"
        )
    return LabelledImage(key, folders[0], _slice(key))


def _slice(key: str) -> str:
    """`blister-pack-0012.jpg` is of the slice `blister-pack`; a name without a number at its end has none."""
    match = re.fullmatch(r"(.+?)-\d+", PurePosixPath(key).stem)
    return match[1] if match else ""
