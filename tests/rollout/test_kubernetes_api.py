"""What the Kubernetes API answers when it is busy, somebody else writes, or it is not the API at all."""

from __future__ import annotations

import itertools
import json
import time
from collections.abc import Callable, Iterator
from typing import Any

import pytest
from kubernetes import client
from support.http_server import HttpAnswer, HttpRequest, HttpServer
from support.kubernetes_api import KubernetesServer

from sniffer.core.errors import ContractError, TransientError
from sniffer_rollout.targets.kubernetes import DIGEST_ANNOTATION, KubernetesTarget
from sniffer_rollout.targets.kubernetes_api import KubernetesApi

PATH = "/api/v1/namespaces/sniffer/configmaps/tf-serving-aspired"


class Answers(HttpServer):
    """Gives these answers in turn, then the last one for ever."""

    def __init__(self) -> None:
        self.turns: Iterator[HttpAnswer] = iter(())
        self.asked: list[str] = []
        super().__init__()

    def give(self, *answers: HttpAnswer) -> None:
        self.turns = itertools.chain(answers, itertools.repeat(answers[-1]))

    def respond(self, request: HttpRequest) -> HttpAnswer:
        self.asked.append(request.method)
        return next(self.turns)


def answer(status: int, **body: Any) -> HttpAnswer:
    return HttpAnswer(status, json.dumps(body).encode(), [("Content-Type", "application/json")])


def refusal(status: int, message: str, **fields: Any) -> HttpAnswer:
    return answer(status, kind="Status", message=message, code=status, **fields)


@pytest.fixture
def server() -> Iterator[Answers]:
    with Answers() as found:
        yield found


def api_of(server: HttpServer, patience_s: float = 5.0) -> KubernetesApi:
    configuration = client.Configuration(host=server.url)
    configuration.retries = 0
    return KubernetesApi(client.ApiClient(configuration), patience_s)


ASKED: list[Callable[[KubernetesApi], object]] = [
    lambda api: api.get(PATH),
    lambda api: api.apply(PATH, {}, force=False),
    lambda api: api.apply(PATH, {}, force=True),
    lambda api: api.merge(PATH, {}),
    lambda api: api.delete(PATH),
]
WROTE = "Operation cannot be fulfilled on configmaps: the object has been modified; please apply your changes again"


@pytest.mark.parametrize("ask", ASKED)
@pytest.mark.parametrize(
    "passing",
    [
        refusal(429, "too many requests"),
        refusal(500, "etcdserver: request timed out"),
        refusal(504, "Timeout: request did not complete within requested timeout"),
        refusal(409, WROTE, reason="Conflict"),
        refusal(409, "configmaps already exists", reason="AlreadyExists", details={"name": "x"}),
        HttpAnswer(200, b"<html>please sign in</html>", [("Content-Type", "text/html")]),
        *(HttpAnswer(status, b"<html>no</html>", [("Content-Type", "text/html")]) for status in (401, 403, 404, 422)),
        *(HttpAnswer(status, b"\xff\xfe", [("Content-Type", "text/html")]) for status in (200, 404)),
        HttpAnswer(200, b"{}", [("Content-Type", "application/json; charset=klingon")]),
        HttpAnswer(404, b"404 page not found", [("Content-Type", "text/plain")]),
        HttpAnswer(404, b'{"error": "no such route"}', [("Content-Type", "application/json")]),
    ],
    ids=[
        *("429", "500", "504", "written meanwhile", "made meanwhile", "a proxy's page"),
        *(
            "its 401",
            "its 403",
            "its 404",
            "its 422",
            "its bytes",
            "its 404 of bytes",
            "its charset",
            "its plain 404",
            "its 404 in JSON",
        ),
    ],
)
def test_what_passes_is_asked_again(
    server: Answers, ask: Callable[[KubernetesApi], object], passing: HttpAnswer
) -> None:
    server.give(passing, answer(200, kind="ConfigMap", metadata={}))
    ask(api_of(server))
    assert len(server.asked) == 2


