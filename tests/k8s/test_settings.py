"""Settings, secrets and images: each in one place, known to the code, and nothing of anybody's in git."""

from __future__ import annotations

import re
import tomllib
from collections.abc import Iterator, Mapping
from pathlib import Path

import pytest
import yaml
from support.imports import CHECKOUT
from support.manifests import Manifests, Render, Resource

from sniffer.adapters.mysql.grants import ROLES
from sniffer.core import settings as code
from sniffer.core.settings import DatabaseSettings, FleetSettings, ImageSettings, RolloutSettings, ServingSettings

# What an installation adds to settings.env and to the Secret.
FILLED_IN = {"SNIFFER_MODEL_BASE_PATH": "s3://models/drug_detector"}
FROM_SECRET = {"SNIFFER_DATABASE_URL": "mysql+mysqldb://sniffer:secret@mysql/sniffer"}


DATABASE_ROLES = {
    "sniffer-fleet": "scan",
    "sniffer-trainer": "trainer",
    "sniffer-rollout": "rollout",
    "sniffer-migrate": "migrate",
    "sniffer-review": "review",
}
"""Service account → role in MySQL; Airflow itself is the reader."""


class Watched(Mapping[str, str]):
    """An environment that remembers which names were asked for."""

    def __init__(self, values: Mapping[str, str]) -> None:
        self.values_ = values
        self.asked: set[str] = set()

    def __getitem__(self, name: str) -> str:
        self.asked.add(name)
        return self.values_[name]

    def __iter__(self) -> Iterator[str]:
        return iter(self.values_)

    def __len__(self) -> int:
        return len(self.values_)


def read_all(
    environ: Mapping[str, str],
) -> tuple[DatabaseSettings, ServingSettings, ImageSettings, FleetSettings, RolloutSettings]:
    """Everything that any of our programs reads from its environment."""
    return (
        code.database_settings(environ),
        code.serving_settings(environ),
        code.image_settings(environ),
        code.fleet_settings(environ),
        code.rollout_settings(environ),
    )


def test_every_setting_is_one_that_the_code_reads(settings: dict[str, str]) -> None:
    environ = Watched({**settings, **FILLED_IN, **FROM_SECRET})
    read_all(environ)
    assert settings.keys() <= environ.asked


def test_a_batch_may_wait_as_long_as_the_servers_it_needs(settings: dict[str, str]) -> None:
    environ = {**settings, **FILLED_IN, **FROM_SECRET}
    database, serving, _, fleet, _ = read_all(environ)
    assert fleet.work_limit_s > serving.patience_s + serving.read_timeout_s + database.patience_s
    assert fleet.no_progress_s > fleet.work_limit_s


def test_the_urls_name_what_is_there(settings: dict[str, str], overlay: Manifests) -> None:
    serving = code.serving_settings(settings)
    match = re.fullmatch(r"http://([\w-]+):(\d+)/v1/models/drug_detector", serving.url.reveal())
    assert match
    host, port = match.groups()
    assert int(port) in [each["port"] for each in overlay.get("Service", host)["spec"]["ports"]]
    target = code.rollout_settings({**settings, **FILLED_IN}).target
    namespace, name = target.removeprefix("kubernetes:").split("/")
    assert overlay.get("Deployment", name)["metadata"]["namespace"] == namespace


def test_what_an_installation_must_fill_in_is_empty_in_git(settings: dict[str, str], render: Render) -> None:
    assert settings["SNIFFER_MODEL_BASE_PATH"] == ""
    assert render("fleet").get("ConfigMap", "sniffer-scan")["data"]["SCAN_BUCKET"] == ""


