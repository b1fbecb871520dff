"""Whether a message to our webhook is from whom it says, and new. Pure; the clock is an argument.

Ours: `X-Sniffer-Signature: t=SECONDS,v1=HEX`, HMAC-SHA256 of "SECONDS.BODY" by a shared secret (the form that Stripe
made usual). Coop's: `Coop-Signature`, base64 of an RSASSA-PKCS1-v1_5 signature with SHA-256 of the body.
"""

from __future__ import annotations

import base64
import binascii
import hashlib
import hmac
import re
from dataclasses import dataclass
from datetime import UTC, datetime

from cryptography.exceptions import InvalidSignature
from cryptography.hazmat.primitives.asymmetric.padding import PKCS1v15
from cryptography.hazmat.primitives.asymmetric.rsa import RSAPublicKey
from cryptography.hazmat.primitives.hashes import SHA256
from cryptography.hazmat.primitives.serialization import load_pem_public_key

from sniffer.core.errors import SettingsError
from sniffer.core.review_settings import SMALLEST_WEBHOOK_SECRET

TOLERANCE_S = 300
"""How far the sender's clock, and the message's way, may take it from ours."""
_SIGNATURE = re.compile(r"t=([0-9]{1,12}),v1=([0-9a-f]{64})")


@dataclass(frozen=True, slots=True)
class VerifiedMessage:
    """A message that is from whom it says: the key of its submission, and when it was sent, if it says that."""

    submit_key: str
    sent_at: datetime | None


class ForgedMessage(Exception):
    """The message is not from whom it says, or too old. Say nothing more to the sender."""


def sign(body: bytes, secret: str, now: float) -> str:
    """The header that goes with the body."""
    seconds = int(now)
    return f"t={seconds},v1={_digest(body, secret, seconds)}"


def verify(body: bytes, header: str, secret: str, now: float) -> VerifiedMessage:
    """Check a message of ours.

    ForgedMessage for any other signature, and for a time further from ours than TOLERANCE_S. Within that a repetition
    changes nothing: ReviewDecisions.add_imported() takes key and time. SettingsError for a secret that is too short.
    """
    if len(secret) < SMALLEST_WEBHOOK_SECRET:
        raise SettingsError(f"the webhook's secret needs at least {SMALLEST_WEBHOOK_SECRET} characters")
    found = _SIGNATURE.fullmatch(header.strip())
    if found is None:
        raise ForgedMessage("the signature is not t=SECONDS,v1=HEX")
    seconds = int(found[1])
    if not hmac.compare_digest(found[2], _digest(body, secret, seconds)):
        raise ForgedMessage("the signature is not of this body")
    if abs(now - seconds) > TOLERANCE_S:
        raise ForgedMessage("the message is too old, or a clock is wrong")
    return VerifiedMessage(found[2], datetime.fromtimestamp(seconds, UTC))


def coop_key(public_key_pem: str) -> RSAPublicKey:
    """Coop's webhook signature verification key; SettingsError for a text that is none."""
    try:
        key = load_pem_public_key(public_key_pem.encode())
    except ValueError as error:
        raise SettingsError("Coop's webhook signature verification key is no public key in PEM") from error
    if not isinstance(key, RSAPublicKey):
        raise SettingsError("Coop's webhook signature verification key is not of RSA")
    return key


def verify_coop(body: bytes, header: str, public_key_pem: str) -> VerifiedMessage:
    """Check a message of Coop's, which has no time.

    The very same body is stored once. It is not known, of one that comes again after a correction, that it is old: let
    only Coop reach the address.
    """
    key = coop_key(public_key_pem)
    try:
        key.verify(base64.b64decode(header, validate=True), body, PKCS1v15(), SHA256())
    except (InvalidSignature, binascii.Error, ValueError) as error:
        raise ForgedMessage("the signature is not of this body") from error
    return VerifiedMessage(hashlib.sha256(body).hexdigest(), None)


def _digest(body: bytes, secret: str, seconds: int) -> str:
    return hmac.new(secret.encode(), str(seconds).encode() + b"." + body, hashlib.sha256).hexdigest()
