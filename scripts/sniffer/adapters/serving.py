"""TensorFlow Serving's REST API: images in, scores out, by one pinned model version. It is touched here only.

API: https://www.tensorflow.org/tfx/serving/api_rest. Pixels travel as base64 of raw bytes (0.2 MB an image), never as
JSON numbers (0.8 to 3 MB).
"""

from __future__ import annotations

import binascii
import json
import logging
import re
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from http.client import HTTPResponse
from typing import Any, Self

import requests
from requests.adapters import HTTPAdapter
from urllib3 import HTTPConnectionPool, HTTPSConnectionPool
from urllib3.exceptions import HTTPError

from sniffer.core.errors import ContractError, SettingsError
from sniffer.core.metered import MOST_HEAD_BYTES, AnswerBounds, MeteredAnswer
from sniffer.core.metrics import MODEL_SERVER_SECONDS, NO_METRICS, Metrics, counting_retries
from sniffer.core.model_records import PIXEL_BYTES, PIXELS_SIGNATURE
from sniffer.core.redaction import SecretUrl
from sniffer.core.retry import Retry, RetryLater
from sniffer.core.settings import ServingSettings
from sniffer.core.text import one_line

log = logging.getLogger(__name__)

_RETRIED = frozenset({429, 502, 503, 504})
# "Task size 64 is larger than maximum input batch size 32" (batching_session.cc) and what proxies say with 413.
_TOO_LARGE = re.compile(r"batch size|larger than|too large", re.IGNORECASE)
MAX_ANSWER_BYTES = 4 << 20
"""More than any answer of ours has: a score is 20 bytes, and metadata some kilobytes."""
WRONG_ANSWERS = 6
"""So many answers in a row that cannot be end the patience with the server."""
_PIECE_BYTES = 1 << 16
_ENCODED_SIGNATURE = "serving_default"


@dataclass(frozen=True, slots=True)
class ServedVersion:
    """A line of the status URL: START, LOADING, AVAILABLE, UNLOADING or END, the last with an error if it failed."""

    version: int
    state: str
    error: str = ""

    @property
    def is_available(self) -> bool:
        """Whether it answers requests."""
        return self.state == "AVAILABLE"

    @property
    def has_failed(self) -> bool:
        """Whether it ended by an error: it could not be loaded."""
        return self.state == "END" and bool(self.error)


@dataclass(frozen=True, slots=True)
class _Answer:
    status: int
    document: Any
    text: str

    @property
    def error(self) -> str:
        """The server's own words, on one line."""
        error = self.document.get("error") if isinstance(self.document, dict) else None
        return one_line(error or self.text)


