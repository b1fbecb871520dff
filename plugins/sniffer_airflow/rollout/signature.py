"""Signs what one task hands to another by XCom, which people can edit by Airflow's API.

The key is made of the database's password, which Airflow's API shows nobody: whoever knows it could write into the
table `models` without any rollout.
"""

from __future__ import annotations

import hashlib
import hmac
import json

_PURPOSE = b"approval of a rollout\0"


def sign(values: object, secret: str) -> str:
    """The signature of JSON-ready values, as hexadecimal digits."""
    key = hashlib.sha256(_PURPOSE + secret.encode()).digest()
    return hmac.new(key, json.dumps(values, sort_keys=True).encode(), hashlib.sha256).hexdigest()


def is_signed(values: object, signature: object, secret: str) -> bool:
    """Whether it is the signature of just these values."""
    return isinstance(signature, str) and hmac.compare_digest(sign(values, secret), signature)
