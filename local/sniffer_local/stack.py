"""The local stack as a whole: its folders under .local/, its services, and the settings that lead programs to them."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass

from sniffer.core.redaction import SecretUrl
from sniffer_local import airflow, mariadb, postgres, prometheus, review, s3, sample_labels, serving
from sniffer_local.airflow import AirflowConnection
from sniffer_local.keepers import Task
from sniffer_local.layout import CHECKOUT, Layout
from sniffer_local.processes import Service
from sniffer_local.registry import Registry
from sniffer_rollout.aspired import Aspired
from sniffer_rollout.targets.local import LocalTarget
from sniffer_serve.command import as_configured

DATABASE = "sniffer"
BUCKET = "sniffer-demo"
MARIADB, S3, MODEL_SERVER, API_SERVER = "mariadb", "s3", "model-server", "airflow-api-server"
PROMETHEUS, STATE_METRICS, REVIEW = "prometheus", "state-metrics", "review"


@dataclass(frozen=True, slots=True)
class Stack:
    """Everything that runs, prepared but not started."""

    database: mariadb.DatabaseSite
    s3_port: int
    serving_port: int
    rollout_target: str
    model_base: str
    airflow: airflow.AirflowSite
    metadata: postgres.PostgresSite
    database_service: Service
    metadata_service: Service
    s3_service: Service
    serving_service: Service
    airflow_services: tuple[Service, ...]
    airflow_connections: tuple[AirflowConnection, ...]
    airflow_variables: Mapping[str, str]
    prometheus: prometheus.PrometheusSite | None
    prometheus_service: Service | None
    state_service: Service | None
    review: review.ReviewSite | None
    review_service: Service | None

    @property
    def servers(self) -> tuple[Service, ...]:
        """What depends on nothing else of the stack."""
        watching = filter(None, (self.prometheus_service, self.state_service))
        return (self.database_service, self.metadata_service, self.s3_service, self.serving_service, *watching)

    @property
    def services(self) -> tuple[Service, ...]:
        """All that runs."""
        reviewing = (self.review_service,) if self.review_service else ()
        return (*self.servers, *reviewing, *self.airflow_services)

    def airflow_waits_for(self) -> str | None:
        """What Airflow's processes cannot start without, and is not there; None when they can."""
        if not airflow.is_migrated(self.metadata):
            return "its database to be made by `make demo`"
        return None if self.metadata.answers() else self.metadata_service.name

    def tasks(self) -> list[Task]:
        """What the supervisor keeps running. Airflow's API server answers for Airflow's other parts, and none of them

        is well while their database is away.
        """
        api = next(service for service in self.airflow_services if service.name == API_SERVER)
        found = [Task(service) for service in self.servers]
        if self.review is not None and self.review_service is not None:
            found.append(Task(self.review_service, self.review.waits_for, self.database_service.is_ready))
        for service in self.airflow_services:
            judge = self.metadata_service if service is api else api
            found.append(Task(service, self.airflow_waits_for, judge.is_ready))
        return found

    def program_environ(self) -> Mapping[str, str]:
        """What a program of ours needs to work with this stack. Holds the database's password."""
        return {
            "SNIFFER_DATABASE_URL": self.database.url(DATABASE),
            "SNIFFER_SERVING_URL": serving.serving_url(self.serving_port),
            "SNIFFER_ROLLOUT_TARGET": self.rollout_target,
            "SNIFFER_MODEL_BASE_PATH": self.model_base,
            **s3.aws_environ(self.s3_port),
            **(self.prometheus.scan_environ() if self.prometheus else {}),
        }