class ModelServer:
    """A model on a TensorFlow Serving server. One per thread: it holds one connection.

    Transient answers (429, 502, 503, 504) and connection errors are retried with capped back-off for at most
    the settings' patience, then raise TransientError. Anything else that is not a score raises ContractError.
    """

    def __init__(self, settings: ServingSettings, metrics: Metrics = NO_METRICS) -> None:
        self._settings = settings
        self._metrics = metrics
        self._session = requests.Session()
        # A proxy variable meant for the internet must not catch the traffic to the cluster's own server.
        self._session.trust_env = False
        for scheme in ("http://", "https://"):
            self._session.mount(scheme, _MeteredAdapter(settings.read_timeout_s))
        self._batch_limit: int | None = None

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self._session.close()

    def check(self, version: int) -> None:
        """Fail at once, in one line, unless that version is served with our signature."""
        answer = self._request("GET", f"/versions/{version}/metadata", patience_s=0.0)
        if answer.status == 404:
            raise ContractError(
                f"model version {version} is not served at {self._settings.url} ({answer.error}); it serves "
                f"{self._served_versions()}"
            )
        self._check_version(answer, version)
        signature = self._signature(answer)
        inputs, outputs = set(signature.get("inputs", ())), set(signature.get("outputs", ()))
        if inputs != {"pixels"} or outputs != {"score"}:
            raise ContractError(
                f"signature {PIXELS_SIGNATURE!r} of model version {version} at {self._settings.url} must take 'pixels' "
                f"and give 'score', not {sorted(inputs)} and {sorted(outputs)}: export the model again"
            )

    def predict(self, version: int, images: Sequence[bytes]) -> list[float]:
        """Scores in [0, 1] of images given as raw 224×224×3 uint8 RGB bytes, in their order.

        A server that refuses the batch's size is asked again with halves, and that size is remembered.
        """
        if any(len(pixels) != PIXEL_BYTES for pixels in images):
            raise ValueError(f"an image must be {PIXEL_BYTES} bytes")
        return self._predict(version, PIXELS_SIGNATURE, images)

    def predict_encoded(self, version: int, images: Sequence[bytes]) -> list[float]:
        """Scores in [0, 1] of images given as files, JPEG or PNG: the way of `curl` and people."""
        return self._predict(version, _ENCODED_SIGNATURE, images)

    def version_states(self) -> tuple[ServedVersion, ...]:
        """Every version that the server knows of, newest first; none when it does not know the model (yet).

        Asked once, without patience: raises TransientError when the server does not answer.
        """
        answer = self._request("GET", "", patience_s=0.0)
        if answer.status == 404 and isinstance(answer.document, dict):
            return ()
        try:
            return tuple(_version_state(line) for line in answer.document["model_version_status"])
        except (KeyError, TypeError, ValueError):
            raise self._foreign(answer) from None

    def labelled_version(self, label: str) -> int | None:
        """The version that a label stands for and that is served, or None. Asked once, without patience."""
        answer = self._request("GET", f"/labels/{label}/metadata", patience_s=0.0)
        if answer.status in (400, 404) and isinstance(answer.document, dict):
            return None
        try:
            return int(answer.document["model_spec"]["version"])
        except (KeyError, TypeError, ValueError):
            raise self._foreign(answer) from None

    def _predict(self, version: int, signature: str, images: Sequence[bytes]) -> list[float]:
        scores: list[float] = []
        while len(scores) < len(images):
            step = self._batch_limit or len(images)
            scores += self._predict_batch(version, signature, images[len(scores) : len(scores) + step])
        return scores

    def _predict_batch(self, version: int, signature: str, images: Sequence[bytes]) -> list[float]:
        answer = self._request(
            "POST",
            f"/versions/{version}:predict",
            body=_request_body(signature, images),
            check=lambda answer: _check_scores(answer, len(images)),
        )
        if answer.status == 200:
            return _scores(answer, len(images))
        if len(images) > 1 and (answer.status == 413 or (answer.status == 400 and _TOO_LARGE.search(answer.error))):
            self._batch_limit = (len(images) + 1) // 2
            log.warning("the model server refuses %d images at once: %s", len(images), answer.error)
            return self._predict(version, signature, images)
        raise ContractError(
            f"model version {version} at {self._settings.url} refuses to predict: {answer.status} {answer.error}"
        )

    def _check_version(self, answer: _Answer, version: int) -> None:
        try:
            found = int(answer.document["model_spec"]["version"])
        except (KeyError, TypeError, ValueError):
            raise self._foreign(answer) from None
        if found != version:
            raise ContractError(f"{self._settings.url} was asked for model version {version}, and answers for {found}")

    def _signature(self, answer: _Answer) -> dict[str, Any]:
        try:
            signatures = answer.document["metadata"]["signature_def"]["signature_def"]
            found: dict[str, Any] | None = signatures.get(PIXELS_SIGNATURE)
        except (KeyError, TypeError, AttributeError):
            raise self._foreign(answer) from None
        if found is None:
            raise ContractError(
                f"the model at {self._settings.url} has no signature {PIXELS_SIGNATURE!r}, only {sorted(signatures)}: "
                "export it with `sniffer model export`"
            )
        return found

    def _foreign(self, answer: _Answer) -> SettingsError:
        return SettingsError(
            f"{self._settings.url} does not answer like TensorFlow Serving ({answer.status} {answer.error}): check "
            "SNIFFER_SERVING_URL"
        )

    def _served_versions(self) -> str:
        available = sorted(state.version for state in self.version_states() if state.is_available)
        return f"only {available}" if available else "no version of that model: check SNIFFER_SERVING_URL"

    def _request(
        self,
        method: str,
        path: str,
        *,
        body: bytes | None = None,
        patience_s: float | None = None,
        check: Callable[[_Answer], None] = lambda _: None,
    ) -> _Answer:
        """The answer. One that `check` finds wrong is asked for again like one that did not come, but less often."""
        patience_s = self._settings.patience_s if patience_s is None else patience_s
        retry = Retry(
            f"the model server at {self._settings.url}",
            "check that it runs and SNIFFER_SERVING_URL",
            patience_s,
            on_retry=counting_retries(self._metrics, "serving"),
        )
        wrong = _WrongAnswers(self._settings.url, check)
        return retry.call(lambda: wrong.judge(self._attempt(method, path, body)))

    def _attempt(self, method: str, path: str, body: bytes | None) -> _Answer:
        began_at, result = time.monotonic(), "failed"
        try:
            answer = self._ask(method, path, body)
            result = "answered"
            return answer
        finally:
            self._metrics.observe(MODEL_SERVER_SECONDS, time.monotonic() - began_at, result=result)

    def _ask(self, method: str, path: str, body: bytes | None) -> _Answer:
        try:
            answer = self._exchange(method, path, body)
        except (requests.ConnectionError, requests.Timeout, HTTPError) as error:
            raise RetryLater(one_line(_innermost(error))) from error
        except requests.RequestException as error:
            raise SettingsError(f"SNIFFER_SERVING_URL {self._settings.url}: {one_line(_innermost(error))}") from error
        if answer.status in _RETRIED:
            raise RetryLater(f"{answer.status} {answer.error}")
        return answer

    def _exchange(self, method: str, path: str, body: bytes | None) -> _Answer:
        response = self._session.request(
            method,
            self._settings.url.reveal() + path,
            data=body,
            headers={"Accept-Encoding": "identity"} | ({"Content-Type": "application/json"} if body else {}),
            timeout=(self._settings.connect_timeout_s, self._settings.read_timeout_s),
            # A redirection would turn a POST into a GET, and lead to whoever it names.
            allow_redirects=False,
            stream=True,
        )
        with response:
            content = self._content(response)
        try:
            document = json.loads(content)
        except (ValueError, RecursionError):
            document = None
        return _Answer(response.status_code, document, content.decode(errors="replace"))

    def _content(self, response: requests.Response) -> bytes:
        """The body as it was sent, within MAX_ANSWER_BYTES and the time for one answer; else raises RetryLater."""
        if response.headers.get("Content-Encoding", "identity") != "identity":
            raise RetryLater(f"{response.status_code}, an answer that is compressed, which was not asked for")
        deadline, content = time.monotonic() + self._settings.read_timeout_s, bytearray()
        while piece := response.raw.read1(_PIECE_BYTES):
            content += piece
            if len(content) > MAX_ANSWER_BYTES:
                raise RetryLater(f"{response.status_code}, an answer of more than {MAX_ANSWER_BYTES} bytes")
            if time.monotonic() > deadline:
                raise RetryLater(f"an answer that does not end within {self._settings.read_timeout_s:g} s")
        return bytes(content)


