"""Kubernetes' client for Airflow's operator: it waits out an API server that has just started or is busy.

And it takes no proxy's page for an answer.
"""

from __future__ import annotations

import copy
import json
import logging
import re
import time
from collections.abc import Callable
from typing import Any

import urllib3
from kubernetes import client as k8s_client

from sniffer.core.text import one_line

log = logging.getLogger(__name__)

SETTLING_S = 20.0
"""An API server that has just started refuses accounts and rights for seconds, until it has read them."""

BUSY_S = 120.0
"""So long a busy API server (429) is waited for; then Airflow tries a few times more."""

_PAUSE_S = 1.0
_LONGEST_PAUSE_S = 30.0
"""Whatever Retry-After asks for: Airflow's own wait, and the HTTP library's, would follow it for hours."""
_BUSY, _BAD_GATEWAY = 429, 502
_PLAIN = ("str", "file", "object", "bytes")
_DENIED = frozenset({401, 403})
_DENIED_HANDSHAKE = re.compile(r"Handshake status 40[13]\b")
"""What the client says of pods/exec, a websocket, in place of a status."""


class PatientClient(k8s_client.ApiClient):  # type: ignore[misc]  # the client is not typed
    """A client like another one; being denied raises ApiException only after SETTLING_S, and then at once next time.

    So does a busy server after BUSY_S.
    """

    def __init__(
        self,
        like: k8s_client.ApiClient,
        *,
        clock: Callable[[], float] = time.monotonic,
        sleep: Callable[[float], None] = time.sleep,
    ) -> None:
        configuration = copy.copy(like.configuration)
        # The HTTP library's own default, but that it would sleep for as long as any Retry-After says, and say nothing.
        configuration.retries = urllib3.Retry(3, respect_retry_after_header=False)
        super().__init__(configuration, cookie=like.cookie)
        self.default_headers = like.default_headers
        self._clock = clock
        self._sleep = sleep
        self._given_up: set[tuple[str, str]] = set()

    def call_api(self, resource_path: str, method: str, *args: Any, **kwargs: Any) -> Any:
        """The answer to a request, as the client has it."""
        asked, began = (method, resource_path), self._clock()
        while True:
            try:
                found = super().call_api(resource_path, method, *args, **kwargs)
            except (UnicodeDecodeError, LookupError) as error:
                # Neither is what the API writes: bytes that are no text, or a charset that does not exist.
                raise _page(error) from error
            except k8s_client.ApiException as error:
                limit_s = SETTLING_S if _is_denied(error) else BUSY_S if error.status == _BUSY else None
                if limit_s is None or asked in self._given_up:
                    raise _bounded(error) from error.__cause__
                if self._clock() - began >= limit_s:
                    self._given_up.add(asked)
                    raise _bounded(error) from error.__cause__
                log.warning("Kubernetes refuses %s %s (%s); trying again", method, resource_path, error.reason)
                self._sleep(_pause_s(error))
            else:
                self._given_up.discard(asked)
                return found

    def deserialize(self, response: Any, response_type: Any) -> Any:
        """The answer as an object; ApiException 502 when it is no JSON of Kubernetes, as a proxy's page."""
        if response_type not in _PLAIN:
            try:
                is_object = isinstance(json.loads(response.data), dict)
            except ValueError:
                is_object = False
            if not is_object:
                raise _page(response.data)
        return super().deserialize(response, response_type)


def _page(found: object) -> Any:
    reason = f"the answer is not Kubernetes' own, but a page, as of a proxy or a login: {one_line(found, 80)}"
    return k8s_client.ApiException(status=_BAD_GATEWAY, reason=reason)


def _pause_s(error: Any) -> float:
    """How long to wait before the next try: as long as Retry-After says, within bounds."""
    try:
        asked_s = float((error.headers or {}).get("Retry-After", _PAUSE_S))
    except ValueError:
        return _PAUSE_S
    return min(asked_s, _LONGEST_PAUSE_S) if asked_s > _PAUSE_S else _PAUSE_S


def _bounded(error: Any) -> Any:
    """The error, without a Retry-After that Airflow would follow for hours."""
    if error.status == _BUSY:
        error.headers = None
    return error


def _is_denied(error: Any) -> bool:
    return error.status in _DENIED or bool(error.status == 0 and _DENIED_HANDSHAKE.search(str(error.reason)))
