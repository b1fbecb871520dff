"""What each outcome and each error code of an image means, for a person: the reference page is made of these tables."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from sniffer.core.records import Outcome


@dataclass(frozen=True, slots=True)
class OutcomeMeaning:
    """One outcome: how an image comes to it, and what makes a scan try it again."""

    meaning: str
    tried_again: str


@dataclass(frozen=True, slots=True)
class CodeMeaning:
    """One error code: the outcome it comes with, what happened, and what a person can do."""

    outcome: Outcome
    meaning: str
    what_to_do: str


OUTCOMES: Mapping[Outcome, OutcomeMeaning] = {
    Outcome.UNCHANGED: OutcomeMeaning(
        "this object (bucket, key, ETag, size, last modified) already has a result from this model version; it is "
        "counted, not stored again",
        "only with `--rescan`",
    ),
    Outcome.PREDICTED: OutcomeMeaning("scored now", "only with `--rescan`"),
    Outcome.REUSED: OutcomeMeaning(
        "the same bytes were scored under another key; that score is stored, the model is not asked",
        "only with `--rescan`",
    ),
    Outcome.UNREADABLE: OutcomeMeaning(
        "not an image that we can decode; the code says why", "by another model version, or with `--rescan`"
    ),
    Outcome.INACCESSIBLE: OutcomeMeaning(
        "cannot be read until somebody acts: archived, encrypted with a key that we may not use, or paid for by the "
        "reader; the code says which",
        "when its storage class or our rights have changed",
    ),
    Outcome.GONE: OutcomeMeaning(
        "deleted, or replaced by other bytes, between listing and fetching", "when it is listed again"
    ),
    Outcome.SKIPPED: OutcomeMeaning(
        "left out by rule, such as a folder marker; counted, not stored", "when the rule no longer leaves it out"
    ),
    Outcome.FAILED: OutcomeMeaning(
        "tried and given up; the code says why", "by the next scan that lists it, or by `--retry-failed`"
    ),
}

CODES: Mapping[str, CodeMeaning] = {
    "empty": CodeMeaning(Outcome.UNREADABLE, "the object has no bytes", "nothing; the upload was broken"),
    "over_byte_limit": CodeMeaning(
        Outcome.UNREADABLE,
        "larger than `SNIFFER_MAX_IMAGE_BYTES`; it was not fetched",
        "raise the limit and scan with `--rescan`, if such files matter",
    ),
    "over_pixel_limit": CodeMeaning(
        Outcome.UNREADABLE,
        "more pixels to decode than `SNIFFER_MAX_IMAGE_PIXELS`; of a large JPEG only a part is decoded, and counted",
        "raise the limit and give consumers the memory (4 bytes a pixel and more), if such pictures matter",
    ),
    "over_cost_limit": CodeMeaning(
        Outcome.UNREADABLE,
        "decoding it would take, or took, more than 3 s of CPU or 1 GiB of memory: endless scans, tags or blocks",
        "as a rule nothing: it is an attack. A picture that is merely large (a WebP over 44 megapixels, a JPEG XL "
        "over 55, or over 19 if it is lossless) passes as a JPEG: convert it before the upload, if you can",
    ),
    "not_an_image": CodeMeaning(
        Outcome.UNREADABLE, "HTML, JSON, text, a video, an archive, …; the message says which", "nothing"
    ),
    "unsupported": CodeMeaning(
        Outcome.UNREADABLE,
        "an image that is not decoded: Photoshop, SVG, or a JPEG that no browser shows (arithmetic coding, lossless)",
        "nothing; convert it before the upload, if you can",
    ),
    "truncated": CodeMeaning(
        Outcome.UNREADABLE,
        "the file ends before anything of the picture can be shown; or it is an AVIF, HEIC or JPEG XL that ends early",
        "nothing; upload it again",
    ),
    "corrupt": CodeMeaning(
        Outcome.UNREADABLE, "damaged in another way; the message has the decoder's words", "nothing; upload it again"
    ),
    "decoder_crashed": CodeMeaning(
        Outcome.UNREADABLE,
        "it ended the decoder's process three times in a row, each time a new one; the message says how",
        "fetch the file with care, report it to Pillow",
    ),
    "deleted": CodeMeaning(
        Outcome.GONE, "S3 itself says that there is no such object any more (`NoSuchKey`, `NoSuchVersion`)", "nothing"
    ),
    "replaced": CodeMeaning(
        Outcome.GONE,
        "its ETag, size or time is not the listed one, and listed again it has changed: somebody wrote other bytes",
        "nothing; the next scan that lists it scores the new bytes",
    ),
    "archived": CodeMeaning(
        Outcome.INACCESSIBLE,
        "it lies in an archive (GLACIER, DEEP_ARCHIVE, an archive tier); where the listing shows it, S3 is not asked",
        "restore it, or move it to another storage class",
    ),
    "kms": CodeMeaning(
        Outcome.INACCESSIBLE,
        "its KMS key is disabled, gone, or not ours to use",
        "enable the key, or give the role `kms:Decrypt` on it",
    ),
    "sse_c": CodeMeaning(
        Outcome.INACCESSIBLE,
        "encrypted with a key that only the uploader has (SSE-C)",
        "have it stored without; we take no such keys",
    ),
    "requester_pays": CodeMeaning(
        Outcome.INACCESSIBLE, "whoever reads that bucket pays, and says so", "set `SNIFFER_REQUESTER_PAYS=yes`"
    ),
    "access_denied": CodeMeaning(
        Outcome.INACCESSIBLE,
        "S3 refused the read of this object (AccessDenied), while it gives others",
        "give the role `s3:GetObject` (and `kms:Decrypt`); if readers pay there, set `SNIFFER_REQUESTER_PAYS=yes`",
    ),
    "folder_marker": CodeMeaning(
        Outcome.SKIPPED, "an object without bytes whose key ends in `/`, with which consoles show folders", "nothing"
    ),
    "left_out": CodeMeaning(
        Outcome.SKIPPED, "an `--exclude` matches its key, or no `--include` does", "change the rules, if it matters"
    ),
    "not_as_listed": CodeMeaning(
        Outcome.FAILED,
        "a GET gives another ETag or length than the listing shows, and the listing stands when it is asked again",
        "look for a proxy or a cache that changes answers; then `--retry-failed`",
    ),
    "unusable_key": CodeMeaning(
        Outcome.FAILED,
        "the key is over 1,024 bytes or no UTF-8: it cannot be asked for; counted, not stored",
        "rename the object",
    ),
    "fetch": CodeMeaning(
        Outcome.FAILED,
        "S3 did not give the object within `SNIFFER_FETCH_PATIENCE_S`, or answered with an error, or something else "
        "answered in its place",
        "see the message; then `--retry-failed`",
    ),
    "kills_consumers": CodeMeaning(
        Outcome.FAILED,
        "five consumers died, one after the other, with nothing but it in their hands and before it was decoded",
        "look at the consumers' memory first; then `--retry-failed`, fetch the file with care, report it",
    ),
}
"""Of the column `predictions.error_code` and of a certificate's samples. A test compares them with the code."""
