"""The doctor: what real systems promise and do not promise, a line each, with the way out."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from support.airflow_api import AirflowStandIn
from support.fleet import Fleet
from support.kubernetes_api import KubernetesServer, Pod
from support.scratch_bucket import ScratchBucket

from sniffer.doctor import checks
from sniffer.doctor.__main__ import CHECKS, PROGRAM, examine
from sniffer.doctor.checks import Surroundings
from sniffer.doctor.findings import Finding, FindingState, describe

OK, WRONG, NOT_CONFIGURED = FindingState


def about(system: str, environ: dict[str, str], bucket: str | None = None) -> list[Finding]:
    return [found for found in examine(Surroundings(environ, bucket)) if found.system == system]


def states(findings: list[Finding]) -> list[FindingState]:
    return [found.state for found in findings]


def test_without_settings_everything_is_not_configured_and_says_how_to() -> None:
    findings = examine(Surroundings({}))
    assert [found.system for found in findings] == list(CHECKS)
    assert {found.state for found in findings} == {NOT_CONFIGURED}
    assert all("SNIFFER_" in found.text for found in findings)
    assert describe(findings).splitlines()[-1].startswith("nothing was asked, since nothing is configured here")


def test_a_whole_fleet_is_well(fleet: Fleet) -> None:
    fleet.fill(2)
    findings = examine(Surroundings(fleet.environ, fleet.bucket.name))
    by_system = {system: [f for f in findings if f.system == system] for system in CHECKS}
    assert states(by_system[checks.S3]) == [OK, OK]
    assert "was read" in by_system[checks.S3][1].text
    assert states(by_system[checks.MYSQL]) == [OK] * 4
    assert "model version 1 is stable" in by_system[checks.MYSQL][3].text
    assert states(by_system[checks.SERVING]) == [OK, OK]
    assert "serves version 1" in by_system[checks.SERVING][0].text


def test_the_bucket_of_the_model_base_is_asked_unless_another_is_named(bucket: ScratchBucket) -> None:
    [found, empty] = about(checks.S3, {"SNIFFER_MODEL_BASE_PATH": f"s3://{bucket.name}/models"})
    assert (found.state, empty.state) == (OK, OK)
    assert "is empty" in empty.text
    [missing] = about(checks.S3, {"SNIFFER_MODEL_BASE_PATH": f"s3://{bucket.name}/models"}, "no-such-bucket")
    assert missing.state is WRONG
    assert "does not exist: check the name" in missing.text


def test_an_object_larger_than_any_image_may_be_is_still_a_get_that_worked(bucket: ScratchBucket) -> None:
    bucket.put("large", b"x" * 100)
    found = about(checks.S3, {"SNIFFER_MAX_IMAGE_BYTES": "10"}, bucket.name)
    assert states(found) == [OK, OK]


def test_a_database_without_our_tables_is_wrong_and_shows_no_password(database_url: str) -> None:
    answers, tables = about(checks.MYSQL, {"SNIFFER_DATABASE_URL": database_url})
    assert (answers.state, tables.state) == (OK, WRONG)
    assert "run `sniffer migrate`" in tables.text
    assert database_url.split(":")[2].split("@")[0] not in answers.text + tables.text


def test_what_does_not_answer_is_wrong_and_the_others_are_asked_all_the_same() -> None:
    environ = {
        "SNIFFER_DATABASE_URL": "mysql+mysqldb://u:sesame@127.0.0.1:1/d",
        "SNIFFER_SERVING_URL": "http://127.0.0.1:1/v1/models/m",
        "SNIFFER_AIRFLOW_URL": "http://u:sesame@127.0.0.1:1",
        "SNIFFER_ROLLOUT_TARGET": "kubernetes:nonsense",
    }
    findings = examine(Surroundings(environ))
    assert states(findings) == [NOT_CONFIGURED, WRONG, WRONG, WRONG, WRONG]
    assert describe(findings).splitlines()[-1] == "4 of 4 findings are wrong"
    assert all("does not answer" in found.text for found in findings[1:4])
    assert not any("sesame" in found.text for found in findings)


def test_wrong_settings_are_wrong(monkeypatch: pytest.MonkeyPatch) -> None:
    for environ in ({"SNIFFER_DATABASE_URL": "postgres://h/d"}, {"SNIFFER_SERVING_URL": "http://[h"}):
        assert WRONG in states(examine(Surroundings(environ)))


def test_a_model_that_nobody_serves_is_wrong(fleet: Fleet) -> None:
    url = fleet.environ["SNIFFER_SERVING_URL"].replace("drug_detector", "another")
    [found] = about(checks.SERVING, {"SNIFFER_SERVING_URL": url})
    assert found.state is WRONG
    assert "serves no version of that model" in found.text


def test_the_program_has_status_and_json(
    fleet: Fleet, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    for name in ("SNIFFER_AIRFLOW_URL", "SNIFFER_ROLLOUT_TARGET", "SNIFFER_MODEL_BASE_PATH"):
        monkeypatch.delenv(name, raising=False)
    for name, value in fleet.environ.items():
        monkeypatch.setenv(name, value)
    assert PROGRAM.main(["--json"]) == 0
    document = json.loads(capsys.readouterr().out)
    assert document["ok"] is True
    assert {found["system"] for found in document["findings"]} == set(CHECKS)
    monkeypatch.setenv("SNIFFER_SERVING_URL", "http://127.0.0.1:1/v1/models/m")
    assert PROGRAM.main([]) == 1
    assert "\nwrong           model server  the model server at http" in capsys.readouterr().out


# ---- Airflow ----------------------------------------------------------------------------------------------------


@pytest.fixture
def airflow() -> Iterator[AirflowStandIn]:
    with AirflowStandIn() as server:
        yield server


def url_of(airflow: AirflowStandIn, password: str = "p%40ss%2Fword") -> dict[str, str]:
    return {"SNIFFER_AIRFLOW_URL": f"http://admin:{password}@{airflow.place}"}


def test_airflow_is_asked_for_what_the_dags_use(airflow: AirflowStandIn) -> None:
    airflow.connections |= {"aws_default", "mysql_default"}
    airflow.variables |= set(checks.VARIABLES)
    findings = about(checks.AIRFLOW, url_of(airflow))
    assert states(findings) == [OK, OK, OK, NOT_CONFIGURED, OK]
    assert "`airflow connections add sniffer_serving …`" in findings[3].text
    assert "AIRFLOW_CONN_SNIFFER_SERVING" in findings[3].text


def test_a_part_of_airflow_that_does_not_run_and_a_broken_file_are_wrong(airflow: AirflowStandIn) -> None:
    airflow.health |= {"triggerer": None, "scheduler": "unhealthy"}
    airflow.broken_files.append("scan_bucket.py")
    findings = about(checks.AIRFLOW, url_of(airflow))
    assert states(findings)[:2] == [WRONG, WRONG]
    assert "scheduler is unhealthy, triggerer is not running" in findings[0].text
    assert "scan_bucket.py" in findings[1].text


def test_a_login_or_role_that_airflow_refuses_is_wrong(airflow: AirflowStandIn) -> None:
    findings = about(checks.AIRFLOW, url_of(airflow, "sesame"))
    assert findings[-1].state is WRONG
    assert "refuses the login of admin" in findings[-1].text
    assert "sesame" not in findings[-1].text
    airflow.role_is_enough = False
    assert "give it the role Op" in about(checks.AIRFLOW, url_of(airflow))[-1].text


def test_an_airflow_that_fails_is_not_taken_for_one_that_has_everything(airflow: AirflowStandIn) -> None:
    airflow.is_broken = True
    findings = about(checks.AIRFLOW, url_of(airflow))
    assert states(findings) == [OK, OK, WRONG]
    assert "does not answer like Airflow 3 (500)" in findings[-1].text


def test_what_is_no_airflow_is_wrong(fleet: Fleet) -> None:
    place = fleet.environ["SNIFFER_SERVING_URL"].split("/")[2]
    [found] = about(checks.AIRFLOW, {"SNIFFER_AIRFLOW_URL": f"http://a:b@{place}"})
    assert found.state is WRONG
    assert "does not answer like Airflow 3" in found.text


def test_the_names_are_those_of_the_dags() -> None:
    names: Any = pytest.importorskip("sniffer_airflow.names")
    assert checks.CONNECTIONS == (names.AWS_CONNECTION, names.MYSQL_CONNECTION, names.SERVING_CONNECTION)
    assert checks.VARIABLES == (names.BUCKET_VARIABLE, names.TRAINING_DIR_VARIABLE, names.MODEL_BASE_VARIABLE)


# ---- Kubernetes -------------------------------------------------------------------------------------------------


@pytest.fixture
def kubernetes(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[tuple[KubernetesServer, dict[str, str]]]:
    """The API, with two running pods, and the settings that lead to it."""
    monkeypatch.delenv("KUBERNETES_SERVICE_HOST", raising=False)
    with KubernetesServer() as api:
        labels = {"app.kubernetes.io/name": "tf-serving"}
        api.pods += [Pod(f"tf-serving-{port}", port, tmp_path, labels) for port in (8501, 8502)]
        config = {
            "apiVersion": "v1",
            "kind": "Config",
            "current-context": "main",
            "clusters": [{"name": "main", "cluster": {"server": api.url}}],
            "users": [{"name": "main", "user": {"token": "a"}}],
            "contexts": [{"name": "main", "context": {"cluster": "main", "user": "main"}}],
        }
        kubeconfig = tmp_path / "kubeconfig"
        kubeconfig.write_text(json.dumps(config))
        yield api, {"SNIFFER_ROLLOUT_TARGET": "kubernetes:sniffer/tf-serving", "KUBECONFIG": str(kubeconfig)}


def test_kubernetes_is_asked_for_servers_and_rights(kubernetes: tuple[KubernetesServer, dict[str, str]]) -> None:
    _api, environ = kubernetes
    findings = about(checks.KUBERNETES, environ)
    assert states(findings) == [OK, OK]
    assert "2 of 2 model servers of kubernetes:sniffer/tf-serving run" in findings[0].text


def test_missing_servers_and_rights_are_wrong(kubernetes: tuple[KubernetesServer, dict[str, str]]) -> None:
    api, environ = kubernetes
    api.pods.pop()
    api.denied |= {"patch configmaps", "create deployments"}
    servers, rights = about(checks.KUBERNETES, environ)
    assert (servers.state, rights.state) == (WRONG, WRONG)
    assert "1 of 2 model servers" in servers.text
    denied = "patch configmaps tf-serving-aspired, patch configmaps tf-serving-aspired-canary, create deployments"
    assert f"{denied}: apply k8s/base/rbac.yaml" in rights.text


def test_a_deployment_that_is_not_there_is_wrong(kubernetes: tuple[KubernetesServer, dict[str, str]]) -> None:
    _api, environ = kubernetes
    [found] = about(checks.KUBERNETES, environ | {"SNIFFER_ROLLOUT_TARGET": "kubernetes:sniffer/nobody"})
    assert found.state is WRONG
    assert "there is no Deployment nobody in namespace sniffer" in found.text
