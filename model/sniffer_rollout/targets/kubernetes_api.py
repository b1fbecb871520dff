"""The Kubernetes API as JSON in and out, over its own client; what passes by itself is asked again."""

from __future__ import annotations

import json
import math
import time
from collections.abc import Callable, Iterator
from typing import Any

import urllib3
from kubernetes import client

from sniffer.core.errors import ContractError, SettingsError
from sniffer.core.redaction import KNOWN
from sniffer.core.retry import Retry, RetryLater
from sniffer.core.text import one_line

FIELD_MANAGER = "sniffer-rollout"
SETTLING_S = 20.0
"""An API server that has just started refuses accounts and rights for seconds, until it has read them."""

_RETRIED = frozenset({429, 500, 502, 503, 504})
_CONFLICT = 409
_GONE = 410
_PAGE = "500"
"""Objects of a list to an answer."""
_DENIED = frozenset({401, 403})
_TIMEOUTS_S = (3.0, 20.0)
_APPLY = "application/apply-patch+yaml"
_MERGE = "application/merge-patch+json"


class _Refused(ContractError):
    """The API's answer is no; `status` is HTTP's. `is_owned`: a field belongs to somebody else.

    `after_s`: how long the API asks to be left alone.
    """

    def __init__(self, status: int, message: str, *, is_owned: bool = False, after_s: float = 0.0) -> None:
        super().__init__(message)
        self.status = status
        self.is_owned = is_owned
        self.after_s = after_s

    @property
    def may_pass(self) -> bool:
        """Whether to ask again: the API is busy, or somebody wrote, or made, the object at the same moment."""
        return self.status in _RETRIED or (self.status == _CONFLICT and not self.is_owned)


class _Denied(SettingsError):
    """The API does not know us (401), or says that we may not (403)."""


class KubernetesApi:
    """The API as JSON in and out. Transient failures are retried for at most `patience_s`.

    So is being denied, for SETTLING_S at most: at our start, after the API was away, and for what was allowed before.
    So is a 409 of somebody who wrote at the same moment, and an answer that is not Kubernetes' own. Raises
    TransientError after that, SettingsError without permission, ContractError for every other refusal.
    """

    def __init__(self, api_client: Any, patience_s: float, *, clock: Callable[[], float] = time.monotonic) -> None:
        self._client = api_client
        self._patience_s = patience_s
        self._clock = clock
        self._settles_at: float | None = None
        self._allowed: set[tuple[str, str]] = set()

    def get(self, path: str, **query: str) -> dict[str, Any]:
        """The object at that path."""
        found = self._request("GET", path, query)
        if not isinstance(found.get("metadata"), dict):
            raise ContractError(f"GET {path} is answered by no object of Kubernetes: {one_line(found, 80)}")
        return found

    def list_all(self, path: str, **query: str) -> list[dict[str, Any]]:
        """All objects at that path. Read page by page; when they have changed too much meanwhile (410), anew."""
        retry = Retry("the Kubernetes API", "run this step again", self._patience_s, first_pause_s=0.1)
        return retry.call(lambda: self._read_list(path, query))

    def _read_list(self, path: str, query: dict[str, str]) -> list[dict[str, Any]]:
        try:
            return [item for page in self._pages(path, query) for item in page]
        except _Refused as error:
            if error.status != _GONE:
                raise
            raise RetryLater(f"the list has changed while it was read: {one_line(error)}") from error

    def _pages(self, path: str, query: dict[str, str]) -> Iterator[list[dict[str, Any]]]:
        token = ""
        while True:
            found = self._request("GET", path, query | {"limit": _PAGE} | ({"continue": token} if token else {}))
            items = found.get("items")
            if not isinstance(items, list):
                raise ContractError(f"GET {path} is answered by no list of Kubernetes: {one_line(found, 80)}")
            yield items
            token = (found.get("metadata") or {}).get("continue") or ""
            if not token:
                return

    def find(self, path: str) -> dict[str, Any] | None:
        """The object at that path, or None."""
        try:
            return self.get(path)
        except _Refused as error:
            if error.status != 404:
                raise
            return None

    def apply(self, path: str, body: dict[str, Any], *, force: bool) -> None:
        """Server-side apply: make or change the object, our fields alone.

        Raises ContractError when another manager owns one of them, unless `force`.
        """
        query = {"fieldManager": FIELD_MANAGER, "force": str(force).lower()}
        try:
            self._request("PATCH", path, query, body, _APPLY)
        except _Refused as error:
            if not error.is_owned:
                raise
            raise ContractError(
                f"{path.rpartition('/')[2]} was changed by somebody else ({error}): see who and why by `kubectl get "
                "--show-managed-fields`, then take it over by --force-conflicts"
            ) from error

    def merge(self, path: str, body: dict[str, Any]) -> None:
        """Change these fields of an object; nothing when it is gone."""
        try:
            self._request("PATCH", path, {"fieldManager": FIELD_MANAGER}, body, _MERGE)
        except _Refused as error:
            if error.status != 404:
                raise

    def is_allowed(self, verb: str, group: str, resource: str, name: str, namespace: str) -> bool:
        """Whether the account may do that, as the API itself says (SelfSubjectAccessReview)."""
        attributes = {"verb": verb, "group": group, "resource": resource, "name": name, "namespace": namespace}
        review = {
            "apiVersion": "authorization.k8s.io/v1",
            "kind": "SelfSubjectAccessReview",
            "spec": {"resourceAttributes": attributes},
        }
        path = "/apis/authorization.k8s.io/v1/selfsubjectaccessreviews"
        answer = self._request("POST", path, {}, review, "application/json")
        return bool(answer.get("status", {}).get("allowed"))

    def delete(self, path: str) -> bool:
        """Delete the object and what belongs to it; whether there was one."""
        try:
            self._request("DELETE", path, {"propagationPolicy": "Background"})
        except _Refused as error:
            if error.status != 404:
                raise
            return False
        return True

    def _request(
        self, method: str, path: str, query: dict[str, str], body: dict[str, Any] | None = None, kind: str = ""
    ) -> dict[str, Any]:
        retry = Retry("the Kubernetes API", "run this step again", self._patience_s, first_pause_s=0.1)
        return retry.call(lambda: self._attempt(method, path, query, body, kind))

    def _attempt(
        self, method: str, path: str, query: dict[str, str], body: dict[str, Any] | None, kind: str
    ) -> dict[str, Any]:
        if self._settles_at is None:
            self._await_settling()
        try:
            found = self._exchange(method, path, query, body, kind)
        except urllib3.exceptions.HTTPError as error:
            self._await_settling()
            raise RetryLater(one_line(error)) from error
        except _Denied as error:
            if self._may_pass(method, path):
                raise RetryLater(str(error)) from error
            raise
        except _Refused as error:
            if error.may_pass:
                self._await_settling()
                raise RetryLater(one_line(error), error.after_s) from error
            raise
        self._allowed.add((method, path))
        return found

    def _await_settling(self) -> None:
        """From now on, being denied may be no more than an API server's start."""
        self._settles_at = self._clock() + min(self._patience_s, SETTLING_S)

    def _may_pass(self, method: str, path: str) -> bool:
        """Whether being denied may pass by itself."""
        if (method, path) in self._allowed:
            # Another API server may have started that we have not seen away.
            self._allowed.discard((method, path))
            self._await_settling()
        return self._settles_at is not None and self._clock() < self._settles_at

    def _exchange(
        self, method: str, path: str, query: dict[str, str], body: dict[str, Any] | None, kind: str
    ) -> dict[str, Any]:
        _learn_credentials(self._client.configuration)
        headers = {"Accept": "application/json"} | ({"Content-Type": kind} if kind else {})
        try:
            found = self._client.call_api(
                path,
                method,
                query_params=list(query.items()),
                header_params=headers,
                body=body,
                auth_settings=["BearerToken"],
                response_types_map=dict.fromkeys((200, 201, 202), "object"),
                _return_http_data_only=True,
                _request_timeout=_TIMEOUTS_S,
            )
        except client.ApiException as error:
            reason = one_line(_message(error))
            if not _is_kubernetes_own(error):
                # A proxy's page: neither its 404 nor its 403 says anything of what is there, or of our rights.
                page = f"{method} {path} is answered by {error.status} {reason}, which is not Kubernetes' own word"
                raise RetryLater(page, _after_s(error)) from error
            if error.status in _DENIED:
                raise _Denied(_denial(error.status, f"{method} {path}", reason)) from error
            refusal = f"Kubernetes refuses {method} {path}: {error.status} {reason}"
            raise _Refused(error.status, refusal, is_owned=_is_owned(error), after_s=_after_s(error)) from error
        except (UnicodeDecodeError, LookupError) as error:
            # The client's own: of bytes that are no text, or a charset that does not exist.
            raise RetryLater(f"{method} {path} is answered by a page, as a proxy's: {one_line(error, 80)}") from error
        if not isinstance(found, dict):
            raise RetryLater(f"{method} {path} is answered by no JSON object, as a proxy's page: {one_line(found, 80)}")
        return found


