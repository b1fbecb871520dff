"""Kubernetes' client for Airflow's operator: it waits out that an API server denies everybody in its first seconds."""

from __future__ import annotations

import logging
import re
import time
from collections.abc import Callable
from typing import Any

from kubernetes import client as k8s_client

log = logging.getLogger(__name__)

SETTLING_S = 20.0
"""An API server that has just started refuses accounts and rights for seconds, until it has read them."""

_PAUSE_S = 1.0
_DENIED = frozenset({401, 403})
_DENIED_HANDSHAKE = re.compile(r"Handshake status 40[13]\b")
"""What the client says of pods/exec, a websocket, in place of a status."""


class PatientClient(k8s_client.ApiClient):  # type: ignore[misc]  # the client is not typed
    """A client like another one; being denied raises ApiException only after SETTLING_S, and then at once next time."""

    def __init__(
        self,
        like: k8s_client.ApiClient,
        *,
        clock: Callable[[], float] = time.monotonic,
        sleep: Callable[[float], None] = time.sleep,
    ) -> None:
        super().__init__(like.configuration, cookie=like.cookie)
        self.default_headers = like.default_headers
        self._clock = clock
        self._sleep = sleep
        self._given_up: set[tuple[str, str]] = set()

    def call_api(self, resource_path: str, method: str, *args: Any, **kwargs: Any) -> Any:
        """The answer to a request, as the client has it."""
        asked, deadline = (method, resource_path), self._clock() + SETTLING_S
        while True:
            try:
                found = super().call_api(resource_path, method, *args, **kwargs)
            except k8s_client.ApiException as error:
                if not _is_denied(error) or asked in self._given_up:
                    raise
                if self._clock() >= deadline:
                    self._given_up.add(asked)
                    raise
                log.warning("Kubernetes denies %s %s (%s); trying again", method, resource_path, error.reason)
                self._sleep(_PAUSE_S)
            else:
                self._given_up.discard(asked)
                return found


def _is_denied(error: Any) -> bool:
    return error.status in _DENIED or bool(error.status == 0 and _DENIED_HANDSHAKE.search(str(error.reason)))
