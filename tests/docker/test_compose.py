"""docker-compose.yaml: valid, closed to the outside, pinned, in the right order, and told what the code understands."""

from __future__ import annotations

import contextlib
import importlib
import importlib.resources
import io
import json
import re
import shlex
from pathlib import PurePath
from typing import Any

import jsonschema
import pytest
import yaml
from support.compose import ComposeService, Services, env_file
from support.dockerfile import Stage
from support.imports import CHECKOUT
from support.load_script import load_script
from support.parsed_flags import parsed_by
from support.serve_flags import parse_flags

from sniffer_local import sample_bucket, sample_labels

ONE_SHOTS = {"prepare", "sample-data", "migrate", "airflow-init"}
THIRD_PARTIES = {"mysql", "s3", "tf-serving"}
BY_HAND = {"cli"}
"""Started by whoever wants one."""

# Flags of the real server that ours does without: model_servers/main.cc of TensorFlow Serving 2.20.
TENSORFLOW_SERVINGS_OWN = {"--port", "--grpc_socket_path", "--num_load_threads"}


AIRFLOWS = ("api-server", "scheduler", "dag-processor", "triggerer")


def overriding(name: str) -> Services:
    """The services of docker/NAME.yaml, which is given beside docker-compose.yaml."""
    found: Services = yaml.safe_load((CHECKOUT / "docker" / f"{name}.yaml").read_text())["services"]
    return found


TAGS = env_file(CHECKOUT / "docker" / "tags.env")


def with_defaults(text: str) -> str:
    """The text as it is when no variable is set but those of docker/tags.env."""
    text = re.sub(r"\$\{(SNIFFER_\w+_IMAGE)(?::\?[^}]*)?\}", lambda found: TAGS[found[1]], text)
    return re.sub(r"\$\{\w+:-([^}]*)\}", r"\1", text)


def mounts(service: ComposeService) -> dict[str, tuple[PurePath, bool]]:
    """Each volume of a service: name → (folder in the container, read-only)."""
    found = {}
    for text in service.get("volumes", ()):
        name, target, *mode = text.split(":")
        found[name] = (PurePath(target), mode == ["ro"])
    return found


def after(services: Services, name: str) -> set[str]:
    """Everything that has begun, at least, before a service does."""
    direct = services[name].get("depends_on", {})
    return set(direct).union(*(after(services, each) for each in direct))


def test_it_is_valid_by_the_compose_specification(compose: dict[str, Any]) -> None:
    schemas = importlib.resources.files("check_jsonschema.builtin_schemas")
    schema = json.loads((schemas / "vendor" / "compose-spec.json").read_text())
    jsonschema.validate(compose, schema)
    with pytest.raises(jsonschema.ValidationError):
        jsonschema.validate(compose | {"services": {"a": {"imagine": "b"}}}, schema)


def test_every_port_is_on_the_loopback(services: Services) -> None:
    published = {name: service["ports"] for name, service in services.items() if "ports" in service}
    assert published.keys() == {"api-server", "tf-serving", "review"}
    for ports in published.values():
        for port in ports:
            assert re.fullmatch(r"127\.0\.0\.1:\$\{SNIFFER_\w+_PORT:-\d+\}:\d+", port)
    assert not any(service.get("network_mode") == "host" for service in services.values())


def test_every_image_is_pinned_as_the_cluster_has_it(services: Services, version: str) -> None:
    listed = yaml.safe_load((CHECKOUT / "k8s" / "components" / "images" / "kustomization.yaml").read_text())["images"]
    cluster = {f"{each.get('newName', each['name'])}:{each['newTag']}" for each in listed}
    used = {with_defaults(service["image"]) for service in [*services.values(), overriding("gpu")["tf-serving"]]}
    for image in used:
        assert re.fullmatch(r"[\w/-]+:\d+(\.\d+)+(-gpu)?", image), image
    assert {image for image in used if image.startswith("tensorflow/")} <= cluster
    ours = {image for image in used if image.startswith("sniffer-bot/")}
    assert ours == {f"sniffer-bot/{name}:{version}" for name in ("fleet", "review", "airflow-local")}
    assert ours & cluster == {f"sniffer-bot/fleet:{version}", f"sniffer-bot/review:{version}"}
    assert with_defaults(services["mysql"]["image"]).startswith("mysql:8.4.")