def _denial(status: int, what: str, reason: str) -> str:
    if status == 403:
        return f"no permission to {what} in Kubernetes ({reason}): see k8s/base/rbac.yaml"
    return (
        f"Kubernetes does not know us: it refuses {what} ({reason}): renew the login of the kubeconfig, or start the "
        "pod again with its service account"
    )


def _is_owned(error: Any) -> bool:
    """Whether server-side apply says that another manager owns a field; a 409 of another cause passes by itself."""
    try:
        causes = json.loads(error.body)["details"]["causes"]
        return error.status == _CONFLICT and any(cause.get("reason") == "FieldManagerConflict" for cause in causes)
    except (TypeError, ValueError, KeyError, AttributeError):
        return False


def _is_kubernetes_own(error: Any) -> bool:
    """Whether the API itself has refused: it says so by a Status."""
    try:
        return bool(json.loads(error.body)["kind"] == "Status")
    except (TypeError, ValueError, KeyError):
        return False


def _after_s(error: Any) -> float:
    """How long the answer's Retry-After asks us to wait; 0 when it does not, or by a date."""
    try:
        seconds = float((error.headers or {}).get("Retry-After", 0))
    except ValueError:
        return 0.0
    return seconds if math.isfinite(seconds) and seconds > 0 else 0.0


def _message(error: Any) -> object:
    """What the API says of an error itself, or else HTTP's reason."""
    try:
        return json.loads(error.body)["message"]
    except (TypeError, ValueError, KeyError):
        return error.reason or error.body


def _learn_credentials(configuration: Any) -> None:
    """Whatever authorizes this request is a secret of this process; a pod's token is renewed every hour."""
    prefixed = configuration.get_api_key_with_prefix("BearerToken", alias="authorization") or ""
    KNOWN.renew("Kubernetes", prefixed.rpartition(" ")[2], configuration.password)
    for url in (configuration.host, configuration.proxy):
        KNOWN.learn_url(url or "")
