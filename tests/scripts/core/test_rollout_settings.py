"""Where to roll out, from the environment."""

from __future__ import annotations

import pytest

from sniffer.core.errors import SettingsError
from sniffer.core.redaction import SecretUrl
from sniffer.core.settings import rollout_settings

GIVEN = {"SNIFFER_ROLLOUT_TARGET": "local:/srv/serving", "SNIFFER_MODEL_BASE_PATH": "s3://models/prefix"}


def test_flags_stand_above_the_environment() -> None:
    assert rollout_settings(GIVEN).target == "local:/srv/serving"
    assert rollout_settings(GIVEN).model_base == "s3://models/prefix"
    chosen = rollout_settings(GIVEN, target="kubernetes:a/b", model_base="/models")
    assert (chosen.target, chosen.model_base) == ("kubernetes:a/b", "/models")


def test_only_in_kubernetes_a_step_without_files_of_its_own_needs_no_model_base() -> None:
    cluster = {"SNIFFER_ROLLOUT_TARGET": "kubernetes:a/b"}
    assert rollout_settings(cluster, needs_files=False, model_base="").model_base == ""
    assert rollout_settings(cluster | {"SNIFFER_MODEL_BASE_PATH": "s3://m"}, needs_files=False).model_base == "s3://m"
    for target, needs_files in (("local:/srv", False), ("kubernetes:a/b", True)):
        with pytest.raises(SettingsError, match="SNIFFER_MODEL_BASE_PATH"):
            rollout_settings({}, target=target, needs_files=needs_files)


@pytest.mark.parametrize(
    ("environ", "replicas"),
    [
        ({}, ()),
        ({"SNIFFER_SERVING_URL": "https://h:1/v1/models/m"}, ("https://h:1",)),
        ({"SNIFFER_SERVING_URL": "http://h/proxy/v1/models/m/"}, ("http://h/proxy",)),
        ({"SNIFFER_SERVING_REPLICAS": "http://a:1/, http://b:2"}, ("http://a:1", "http://b:2")),
        (
            {"SNIFFER_SERVING_URL": "http://h:1/v1/models/m", "SNIFFER_SERVING_REPLICAS": "http://a:1"},
            ("http://a:1",),
        ),
    ],
)
def test_the_replicas_are_listed_or_the_one_that_scans_ask(environ: dict[str, str], replicas: tuple[str, ...]) -> None:
    assert rollout_settings(GIVEN | environ).replicas == tuple(map(SecretUrl, replicas))


@pytest.mark.parametrize(
    ("environ", "message"),
    [
        ({"SNIFFER_ROLLOUT_TARGET": ""}, "SNIFFER_ROLLOUT_TARGET is not set"),
        ({"SNIFFER_MODEL_BASE_PATH": " "}, "SNIFFER_MODEL_BASE_PATH is not set"),
        ({"SNIFFER_SERVING_REPLICAS": "a:1"}, "must be like http"),
        ({"SNIFFER_SERVING_REPLICAS": "http://a:1/v1/models/m"}, "must be like http"),
        ({"SNIFFER_ROLLOUT_LOAD_LIMIT_S": "0"}, "at least 1"),
        ({"SNIFFER_ROLLOUT_PATIENCE_S": "soon"}, "must be a number"),
    ],
)
def test_what_is_missing_or_wrong_is_named(environ: dict[str, str], message: str) -> None:
    with pytest.raises(SettingsError, match=message):
        rollout_settings(GIVEN | environ)