def prepare_stack(layout: Layout, registry: Registry) -> Stack:
    """Choose ports, make folders, passwords and the empty database files. Idempotent; starts nothing."""
    database = mariadb.prepare_site(layout.root / "mariadb", registry.port(MARIADB))
    s3_port, serving_port = registry.port(S3), registry.port(MODEL_SERVER)
    layout.models.mkdir(parents=True, exist_ok=True)
    metadata = postgres.prepare_site(layout.root / "postgres")
    watching = _prometheus_site(layout, registry)
    reviewing = (
        review.prepare_site(layout.root / "review", registry.port(REVIEW)) if registry.has_port(REVIEW) else None
    )
    site = airflow.prepare_site(
        layout.root / "airflow",
        CHECKOUT,
        registry.port(API_SERVER),
        {"SNIFFER_ROLLOUT_TARGET": _rollout_target(layout), **(watching.scan_environ() if watching else {})},
        metadata,
    )
    return Stack(
        database,
        s3_port,
        serving_port,
        _rollout_target(layout),
        str(layout.models),
        site,
        metadata,
        mariadb.mariadb_service(database, layout.logs / "mariadb.log"),
        postgres.postgres_service(metadata, layout.logs / "postgres.log"),
        s3.kept_s3_service(s3_port, layout.s3, layout.logs / "s3.log"),
        _serving_service(layout, serving_port),
        tuple(airflow.airflow_services(site, layout.logs)),
        _airflow_connections(database, s3_port, serving_port),
        _airflow_variables(layout),
        watching,
        prometheus.prometheus_service(watching, layout.logs / "prometheus.log") if watching else None,
        _state_service(layout, registry, watching, database),
        reviewing,
        review.review_service(reviewing, _review_environ(database, s3_port), layout.logs / "review.log")
        if reviewing
        else None,
    )


def _review_environ(database: mariadb.DatabaseSite, s3_port: int) -> Mapping[str, str]:
    return {"SNIFFER_DATABASE_URL": database.url(DATABASE), **s3.aws_environ(s3_port)}


def _state_service(
    layout: Layout, registry: Registry, watching: prometheus.PrometheusSite | None, database: mariadb.DatabaseSite
) -> Service | None:
    if watching is None or not registry.has_port(STATE_METRICS):
        return None
    port, log = registry.port(STATE_METRICS), layout.logs / "state-metrics.log"
    return prometheus.state_service(watching, port, database.url(DATABASE), log)


def _prometheus_site(layout: Layout, registry: Registry) -> prometheus.PrometheusSite | None:
    """Prometheus where it is installed, but for a stack that was started without it, until `make demo` adds it."""
    program = prometheus.installed()
    if program is None or not registry.has_port(PROMETHEUS):
        return None
    return prometheus.prepare_site(program, layout.root / "prometheus", registry.port(PROMETHEUS))


def _rollout_target(layout: Layout) -> str:
    return f"local:{layout.serving}"


def _serving_service(layout: Layout, port: int) -> Service:
    """A server of what the rollout says; of nothing, before the first one."""
    target = LocalTarget(layout.serving, str(layout.models), (SecretUrl(serving.serving_url(port)),))
    if not target.config.exists():
        target.apply(Aspired.of([]))
    return serving.serving_service(as_configured(target.config), port, layout.logs / "model-server.log")


def _airflow_connections(
    database: mariadb.DatabaseSite, s3_port: int, serving_port: int
) -> tuple[AirflowConnection, ...]:
    """What the DAGs need to know of this stack."""
    return (
        AirflowConnection(
            "aws_default",
            "aws",
            login=s3.ACCESS_KEY,
            password=s3.SECRET_KEY,
            extra={"region_name": s3.REGION, "endpoint_url": s3.endpoint_url(s3_port)},
        ),
        AirflowConnection(
            "mysql_default",
            "mysql",
            host="127.0.0.1",
            port=database.port,
            login=mariadb.USER,
            password=database.password,
            schema=DATABASE,
        ),
        AirflowConnection("sniffer_serving", "http", host="127.0.0.1", port=serving_port),
    )


def _airflow_variables(layout: Layout) -> dict[str, str]:
    """For whoever leaves the stack running: real nightly scans and weekly trainings."""
    retraining = {
        "source": sample_labels.SOURCE,
        "review_labels": sample_labels.REVIEW_LABELS,
        # What one session gives.
        "new_labels": 20,
        # No ImageNet weights without a network.
        "backbone_weights": "random",
        # Half of the sample images show drugs, far more than in any real bucket.
        "prevalence": 0.5,
        # What the demo's few images can show. The verdict and the report warn of a limit below the gate's own.
        "target_precision": 0.8,
        "limits": {"min_class_images": 50},
    }
    return {
        "sniffer_bucket": BUCKET,
        "sniffer_training_dir": str(layout.training),
        "sniffer_model_base": str(layout.models),
        "sniffer_retraining": json.dumps(retraining),
    }
