"""The shadow check: the stable version and the candidate score images that were scanned lately."""

from __future__ import annotations

import logging
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from functools import partial

from sniffer.adapters.images.render import decode
from sniffer.adapters.s3.bucket import Bucket
from sniffer.adapters.s3.errors import NoBucket, NotFetched
from sniffer.adapters.s3.locations import open_bucket
from sniffer.adapters.serving import ModelServer
from sniffer.core.errors import ContractError, SettingsError, TransientError, UnreadableImage
from sniffer.core.model_records import ModelRecord
from sniffer.core.records import ListedObject, Outcome
from sniffer.core.redaction import SecretUrl
from sniffer.core.rollout_records import Flip, ShadowReport
from sniffer.core.settings import FetchSettings, ImageSettings
from sniffer_rollout.targets.open import serving_at

log = logging.getLogger(__name__)

_SAMPLES = 20
_BATCH = 32


@dataclass(frozen=True, slots=True)
class ShadowLimits:
    """How many images are compared, and what share of them may change. `least` is the fewest that are enough."""

    images: int = 200
    least: int = 0
    flips: float = 0.2
    flag_change: float = 0.1


@dataclass(frozen=True, slots=True)
class DecisionComparison:
    """The decisions of both versions on the same images: how many each flags, and where they differ."""

    compared: int
    stable_flags: int
    candidate_flags: int
    flips: tuple[Flip, ...]

    @property
    def flag_change(self) -> float:
        """Change in flagged images as a share of all compared."""
        return (self.candidate_flags - self.stable_flags) / max(1, self.compared)

    @property
    def flip_share(self) -> float:
        """Share of images on which the two differ."""
        return len(self.flips) / max(1, self.compared)


def fetch_pixels(
    sample: Sequence[ListedObject], fetch: FetchSettings, limits: ImageSettings
) -> tuple[dict[ListedObject, bytes], Counter[str]]:
    """Raw pixels of the objects that have not changed, and how many have, by reason.

    A bucket that was deleted, or is closed to us, must not keep a version away: its images are left out. Raises
    SettingsError when S3 refuses every bucket that there is, TransientError when it does not answer.
    """
    pixels: dict[ListedObject, bytes] = {}
    left_out: Counter[str] = Counter()
    refused: SettingsError | None = None
    opened = 0
    for name in sorted({image.bucket for image in sample}):
        images = [image for image in sample if image.bucket == name]
        try:
            found = _pixels_of(open_bucket(name, fetch, limits.max_bytes), images, fetch.threads, limits)
            opened += 1
        except SettingsError as error:
            log.warning("%d of the images that were scanned last cannot be compared: %s", len(images), error)
            is_gone = isinstance(error, NoBucket)
            found = ["no_bucket" if is_gone else "inaccessible"] * len(images)
            refused = refused if is_gone else error
        for image, one in zip(images, found, strict=True):
            if isinstance(one, str):
                left_out[one] += 1
            else:
                pixels[image] = one
    if refused is not None and not opened:
        raise SettingsError(
            f"none of the images that were scanned last can be read ({refused}): give the rollout the right to read "
            "them, or run with --shadow-images 0"
        ) from refused
    return pixels, left_out


def _pixels_of(
    bucket: Bucket, images: Sequence[ListedObject], threads: int, limits: ImageSettings
) -> list[bytes | str]:
    with ThreadPoolExecutor(threads, "fetch") as pool:
        return list(pool.map(partial(_pixels, bucket, limits), images))


def _pixels(bucket: Bucket, limits: ImageSettings, image: ListedObject) -> bytes | str:
    """The image's pixels, or the code of the reason why it has none any more."""
    try:
        data = bucket.fetch(image)
        return decode(data, max_pixels=limits.max_pixels, max_bytes=limits.max_bytes).tobytes()
    except NotFetched as error:
        if error.verdict.outcome is Outcome.FAILED:
            raise TransientError(
                f"cannot read s3://{image.bucket}/{image.key} ({error}): run again, or with --shadow-images 0"
            ) from error
        return error.verdict.code
    except UnreadableImage as error:
        return error.code


def compare_scores(
    images: Iterable[ListedObject],
    stable_scores: Sequence[float],
    candidate_scores: Sequence[float],
    thresholds: tuple[float, float],
) -> DecisionComparison:
    """Who flags what: `thresholds` are the stable version's and the candidate's. The largest moves come first."""
    flips, flags = [], [0, 0]
    rows = list(zip(images, stable_scores, candidate_scores, strict=True))
    for image, before, after in rows:
        was, now = before >= thresholds[0], after >= thresholds[1]
        flags[0] += was
        flags[1] += now
        if was != now:
            flips.append(Flip(image.bucket, image.key, before, after, now))
    flips.sort(key=lambda flip: -abs(flip.candidate_score - flip.stable_score))
    return DecisionComparison(len(rows), flags[0], flags[1], tuple(flips))


def check_shadow(
    replica: SecretUrl,
    stable: ModelRecord,
    candidate: ModelRecord,
    pixels: Mapping[ListedObject, bytes],
    left_out: Counter[str],
    images_per_day: float | None,
    limits: ShadowLimits,
    patience_s: float,
) -> ShadowReport:
    """The comparison for the report; raises ContractError when it is over the limits, with its figures."""
    with ModelServer(serving_at(replica, patience_s)) as server:
        before, after = (_scores(server, model.version, list(pixels.values())) for model in (stable, candidate))
    found = compare_scores(pixels, before, after, (stable.threshold, candidate.threshold))
    nightly = None if images_per_day is None else found.flag_change * images_per_day
    _check_limits(found, candidate.version, limits, nightly, left_out)
    return ShadowReport(
        compared=found.compared,
        left_out=dict(left_out),
        flagged_by_stable=found.stable_flags,
        flagged_by_candidate=found.candidate_flags,
        flip_share=found.flip_share,
        flag_change=found.flag_change,
        flag_change_per_night=nightly,
        flips=found.flips[:_SAMPLES],
    )


def _check_limits(
    found: DecisionComparison, version: int, limits: ShadowLimits, nightly: float | None, left_out: Counter[str]
) -> None:
    if found.compared < limits.least:
        raise ContractError(
            f"only {found.compared} scanned images could be compared, not {limits.least} (left out: {dict(left_out)}): "
            "lower --least-shadow-images, or see why they are gone"
        )
    night = "" if nightly is None else f", {nightly:+.0f} flagged images a night"
    if found.flip_share > limits.flips:
        first = ", ".join(f"s3://{flip.bucket}/{flip.key}" for flip in found.flips[:3])
        raise ContractError(
            f"model version {version} decides otherwise than the stable one on {found.flip_share:.1%} of "
            f"{found.compared} scanned images (at most {limits.flips:.1%}{night}), such as {first}: look at them, then "
            "raise --max-flips or reject the version"
        )
    if abs(found.flag_change) > limits.flag_change:
        raise ContractError(
            f"model version {version} flags {found.candidate_flags} of {found.compared} scanned images, the stable one "
            f"{found.stable_flags}: a change of {found.flag_change:+.1%} (at most {limits.flag_change:.1%}{night}): "
            "look at them, then raise --max-flag-change or reject the version"
        )


def _scores(server: ModelServer, version: int, images: Sequence[bytes]) -> list[float]:
    scores: list[float] = []
    for start in range(0, len(images), _BATCH):
        scores += server.predict(version, images[start : start + _BATCH])
    return scores