def test_every_name_in_an_argument_is_in_the_containers_environment(
    manifests: Manifests, settings: dict[str, str], render: Render
) -> None:
    maps = {each["metadata"]["name"]: each.get("data", {}) for each in manifests.of_kind("ConfigMap")}
    maps |= {"sniffer-settings": settings, "sniffer-scan": render("fleet").get("ConfigMap", "sniffer-scan")["data"]}
    for container in manifests.containers():
        given = {each["name"] for each in container.get("env", [])}
        given |= {name for source in config_maps_of(container) for name in maps[source]}
        used = set(re.findall(r"\$\((\w+)\)", " ".join(container.get("args", []))))
        assert used <= given, container["name"]


def config_maps_of(container: Resource) -> list[str]:
    """The ConfigMaps that a container takes its environment from."""
    return [each["configMapRef"]["name"] for each in container.get("envFrom", []) if "configMapRef" in each]


def test_config_maps_secrets_and_accounts_that_pods_name_are_there_or_known(everything: Manifests) -> None:
    config_maps = {each["metadata"]["name"] for each in everything.of_kind("ConfigMap")}
    accounts = {each["metadata"]["name"] for each in everything.of_kind("ServiceAccount")}
    claims = {each["metadata"]["name"] for each in everything.of_kind("PersistentVolumeClaim")}
    classes = {each["metadata"]["name"] for each in everything.of_kind("PriorityClass")} | {None}
    secrets = set()
    for _, pod in everything.pods():
        spec = pod["spec"]
        assert spec["serviceAccountName"] in accounts
        assert spec.get("priorityClassName") in classes
        for volume in spec["volumes"]:
            config_map = volume.get("configMap", {"optional": True})
            assert config_map.get("optional") or config_map["name"] in config_maps
            assert volume.get("persistentVolumeClaim", {}).get("claimName") in {*claims, None}
            secrets |= {volume["secret"]["secretName"]} if "secret" in volume else set()
    for container in everything.containers():
        assert set(config_maps_of(container)) <= config_maps
        named = [each["valueFrom"]["secretKeyRef"] for each in container.get("env", []) if "valueFrom" in each]
        needed = [each for each in named if not each.get("optional", False)]
        assert all(each["key"] == "SNIFFER_DATABASE_URL" for each in needed)
        secrets |= {each["name"] for each in needed}
    assert secrets == {*(f"sniffer-database-{role}" for role in DATABASE_ROLES.values()), "sniffer-curve"}


def test_every_pod_gets_the_database_of_its_role_and_no_other(everything: Manifests) -> None:
    """By its service account: programs of one role share one Secret, and nobody has that of the migration."""
    found: dict[str, set[str]] = {account: set() for account in DATABASE_ROLES}
    for _, pod in everything.pods():
        spec = pod["spec"]
        for container in [*spec.get("initContainers", []), *spec["containers"]]:
            for each in container.get("env", []):
                if each["name"] == "SNIFFER_DATABASE_URL":
                    found[spec["serviceAccountName"]].add(each["valueFrom"]["secretKeyRef"]["name"])
    assert found == {account: {f"sniffer-database-{role}"} for account, role in DATABASE_ROLES.items()}
    of_people = {"sniffer_reader", "sniffer_retention", "sniffer_decide"}
    assert {f"sniffer_{role}" for role in DATABASE_ROLES.values()} == {role.name for role in ROLES} - of_people


def test_secrets_that_may_be_missing_are_optional_and_each_accounts_own(everything: Manifests) -> None:
    found = {}
    for name, pod in everything.pods():
        spec = pod["spec"]
        for container in [*spec.get("initContainers", []), *spec["containers"]]:
            for each in container.get("envFrom", []):
                if "secretRef" in each:
                    assert each["secretRef"]["optional"] is True, name
                    found[each["secretRef"]["name"]] = spec["serviceAccountName"]
            for each in container.get("env", []):
                if "secretKeyRef" in each.get("valueFrom", {}) and each["name"] != "SNIFFER_DATABASE_URL":
                    assert each["valueFrom"]["secretKeyRef"]["optional"] is True, name
                    found[each["valueFrom"]["secretKeyRef"]["name"]] = spec["serviceAccountName"]
    assert found == {
        "sniffer-aws-fleet": "sniffer-fleet",
        "sniffer-aws-trainer": "sniffer-trainer",
        "sniffer-aws-rollout": "sniffer-rollout",
        "sniffer-aws-serving": "tf-serving",
        "sniffer-aws-review": "sniffer-review",
        "sniffer-review": "sniffer-review",
        "sniffer-review-coop": "sniffer-review",
    }


