"""Kubernetes' client for Airflow's operator: it waits out an API server that has just started, is busy, or is away.

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
from urllib3.exceptions import HTTPError

from sniffer.core.text import one_line

log = logging.getLogger(__name__)

SETTLING_S = 20.0
"""An API server that has just started refuses accounts and rights for seconds, until it has read them."""

BUSY_S = 120.0
"""So long a busy API server (429) is waited for; then Airflow tries a few times more."""

AWAY_S = 300.0
"""So long an API server that fails or does not answer is waited for, as while a control plane is upgraded: the pod goes
on meanwhile. A request to create waits as well, since what is there already is found by its name."""

_PAUSE_S = 1.0
_AWAY_PAUSE_S = 5.0
_LONGEST_PAUSE_S = 30.0
"""Whatever Retry-After asks for: Airflow's own wait, and the HTTP library's, would follow it for hours."""
_BUSY, _BAD_GATEWAY = 429, 502
_AWAY = frozenset({500, 502, 503, 504})
_PLAIN = ("str", "file", "object", "bytes")
_DENIED = frozenset({401, 403})
_DENIED_HANDSHAKE = re.compile(r"Handshake status 40[13]\b")
"""What the client says of pods/exec, a websocket, in place of a status."""


class PatientClient(k8s_client.ApiClient):  # type: ignore[misc]  # the client is not typed
    """A client like another one; being denied raises ApiException only after SETTLING_S, and then at once next time.

    So does a busy server after BUSY_S, and one that fails or does not answer after AWAY_S.
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
                if not self._waits(asked, began, _limit_s(error)):
                    raise _bounded(error) from error.__cause__
                log.warning("Kubernetes refuses %s %s (%s); trying again", method, resource_path, error.reason)
                self._sleep(_pause_s(error))
            except HTTPError as error:
                if not self._waits(asked, began, AWAY_S):
                    raise
                log.warning("Kubernetes does not answer %s %s (%s)", method, resource_path, one_line(error))
                self._sleep(_AWAY_PAUSE_S)
            else:
                self._given_up.discard(asked)
                return found

    def _waits(self, asked: tuple[str, str], began: float, limit_s: float | None) -> bool:
        """Whether to try once more; who has given up waits no more, until there is an answer."""
        if limit_s is None or asked in self._given_up:
            return False
        if self._clock() - began >= limit_s:
            self._given_up.add(asked)
            return False
        return True

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


class _Page(k8s_client.ApiException):  # type: ignore[misc]  # the client is not typed
    """What a proxy or a login answers; Airflow asks again after a 502."""


def _page(found: object) -> _Page:
    reason = f"the answer is not Kubernetes' own, but a page, as of a proxy or a login: {one_line(found, 80)}"
    return _Page(status=_BAD_GATEWAY, reason=reason)


def _limit_s(error: Any) -> float | None:
    """How long that refusal is waited out; None: not at all."""
    if _is_denied(error):
        return SETTLING_S
    if error.status in _AWAY and not isinstance(error, _Page):
        return AWAY_S
    return BUSY_S if error.status == _BUSY else None


def _pause_s(error: Any) -> float:
    """How long to wait before the next try: as long as Retry-After says, within bounds."""
    usual_s = _AWAY_PAUSE_S if error.status in _AWAY else _PAUSE_S
    try:
        asked_s = float((error.headers or {}).get("Retry-After", usual_s))
    except ValueError:
        return usual_s
    return min(asked_s, _LONGEST_PAUSE_S) if asked_s > usual_s else usual_s


def _bounded(error: Any) -> Any:
    """The error, without a Retry-After that Airflow would follow for hours."""
    if error.status == _BUSY:
        error.headers = None
    return error


def _is_denied(error: Any) -> bool:
    return error.status in _DENIED or bool(error.status == 0 and _DENIED_HANDSHAKE.search(str(error.reason)))