def test_what_does_not_pass_ends_with_what_the_api_said(server: Answers) -> None:
    server.give(refusal(409, WROTE, reason="Conflict"))
    with pytest.raises(TransientError, match="the object has been modified"):
        api_of(server, patience_s=0.3).apply(PATH, {}, force=True)


def test_a_proxys_404_is_no_proof_that_nothing_is_there(server: Answers) -> None:
    server.give(HttpAnswer(404, b"<html>no backend</html>", [("Content-Type", "text/html")]))
    for ask in (KubernetesApi.find, KubernetesApi.delete):
        with pytest.raises(TransientError, match="answered by 404 .* not Kubernetes' own word.*run this step again"):
            ask(api_of(server, patience_s=0.2), PATH)
    server.give(refusal(404, "not found", reason="NotFound"))
    assert api_of(server).find(PATH) is None and not api_of(server).delete(PATH)


def test_what_is_no_object_of_kubernetes_is_an_error_in_words(server: Answers) -> None:
    server.give(answer(200, ok=True))
    with pytest.raises(ContractError, match=r"GET .* is answered by no object of Kubernetes: \{'ok': True\}"):
        api_of(server).get(PATH)
    for body in ({"ok": True}, {"items": None}, {"items": {"a": 1}}):
        server.give(answer(200, **body))
        with pytest.raises(ContractError, match="is answered by no list of Kubernetes"):
            api_of(server).list_all(PATH)


def busy(after: str) -> HttpAnswer:
    body = json.dumps({"kind": "Status", "message": "too many requests", "code": 429}).encode()
    return HttpAnswer(429, body, [("Content-Type", "application/json"), ("Retry-After", after)])


def test_a_busy_api_is_left_alone_for_as_long_as_it_asks(server: Answers) -> None:
    server.give(busy("1"), answer(200, metadata={}))
    began = time.monotonic()
    api_of(server).get(PATH)
    assert time.monotonic() - began >= 1 and len(server.asked) == 2


@pytest.mark.parametrize("after", ["86400", "1e300", "nan", "-5", "Wed, 21 Oct 2099 07:28:00 GMT", ""])
def test_it_is_not_waited_for_beyond_our_patience(server: Answers, after: str) -> None:
    server.give(busy(after))
    began = time.monotonic()
    with pytest.raises(TransientError, match="429 too many requests"):
        api_of(server, patience_s=0.4).get(PATH)
    assert time.monotonic() - began < 5


def test_a_long_list_is_read_page_by_page_and_anew_when_it_has_changed_too_much() -> None:
    with KubernetesServer() as api:
        api.nodes, api.page, api.expired = [{"metadata": {"name": str(number)}} for number in range(7)], 3, 2
        found = api_of(api).list_all("/api/v1/nodes")
        assert [each["metadata"]["name"] for each in found] == list("0123456") and api.expired == 0
        api.expired = 10**9
        with pytest.raises(TransientError, match="the list has changed while it was read: .*410"):
            api_of(api, patience_s=0.3).list_all("/api/v1/nodes")


def test_a_field_of_somebody_else_is_told_at_once(server: Answers) -> None:
    cause = {"reason": "FieldManagerConflict", "field": ".data.aspired.json"}
    server.give(refusal(409, "Apply failed with 1 conflict", reason="Conflict", details={"causes": [cause]}))
    with pytest.raises(ContractError, match="--force-conflicts"):
        api_of(server).apply(PATH, {}, force=False)
    assert len(server.asked) == 1


def test_a_policy_that_refuses_an_annotation_costs_a_minute_and_not_the_rollout(
    server: Answers, caplog: pytest.LogCaptureFixture
) -> None:
    server.give(refusal(422, "pods is forbidden: ValidatingAdmissionPolicy denied request", reason="Invalid"))
    target = KubernetesTarget(api_of(server), "sniffer", "tf-serving", config_map="tf-serving-aspired")
    target._annotate({"metadata": {"name": "tf-serving-1"}}, "abc")
    assert "denied request; pod tf-serving-1 will see the change within a minute or two" in caplog.text
    assert DIGEST_ANNOTATION not in caplog.text