def test_our_images_are_built_from_the_target_of_their_name(services: Services, stages: dict[str, Stage]) -> None:
    for name, service in services.items():
        ours = re.fullmatch(r"sniffer-bot/([\w-]+):.*", service["image"])
        assert ("build" in service) == bool(ours), name
        if ours:
            assert service["build"]["target"] == ours[1] and ours[1] in stages
            assert service["build"]["secrets"] == ["pip_conf", "ca_certificates"]


def test_a_build_has_the_secrets_that_the_dockerfile_asks_for(compose: dict[str, Any]) -> None:
    asked = set(re.findall(r"--mount=type=secret,id=(\w+)", (CHECKOUT / "Dockerfile").read_text()))
    assert {*asked, "coop_key"} == compose["secrets"].keys()
    for secret in compose["secrets"].values():
        # An empty file unless somebody says which.
        assert re.fullmatch(r"\$\{SNIFFER_\w+:-/dev/null\}", secret["file"])


def test_every_program_takes_its_flags(services: Services) -> None:
    seen = set()
    for service in services.values():
        command = [with_defaults(word) for word in service.get("command", [])]
        of_secrets = {PurePath(each["target"]).parent for each in service.get("secrets", ())}
        while command[:1] == ["with-secrets"]:
            assert (PurePath(command[1]), True) in mounts(service).values() or PurePath(command[1]) in of_secrets
            command = command[2:]
        if command[:2] == ["python", "-m"]:
            parsed_by(importlib.import_module(command[2]).main, command[3:])
            seen.add(command[2])
        elif command[:1] == ["python"]:
            script = CHECKOUT / PurePath(command[1]).relative_to("/opt/sniffer")
            parsed_by(load_script(script).main, command[2:])
            seen.add(script.name)
    assert seen == {"prepare.py", "sample_data.py", "sniffer.scan.migrate", "sniffer.review.web.serve"}


def test_a_flag_that_a_program_does_not_take_is_found() -> None:
    with contextlib.redirect_stderr(io.StringIO()), pytest.raises(SystemExit):
        parsed_by(
            load_script(CHECKOUT / "docker" / "sample_data.py").main, ["--bucket=b", "--images=i", "--colour=red"]
        )


def test_airflow_knows_its_commands(services: Services) -> None:
    from airflow.cli.cli_parser import get_parser

    started = {
        name: service["command"][3:]
        for name, service in services.items()
        if service.get("command", [])[2:3] == ["airflow"]
    }
    assert started.keys() == {"api-server", "scheduler", "dag-processor", "triggerer"}
    assert services["cli"]["entrypoint"] == [*services["scheduler"]["command"][:2], "airflow"]
    started["cli"] = services["cli"]["command"]
    assert services["airflow-init"]["command"][2:] == ["airflow-init"]
    script = (CHECKOUT / "docker" / "airflow-init").read_text()
    lines = [line.removeprefix("airflow ") for line in script.splitlines() if line.startswith("airflow ")]
    assert len(lines) == 3
    for arguments in [*started.values(), *map(shlex.split, lines)]:
        assert get_parser().parse_args(arguments).func


def test_the_first_start_lets_dags_run_that_are_there() -> None:
    (pattern,) = re.findall(r"as-regex '(.*)'", (CHECKOUT / "docker" / "airflow-init").read_text())
    dags = {file.stem for file in (CHECKOUT / "dags").glob("*.py")}
    assert {dag for dag in dags if re.search(pattern, dag)} == {"retrain_model", "export_model", "rollout_serving"}


def test_the_model_servers_flags_are_tensorflow_servings(services: Services) -> None:
    service = services["tf-serving"]
    command = service["command"]
    settings = parse_flags([flag for flag in command if flag.partition("=")[0] not in TENSORFLOW_SERVINGS_OWN])
    assert settings.rest_api_port == 8501
    assert settings.allow_labels_for_unavailable
    assert "--port=0" in command and any(flag.startswith("--grpc_socket_path=") for flag in command)
    config = settings.model_config_file
    assert config is not None
    assert any(config.is_relative_to(target) for target, _ in mounts(service).values())


