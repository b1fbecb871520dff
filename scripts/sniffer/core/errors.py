"""The errors, named by how a caller must react.

SnifferError
├── SettingsError      the user must change a flag, a variable or a right; exit status 2
├── ContractError      a model version, signature, schema or protocol is not what it must be; stop now; exit status 2
├── TransientError     a foreign system did not answer, and retrying was given up; exit status 1
├── IncompleteScan     the scan ended without an outcome for every image; exit status 1
├── HeldScan           a person has to release or discard what this scan found, before it goes on; exit status 2
├── ScanInUse          another process runs this very scan; exit status 1
├── SupersededRun      a newer run of this scan has taken over; end, and write nothing more; exit status 1
├── DecisionRefused    a reviewer's decision was not stored: show the image anew; exit status 1
└── UnreadableImage    this one image cannot be decoded; record the reason and go on
"""

from __future__ import annotations

from sniffer.core.records import Lease
from sniffer.core.redaction import hide


class SnifferError(Exception):
    """Base of every error that sniffer-bot raises on purpose; its text is one line that says what to do.

    It holds no secret of this process, whatever foreign text it quotes.
    """

    exit_status = 1

    def __str__(self) -> str:
        return hide(super().__str__())


class SettingsError(SnifferError):
    """Wrong usage, settings or rights; nothing was done."""

    exit_status = 2


class ContractError(SnifferError):
    """A peer is not what this scan needs (model version, signature, schema); going on would give wrong results."""

    exit_status = 2


class TransientError(SnifferError):
    """A foreign system stayed away longer than our patience; a rerun continues where this run stopped."""


class IncompleteScan(SnifferError):
    """The scan ended before every listed image had an outcome; a rerun does only what is left."""


class HeldScan(SnifferError):
    """The scan is held: a retry changes nothing, a person decides."""

    exit_status = 2

    def __init__(self, scan_id: str, reason: str) -> None:
        super().__init__(
            f"scan {scan_id} is held: {reason}. Look at what it flagged, then release it (`sniffer release {scan_id}`) "
            f"or discard it (`sniffer discard {scan_id}`)"
        )


class ScanInUse(SnifferError):
    """Another process runs this very scan, or was killed a moment ago and its lease is not over yet."""

    def __init__(self, lease: Lease) -> None:
        super().__init__(
            f"{lease}, which is at work: wait until it has ended, or stop it, then run again; for another scan leave "
            "--scan-id away"
        )
        self.lease = lease


class SupersededRun(SnifferError):
    """A newer run of the same scan has taken over: what this one would still write is refused."""


class DecisionRefused(SnifferError):
    """Nothing of what was submitted is stored: somebody else has the image, or it was decided meanwhile."""


class UnreadableImage(SnifferError):
    """These bytes are not an image we can decode; `code` is stable and short, the text is for a person."""

    def __init__(self, code: str, message: str) -> None:
        super().__init__(message)
        self.code = code
