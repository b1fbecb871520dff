"""What S3's answers mean for us. Only S3's own word counts: an error document in XML, with a code."""

from __future__ import annotations

import re
from dataclasses import dataclass
from enum import Enum, StrEnum, auto

from botocore.exceptions import ClientError

from sniffer.adapters.s3.documents import NotADocument, parse_document
from sniffer.core.errors import SettingsError, SnifferError
from sniffer.core.records import Outcome, Unscored
from sniffer.core.text import one_line

NO_OBJECT_CODES = frozenset({"NoSuchKey", "NoSuchVersion"})

_TRANSIENT_CODES = frozenset(
    {
        "BandwidthLimitExceeded",
        "Busy",
        "ConditionalRequestConflict",  # one of two conditional writes at the same moment: S3 wants to be asked again
        "InternalError",
        "InternalFailure",
        "LimitExceededException",
        "OperationAborted",
        "PriorRequestNotComplete",
        "RequestLimitExceeded",
        "RequestThrottled",
        "RequestThrottledException",
        "RequestTimeout",
        "RequestTimeoutException",
        "ServiceUnavailable",
        "SlowDown",
        "TemporaryRedirect",
        "Throttling",
        "ThrottlingException",
        "ThrottledException",
        "TooManyRequests",
        "TooManyRequestsException",
        "TransactionInProgressException",
        "KMS.DependencyTimeoutException",
        "KMS.InternalException",
        "KMS.KMSInternalException",
        "KMS.KeyUnavailableException",
        "KMS.LimitExceededException",
        "KMS.ThrottlingException",
    }
)
_CREDENTIAL_CODES = {
    "AccountProblem": "see to the AWS account",
    "AllAccessDisabled": "the bucket's owner has to enable it",
    "AuthFailure": "check the credentials",
    "AuthorizationHeaderMalformed": "check AWS_REGION",
    "ExpiredToken": "renew the credentials",
    "ExpiredTokenException": "renew the credentials",
    "IncompleteSignature": "check the credentials",
    "InvalidAccessKeyId": "check AWS_ACCESS_KEY_ID",
    "InvalidClientTokenId": "check AWS_ACCESS_KEY_ID",
    "InvalidSecurity": "check the credentials",
    "InvalidSignatureException": "check AWS_SECRET_ACCESS_KEY",
    "InvalidToken": "check AWS_SESSION_TOKEN",
    "InvalidTokenId": "check AWS_SESSION_TOKEN",
    "MissingAuthenticationToken": "give credentials",
    "MissingSecurityHeader": "give credentials",
    "NotSignedUp": "see to the AWS account",
    "RequestExpired": "set this machine's clock",
    "RequestTimeTooSkewed": "set this machine's clock",
    "SignatureDoesNotMatch": "check AWS_SECRET_ACCESS_KEY",
    "TokenRefreshRequired": "renew the credentials",
    "UnauthorizedAccess": "credentials of AWS China and of the other regions are different ones",
    "UnrecognizedClientException": "check the credentials",
}
"""Codes that are about who asks, not about an object, and what to do: no other request would fare better."""

_BUCKET_CODES = {
    "NoSuchBucket": "does not exist: check the name and AWS_ENDPOINT_URL",
    "InvalidBucketName": "is not a bucket name",
    "PermanentRedirect": "is in another region: check AWS_REGION and AWS_ENDPOINT_URL",
    "IllegalLocationConstraintException": "is in another region: check AWS_REGION and AWS_ENDPOINT_URL",
}
_READ_BYTES = 16 * 1024
"""Of an answer that is not S3's."""
_ARCHIVED_CODES = frozenset({"InvalidObjectState"})
_DENIED_CODES = frozenset({"AccessDenied", "AccessDeniedException", "Forbidden", "Unauthorized", "InvalidPayer"})
_ABOUT_KMS = re.compile(r"\bkms\b", re.IGNORECASE)
_ABOUT_CUSTOMER_KEYS = re.compile(r"server.side encryption|encryption (key|parameter)|customer.key", re.IGNORECASE)
_ABOUT_REQUESTER_PAYS = re.compile(r"request(er)?[- ]?pay", re.IGNORECASE)


class InaccessibleCode(StrEnum):
    """Our codes for why an object cannot be read until somebody acts."""

    ARCHIVED = "archived"
    KMS = "kms"
    SSE_C = "sse_c"
    REQUESTER_PAYS = "requester_pays"
    ACCESS_DENIED = "access_denied"


class NotFetched(SnifferError):
    """This object has no bytes for us; `verdict` says why. Nothing is wrong with the scan."""

    def __init__(self, verdict: Unscored) -> None:
        super().__init__(verdict.message)
        self.verdict = verdict


class NoBucket(SettingsError):
    """S3 says that there is no such bucket (any more)."""


