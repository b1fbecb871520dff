"""What the Kubernetes API answers when it is busy, somebody else writes, or it is not the API at all."""

from __future__ import annotations

import itertools
import json
from collections.abc import Callable, Iterator
from typing import Any

import pytest
from kubernetes import client
from support.http_server import HttpAnswer, HttpRequest, HttpServer

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


def api_of(server: Answers, patience_s: float = 5.0) -> KubernetesApi:
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
    ],
    ids=["429", "500", "504", "written meanwhile", "made meanwhile", "a proxy's page"],
)
def test_what_passes_is_asked_again(
    server: Answers, ask: Callable[[KubernetesApi], object], passing: HttpAnswer
) -> None:
    server.give(passing, answer(200, kind="ConfigMap"))
    ask(api_of(server))
    assert len(server.asked) == 2


def test_what_does_not_pass_ends_with_what_the_api_said(server: Answers) -> None:
    server.give(refusal(409, WROTE, reason="Conflict"))
    with pytest.raises(TransientError, match="the object has been modified"):
        api_of(server, patience_s=0.3).apply(PATH, {}, force=True)


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