def test_the_rollout_writes_what_the_model_server_reads(services: Services) -> None:
    from sniffer.core.settings import rollout_settings
    from sniffer_rollout.targets.local import LocalTarget
    from sniffer_rollout.targets.open import open_target

    environ = services["scheduler"]["environment"]
    base = environ["AIRFLOW_VAR_SNIFFER_MODEL_BASE"]
    url = f"{environ['AIRFLOW_CONN_SNIFFER_SERVING']}/v1/models/drug_detector"
    target = open_target(rollout_settings({**environ, "SNIFFER_SERVING_URL": url, "SNIFFER_MODEL_BASE_PATH": base}))
    assert isinstance(target, LocalTarget)
    assert f"--model_config_file={target.config}" in services["tf-serving"]["command"]
    written, read = mounts(services["scheduler"]), mounts(services["tf-serving"])
    for volume, path in (("serving", target.config), ("models", PurePath(base))):
        assert path.is_relative_to(written[volume][0]) and written[volume][0] == read[volume][0]
        assert not written[volume][1] and read[volume][1]


def test_airflow_is_told_what_the_dags_ask_for(services: Services) -> None:
    from sniffer_airflow import names
    from sniffer_airflow.training.settings import Retraining

    environ = services["scheduler"]["environment"]
    prepared = airflow_secrets()
    variables = (names.BUCKET_VARIABLE, names.TRAINING_DIR_VARIABLE, names.MODEL_BASE_VARIABLE)
    assert all(environ[f"AIRFLOW_VAR_{name.upper()}"] for name in variables)
    connections = (names.AWS_CONNECTION, names.MYSQL_CONNECTION, names.SERVING_CONNECTION)
    assert all(f"AIRFLOW_CONN_{name.upper()}" in environ.keys() | prepared for name in connections)
    text = environ[f"AIRFLOW_VAR_{names.RETRAINING_VARIABLE.upper()}"]
    retraining = Retraining.parse(re.sub(r"\$\{\w+:-(\w+)\}", r"\1", text))
    assert retraining.backbone_weights == "random"
    (images,) = [flag for flag in services["sample-data"]["command"] if flag.startswith("--images=")]
    assert images == f"--images={retraining.source}"
    assert f"--bucket={environ['AIRFLOW_VAR_SNIFFER_BUCKET']}" in services["sample-data"]["command"]


def airflow_secrets() -> set[str]:
    """The names that `prepare` makes for Airflow."""
    text = (CHECKOUT / "docker" / "prepare.py").read_text()
    return set(re.findall(r'"(AIRFLOW_\w+)"', text))


def test_airflows_processes_share_their_settings(services: Services) -> None:
    settings = [services[name]["environment"] for name in (*AIRFLOWS, "cli")]
    assert all(each == settings[0] for each in settings)
    from airflow.configuration import conf

    for name in {*settings[0], *airflow_secrets()}:
        if match := re.fullmatch(r"AIRFLOW__([A-Z_]+?)__([A-Z_]+)", name):
            assert match[2].lower() in conf.configuration_description[match[1].lower()]["options"], name


def test_hosts_are_services(services: Services) -> None:
    text = json.dumps(services) + (CHECKOUT / "docker" / "prepare.py").read_text()
    hosts = set(re.findall(r"(?:://|@)([a-z][a-z0-9-]*):\d+", text))
    assert hosts == {"api-server", "tf-serving", "mysql", "s3"}
    assert hosts <= services.keys()


def test_only_prepare_is_root_and_ours_cannot_write_but_to_volumes(services: Services) -> None:
    for name, service in services.items():
        assert service["read_only"] is True and service["cap_drop"] == ["ALL"], name
        assert ("cap_add" in service) == (name in ("prepare", "mysql")), name
        assert service["security_opt"] == ["no-new-privileges:true"], name
        assert "privileged" not in service
        assert (service.get("user") == "0:0") == (name == "prepare"), name
    assert services["prepare"]["network_mode"] == "none"


def test_everything_waits_for_what_it_needs(services: Services) -> None:
    for name, service in services.items():
        if name != "prepare":
            assert "prepare" in after(services, name), name
        for other, how in service.get("depends_on", {}).items():
            expected = "service_completed_successfully" if other in ONE_SHOTS else "service_healthy"
            assert how == {"condition": expected}, (name, other)
            assert other in ONE_SHOTS or "healthcheck" in services[other]
    assert {"migrate", "sample-data", "api-server", "airflow-init"} <= services["scheduler"]["depends_on"].keys()