class Reaction(Enum):
    """What to do about a refusal."""

    RETRY = auto()
    """It may pass. So may whatever does not come from S3."""
    GONE = auto()
    """S3 says that there is no such object."""
    INACCESSIBLE = auto()
    """This object cannot be read until somebody acts."""
    STOP = auto()
    """Every other request would be refused as well."""
    FAIL = auto()
    """Asking again does not help, and it is about this object alone."""


@dataclass(frozen=True, slots=True)
class Refusal:
    """An answer that is not what was asked for. `code` is S3's own, or "" when the answer is not S3's."""

    status: int
    code: str
    message: str

    @classmethod
    def of(cls, error: ClientError) -> Refusal:
        """The one that boto3 raised. Where the answer had no code, boto3 puts the status there."""
        said = error.response.get("Error", {})
        code = str(said.get("Code", ""))
        status = int(error.response.get("ResponseMetadata", {}).get("HTTPStatusCode", 0))
        return cls(status, "" if code.isdecimal() else code, str(said.get("Message", "")))

    @classmethod
    def parse(cls, status: int, body: bytes) -> Refusal:
        """The one in that answer's body."""
        try:
            root = parse_document(body)
        except NotADocument:
            return cls(status, "", f"not an answer of S3: {one_line(body[:_READ_BYTES].decode(errors='replace'), 80)}")
        error = next((node for node in root.iter() if local_name(node.tag) == "Error"), None)
        texts = {local_name(node.tag): (node.text or "").strip() for node in error} if error is not None else {}
        return cls(status, texts.get("Code", ""), texts.get("Message", ""))

    def __str__(self) -> str:
        return one_line(f"{self.code or 'no code of S3'}, HTTP {self.status}{self.message and ': '}{self.message}")

    @property
    def reaction(self) -> Reaction:
        """How to react to it."""
        if self.status >= 500 or self.status in (408, 429) or self.code in _TRANSIENT_CODES or not self.code:
            return Reaction.RETRY
        if self.status == 404 and self.code in NO_OBJECT_CODES:
            return Reaction.GONE
        if self.code in _CREDENTIAL_CODES or self.code in _BUCKET_CODES:
            return Reaction.STOP
        if self.inaccessible_code:
            return Reaction.INACCESSIBLE
        # A 404 with any other code proves nothing about the object.
        return Reaction.RETRY if self.status == 404 else Reaction.FAIL

    @property
    def inaccessible_code(self) -> InaccessibleCode | None:
        """Why the object cannot be read until somebody acts; None when that is not so."""
        if self.code in _ARCHIVED_CODES:
            return InaccessibleCode.ARCHIVED
        if self.code.startswith("KMS."):
            return InaccessibleCode.KMS
        if self.code in _DENIED_CODES or self.status in (401, 403):
            if _ABOUT_KMS.search(self.message):
                return InaccessibleCode.KMS
            pays = self.code == "InvalidPayer" or _ABOUT_REQUESTER_PAYS.search(self.message)
            return InaccessibleCode.REQUESTER_PAYS if pays else InaccessibleCode.ACCESS_DENIED
        is_sse_c = self.status == 400 and _ABOUT_CUSTOMER_KEYS.search(self.message)
        return InaccessibleCode.SSE_C if is_sse_c else None

    def verdict(self) -> Unscored:
        """What becomes of the object that was asked for."""
        match self.reaction:
            case Reaction.GONE:
                return Unscored(Outcome.GONE, "deleted", f"there is no such object (any more): {self}")
            case Reaction.INACCESSIBLE:
                return Unscored(Outcome.INACCESSIBLE, str(self.inaccessible_code), f"S3 refuses it: {self}")
            case _:
                return Unscored(Outcome.FAILED, "fetch", f"S3 does not give it: {self}")

    def stopped(self, where: str) -> SettingsError:
        """Why nothing at all can be done there."""
        if self.code in _BUCKET_CODES:
            kind = NoBucket if self.code == "NoSuchBucket" else SettingsError
            return kind(f"{where} {_BUCKET_CODES[self.code]} ({self})")
        return SettingsError(f"{where} refuses these credentials ({self}): {_CREDENTIAL_CODES[self.code]}")


def local_name(tag: str) -> str:
    """An XML tag without its namespace."""
    return tag.rpartition("}")[2]


def bare_etag(etag: str | None) -> str:
    """An ETag without quotes, and without the mark of a weak one, which a proxy puts there; "" for none."""
    return (etag or "").strip().removeprefix("W/").strip('"')


def same_etag(one: str, other: str) -> bool:
    """Whether two bare ETags are the same; some proxies write an MD5 in capitals."""
    return one == other or (one.lower() == other.lower() and _MD5.fullmatch(one) is not None)


_MD5 = re.compile(r"[0-9A-Fa-f]{32}(-\d+)?")