def test_every_program_that_needs_the_database_gets_its_url(everything: Manifests) -> None:
    for container in everything.containers():
        needs = container["name"] not in ("tf-serving", "sync-models", "sync-models-once")
        assert ("SNIFFER_DATABASE_URL" in {each["name"] for each in container.get("env", [])}) == needs


def test_the_two_halves_of_the_fleet_get_their_keys_and_not_each_others(render: Render) -> None:
    fleet = render("fleet")
    files = {}
    for name, others in (("sniffer-producer", "consumer.key"), ("sniffer-consumer", "producer.key")):
        spec = fleet.get("Job", name)["spec"]["template"]["spec"]
        (volume,) = [each["secret"] for each in spec["volumes"] if "secret" in each]
        given = {each["path"] for each in volume["items"]}
        assert others not in given
        env = {each["name"]: each.get("value", "") for each in spec["containers"][0]["env"]}
        files[name] = {key: Path(value).name for key, value in env.items() if key.startswith("SNIFFER_CURVE_")}
        assert set(files[name].values()) == given
    assert (
        files["sniffer-producer"]["SNIFFER_CURVE_PUBLIC_FILE"] == files["sniffer-consumer"]["SNIFFER_CURVE_SERVER_FILE"]
    )
    assert "SNIFFER_CURVE_CLIENTS_FILE" in files["sniffer-producer"]


def test_no_secret_is_in_git(k8s: Path, everything: Manifests) -> None:
    assert everything.of_kind("Secret") == []
    for path in k8s.rglob("*.yaml"):
        assert "secretGenerator" not in path.read_text(), path
    for path in [*k8s.rglob("*.yaml"), *k8s.rglob("*.env")]:
        assert not re.search(r"AKIA[0-9A-Z]{16}|://[^:/@\s$]+:[^@\s$]+@|BEGIN [A-Z ]*PRIVATE KEY", path.read_text()), (
            path
        )


def test_every_image_has_a_tag_that_stays(manifests: Manifests) -> None:
    for container in manifests.containers():
        tag = container["image"].rpartition(":")[2]
        assert tag != container["image"] and tag != "latest", container["image"]


@pytest.fixture(scope="module")
def images(k8s: Path) -> dict[str, Resource]:
    """The one place for images: name in the manifests → entry."""
    entries = yaml.safe_load((k8s / "components" / "images" / "kustomization.yaml").read_text())["images"]
    return {entry["name"]: entry for entry in entries}


def test_images_are_tagged_in_one_place_and_all_of_them_are_used(k8s: Path, images: dict[str, Resource]) -> None:
    named = set()
    for path in k8s.rglob("*.yaml"):
        named |= set(re.findall(r"^\s*-? ?image: (\S+)", path.read_text(), re.MULTILINE))
    assert named == images.keys()


def test_our_images_have_the_projects_version(images: dict[str, Resource], k8s: Path) -> None:
    version = tomllib.loads((CHECKOUT / "pyproject.toml").read_text())["project"]["version"]
    airflow = yaml.safe_load((k8s / "airflow-values.yaml").read_text())["images"]["airflow"]
    ours = {name: entry["newTag"] for name, entry in images.items() if name.startswith("sniffer-bot/")}
    assert {*ours.values(), airflow["tag"]} == {version}


def test_the_model_server_is_of_one_version(images: dict[str, Resource]) -> None:
    tags = [entry["newTag"].removesuffix("-gpu") for name, entry in images.items() if name.startswith("tensorflow/")]
    assert len(tags) == 2 and len(set(tags)) == 1