def test_what_stays_up_is_watched_limited_and_started_again(services: Services) -> None:
    for name, service in services.items():
        assert service["pids_limit"] and service["cpus"], name
        assert service["logging"]["options"].keys() == {"max-size", "max-file"}, name
        if name in ONE_SHOTS:
            assert service["restart"] in ("no", "on-failure:3"), name
        elif name not in BY_HAND:
            assert service["restart"] == "unless-stopped" and service["mem_limit"] and service["healthcheck"], name


def test_each_part_of_airflow_answers_for_itself(services: Services) -> None:
    checks = {name: services[name]["healthcheck"]["test"][1:] for name in AIRFLOWS}
    assert checks.pop("api-server") == ["airflow-health", "http://127.0.0.1:8080/api/v2/monitor/health"]
    from airflow.jobs.dag_processor_job_runner import DagProcessorJobRunner
    from airflow.jobs.scheduler_job_runner import SchedulerJobRunner
    from airflow.jobs.triggerer_job_runner import TriggererJobRunner

    jobs: dict[str, Any] = {
        "scheduler": SchedulerJobRunner,
        "dag-processor": DagProcessorJobRunner,
        "triggerer": TriggererJobRunner,
    }
    for name, job in jobs.items():
        assert checks[name] == [*services[name]["command"][:2], "airflow-health", job.job_type]


def test_old_logs_of_tasks_are_removed_where_they_are_written(services: Services) -> None:
    cleaner, scheduler = services["log-cleaner"], services["scheduler"]
    assert mounts(cleaner)["airflow"] == mounts(scheduler)["airflow"]
    script = (CHECKOUT / "docker" / "clean-logs").read_text()
    for name, value in cleaner["environment"].items():
        assert name in script and with_defaults(value).isdecimal()
    # What the DAG processor says on every file, twice a minute, is bounded as the container's log.
    assert scheduler["environment"]["AIRFLOW__LOGGING__DAG_PROCESSOR_LOG_TARGET"] == "stdout"


def test_every_volume_is_declared_and_used(compose: dict[str, Any], services: Services) -> None:
    assert set(compose["volumes"]) == set().union(*(mounts(service) for service in services.values()))


def test_a_secret_goes_to_its_consumer_only(services: Services) -> None:
    holders: dict[str, set[str]] = {}
    for name, service in services.items():
        for volume, (_, read_only) in mounts(service).items():
            if volume.startswith("secrets-") and name != "prepare":
                assert read_only, (name, volume)
                holders.setdefault(volume, set()).add(name)
    assert holders == {
        "secrets-mysql": {"mysql"},
        "secrets-s3": {"s3"},
        "secrets-programs": {"migrate", "sample-data"},
        "secrets-review": {"review"},
        "secrets-airflow": {"airflow-init", *AIRFLOWS, "cli"},
    }


def test_no_secret_is_in_git(services: Services) -> None:
    for service in services.values():
        for name, value in service.get("environment", {}).items():
            assert not re.search(r"PASSWORD$|SECRET|_KEY$|FERNET", name), name
            assert not re.search(r"://[^:/@\s]+:[^@\s]+@", str(value)), name
    for path in [CHECKOUT / "Dockerfile", CHECKOUT / "docker-compose.yaml", *(CHECKOUT / "docker").iterdir()]:
        if path.is_file():
            text = re.sub(r"sha256:[0-9a-f]{64}\b", "", path.read_text())  # of packages
            assert not re.search(r"AKIA[0-9A-Z]{16}|BEGIN [A-Z ]*PRIVATE KEY|[A-Za-z0-9+/_-]{40,}=*$", text)


def test_a_gpu_is_the_same_server_so_down_needs_no_other_words(services: Services) -> None:
    gpu = overriding("gpu")
    assert gpu.keys() == {"tf-serving", "prepare"}
    assert with_defaults(gpu["tf-serving"]["image"]) == with_defaults(services["tf-serving"]["image"]) + "-gpu"
    assert not {"command", "volumes", "ports"} & gpu["tf-serving"].keys()


