"""Test images that a candidate and the stable version decide differently, with a small picture of each.

These are users' pictures: MySQL keeps them beside the report, and they are shown to those who may see its mistakes.
"""

from __future__ import annotations

from dataclasses import dataclass

PICTURE_PREFIX = "data:image/jpeg;base64,"


@dataclass(frozen=True, slots=True)
class ChangedImage:
    """One image: its scores by both versions, from 0 to 1, and whether the candidate is the one that flags it.

    `picture` is a data URI of a JPEG with the pixels that the model sees, 224×224, and no metadata; None when the image
    cannot be read any more.
    """

    label: str
    slice: str
    stable_score: float
    candidate_score: float
    flagged_now: bool
    picture: str | None


@dataclass(frozen=True, slots=True)
class ChangedImages:
    """Of `compared` test images, how many are decided differently; `images` are those with the largest change of score.

    `stable_version` is the version that was stable when the gate compared.
    """

    stable_version: int
    compared: int
    flagged_now: int
    no_longer_flagged: int
    images: tuple[ChangedImage, ...]

    @property
    def count(self) -> int:
        """How many of the compared images change."""
        return self.flagged_now + self.no_longer_flagged