class _MeteredAdapter(HTTPAdapter):
    """One connection, whose answers must have begun and ended their head in time, and be no flood."""

    def __init__(self, head_s: float) -> None:
        self._head_s = head_s
        super().__init__(pool_connections=1, pool_maxsize=1)

    def init_poolmanager(self, *args: Any, **kwargs: Any) -> None:
        head_s = self._head_s

        class HeadInTime(MeteredAnswer, HTTPResponse):
            def head_bounds(self) -> AnswerBounds:
                return AnswerBounds(MOST_HEAD_BYTES, head_s)

        plain = type("_Plain", (HTTPConnectionPool.ConnectionCls,), {"response_class": HeadInTime})
        tls = type("_Tls", (HTTPSConnectionPool.ConnectionCls,), {"response_class": HeadInTime})
        super().init_poolmanager(*args, **kwargs)
        self.poolmanager.pool_classes_by_scheme = {
            "http": type("_PlainPool", (HTTPConnectionPool,), {"ConnectionCls": plain}),
            "https": type("_TlsPool", (HTTPSConnectionPool,), {"ConnectionCls": tls}),
        }


class _WrongAnswers:
    """Counts the answers that cannot be: a few may be a proxy's or a restart's, more are the server's own word."""

    def __init__(self, url: SecretUrl, check: Callable[[_Answer], None]) -> None:
        self._url = url
        self._check = check
        self._left = WRONG_ANSWERS

    def judge(self, answer: _Answer) -> _Answer:
        """The answer, if it can be; else raises RetryLater a few times, then ContractError."""
        try:
            self._check(answer)
        except _WrongAnswer as error:
            self._left -= 1
            if self._left <= 0:
                raise ContractError(f"{self._url} {error}") from error
            raise RetryLater(str(error)) from error
        return answer


class _WrongAnswer(Exception):
    """This is no answer of TensorFlow Serving to what was asked; the text goes on after the server's URL."""


def _check_scores(answer: _Answer, expected: int) -> None:
    if 300 <= answer.status < 400:
        raise _WrongAnswer(f"answered a redirection ({answer.status}), which no model server does")
    if answer.status != 200:
        return
    predictions = answer.document.get("predictions") if isinstance(answer.document, dict) else None
    if not isinstance(predictions, list) or len(predictions) != expected:
        raise _WrongAnswer(f"answered no {expected} predictions but {one_line(answer.text, 200)!r}")
    for score in predictions:
        # A boolean is an int; NaN is in no interval.
        if isinstance(score, bool) or not isinstance(score, int | float) or not 0 <= score <= 1:
            raise _WrongAnswer(f"answered the score {one_line(json.dumps(score), 40)}, not one in [0, 1]")


def _scores(answer: _Answer, expected: int) -> list[float]:
    _check_scores(answer, expected)
    return [float(score) for score in answer.document["predictions"]]


def _version_state(line: dict[str, Any]) -> ServedVersion:
    status = line.get("status") or {}
    code, message = status.get("error_code", "OK"), status.get("error_message", "")
    return ServedVersion(int(line["version"]), line["state"], "" if code in ("OK", 0) else f"{code}: {message}")


def _request_body(signature: str, images: Sequence[bytes]) -> bytes:
    """The JSON of a row-form predict request, put together by hand: json.dumps would scan 6 MB for escapes."""
    items = [b'{"b64":"%b"}' % binascii.b2a_base64(pixels, newline=False) for pixels in images]
    return b'{"signature_name":"%b","instances":[%b]}' % (signature.encode(), b",".join(items))


def _innermost(error: BaseException) -> BaseException:
    """The first cause, which requests and urllib3 wrap three times."""
    while True:
        inner = getattr(error, "reason", None) or (error.args[0] if error.args else None)
        if not isinstance(inner, BaseException):
            return error
        error = inner