def test_the_small_machine_has_room_for_every_limit(services: Services) -> None:
    small = overriding("small")
    standing = {name for name in services if name not in ONE_SHOTS | BY_HAND and "profiles" not in small.get(name, {})}
    assert services.keys() - standing == ONE_SHOTS | BY_HAND | {"review"}
    limits = {name: str((services[name] | small.get(name, {}))["mem_limit"]) for name in standing}
    assert sum(bytes_of(limit) for limit in limits.values()) <= 8 * 1024**3, limits
    assert small["scheduler"]["environment"] == {"AIRFLOW__CORE__PARALLELISM": "1"}
    # What it needs is the least that it starts on.
    needs = {flag for flag in small["prepare"]["command"] if flag.startswith("--memory-gb")}
    assert [with_defaults(flag) for flag in needs] == ["--memory-gb=7"]
    assert [f for f in small["prepare"]["command"] if f not in needs] == [
        f for f in services["prepare"]["command"] if not f.startswith("--memory-gb")
    ]


def bytes_of(limit: str) -> int:
    """A limit as Docker writes it."""
    return int(limit[:-1]) * {"m": 1024**2, "g": 1024**3}[limit[-1]]


def test_for_development_the_checkout_is_where_the_image_has_its_own(services: Services) -> None:
    development = overriding("development")
    assert development.keys() == {*AIRFLOWS, "cli"}
    for service in development.values():
        assert mounts(service) == {
            "./dags": (PurePath("/opt/sniffer/dags"), True),
            "./plugins": (PurePath("/opt/sniffer/plugins"), True),
        }
        assert service["environment"] == {"PYTHONPATH": "/opt/sniffer/plugins"}
    assert "AIRFLOW__CORE__DAGS_FOLDER=/opt/sniffer/dags" in (CHECKOUT / "Dockerfile").read_text()


def test_the_review_page_is_asked_where_it_answers_and_told_what_people_type(services: Services) -> None:
    from sniffer.core.review_settings import review_settings
    from sniffer.review.web.shield import HEALTH

    service = services["review"]
    flags = dict(word.removeprefix("--").split("=") for word in service["command"] if word.startswith("--"))
    [published] = map(with_defaults, service["ports"])
    assert published == f"127.0.0.1:8090:{flags['port']}"
    assert f'"http://127.0.0.1:{flags["port"]}{HEALTH}"' in service["healthcheck"]["test"][-1]
    environ = {name: with_defaults(value) for name, value in service["environment"].items()}
    # What is read from the secrets is the sort that the page takes.
    prepared = load_script(CHECKOUT / "docker" / "prepare.py").review_files(Fixed())
    settings = review_settings(flags["host"], int(flags["port"]), environ | prepared)
    assert settings.url == "http://127.0.0.1:8090" and settings.webhook_secret and settings.second.secret


class Fixed:
    """A keeper of secrets that are all as long as real ones."""

    def secret(self, name: str) -> str:
        return (name + "-" * 43)[:43]


def test_the_sample_data_are_those_of_the_demo() -> None:
    sample_data = load_script(CHECKOUT / "docker" / "sample_data.py")
    assert (sample_data.BUCKET_IMAGES, sample_data.BUCKET_SEED) == (sample_bucket.COUNT, sample_bucket.SEED)
    assert sample_data.PREFIXES == sample_bucket.PREFIXES
    labelled = sample_data.LABELLED_IMAGES, sample_data.LABELLED_SEED
    assert labelled == (sample_labels.COUNT, sample_labels.SEED)


def test_the_stand_ins_stand_for_third_parties_only(services: Services) -> None:
    standins = yaml.safe_load((CHECKOUT / "tests" / "docker" / "standins.yaml").read_text())["services"]
    assert standins.keys() == THIRD_PARTIES - {"mysql"} | {"scheduler"}
    assert standins["scheduler"].keys() == {"environment"}
    serving = standins["tf-serving"]["command"]
    ours = [flag for flag in services["tf-serving"]["command"] if flag.partition("=")[0] not in TENSORFLOW_SERVINGS_OWN]
    assert parse_flags(serving).model_config_file == parse_flags(ours).model_config_file
