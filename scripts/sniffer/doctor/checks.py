"""The checks of `sniffer doctor`, one for each system. Each yields findings, and may raise what ended it.

In: the environment. Nothing is changed anywhere, and nothing is retried.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from urllib.parse import urlsplit

from sniffer.core import variables as var
from sniffer.core.records import Outcome
from sniffer.core.settings import (
    airflow_settings,
    database_settings,
    fetch_settings,
    image_settings,
    rollout_settings,
    serving_settings,
)
from sniffer.doctor.findings import Finding, not_configured, ok, wrong

S3, MYSQL, SERVING, AIRFLOW, KUBERNETES = "S3", "MySQL", "model server", "Airflow", "Kubernetes"

CLOCK_TOLERANCE_S = 5.0

CONNECTIONS = ("aws_default", "mysql_default", "sniffer_serving")
"""The Airflow Connections that the DAGs use."""
VARIABLES = ("sniffer_bucket", "sniffer_training_dir", "sniffer_model_base")
"""The Airflow Variables without which a DAG has nothing to do."""


@dataclass(frozen=True, slots=True)
class Surroundings:
    """What the checks start from. `bucket` is the one to ask S3 for; None means that of the model base path."""

    environ: Mapping[str, str]
    bucket: str | None = None


def check_s3(around: Surroundings) -> Iterator[Finding]:
    """The bucket can be listed, and one object read."""
    from sniffer.adapters.s3.errors import NotFetched
    from sniffer.adapters.s3.locations import bucket_of

    name = around.bucket or _bucket_of_model_base(around.environ)
    if name is None:
        yield not_configured(S3, f"name a bucket by --bucket, or set {var.MODEL_BASE_PATH.name} to s3://bucket/prefix")
        return
    fetch = dataclasses.replace(fetch_settings(around.environ), patience_s=0)
    bucket = bucket_of(name, fetch, image_settings(around.environ).max_bytes)
    given = bucket.check()
    yield ok(S3, f"bucket {name} can be listed")
    page = next(bucket.pages(""), None)
    if page is None:
        yield ok(S3, f"bucket {name} is empty: whether objects can be read will show with the first")
        return
    tried = given or min(page, key=lambda listed: listed.size_bytes)
    where = f"s3://{name}/{tried.key}"
    try:
        data = bucket.fetch(tried)
    except NotFetched as error:
        if error.verdict.outcome is Outcome.UNREADABLE:  # refused for its size, after S3 had given it
            yield ok(S3, f"{where} can be read: {error}")
        else:
            yield wrong(
                S3, f"{where} cannot be read ({error.verdict.code}: {error}): the credentials need s3:GetObject"
            )
    else:
        yield ok(S3, f"{where} was read, {len(data)} bytes")


def _bucket_of_model_base(environ: Mapping[str, str]) -> str | None:
    parts = urlsplit(var.MODEL_BASE_PATH.read(environ))
    return parts.netloc if parts.scheme == "s3" and parts.netloc else None


def check_mysql(around: Surroundings) -> Iterator[Finding]:
    """It answers, its tables are those of this release, and its clock is ours."""
    from sniffer.adapters.mysql.database import Database

    if not var.DATABASE_URL.read(around.environ):
        yield not_configured(MYSQL, f"set {var.DATABASE_URL.name}, for example {var.DATABASE_URL.example}")
        return
    with Database(dataclasses.replace(database_settings(around.environ), patience_s=0)) as database:
        facts = database.facts()
        yield ok(MYSQL, f"{facts.place} answers, version {facts.server_version}")
        database.check()
        yield ok(MYSQL, f"the tables are at schema {facts.schema_version}, as this release needs")
        if abs(facts.clock_offset_s) > CLOCK_TOLERANCE_S:
            yield wrong(
                MYSQL, f"its clock differs from ours by {facts.clock_offset_s:.0f} s: let both machines follow NTP"
            )
        else:
            yield ok(MYSQL, f"its clock differs from ours by {abs(facts.clock_offset_s):.1f} s")
        stable = database.models.stable()
        if stable is None:
            yield not_configured(MYSQL, "no model version is stable yet: train one, and run `sniffer rollout run`")
        else:
            yield ok(MYSQL, f"model version {stable.version} is stable")


def check_serving(around: Surroundings) -> Iterator[Finding]:
    """The model is there, and the newest version that is served has our signature."""
    from sniffer.adapters.serving import ModelServer

    if not var.SERVING_URL.read(around.environ):
        yield not_configured(SERVING, f"set {var.SERVING_URL.name}, for example {var.SERVING_URL.example}")
        return
    settings = dataclasses.replace(serving_settings(around.environ), patience_s=0)
    with ModelServer(settings) as server:
        states = server.version_states()
        served = sorted(state.version for state in states if state.is_available)
        if not served:
            yield wrong(SERVING, f"{settings.url} serves no version of that model: roll one out, or check the URL")
            return
        yield ok(SERVING, f"{settings.url} serves version{'s' * (len(served) > 1)} {', '.join(map(str, served))}")
        for version in served:
            server.check(version)
            yield ok(SERVING, f"version {version} takes pixels and gives scores")
        for state in states:
            if state.has_failed:
                yield wrong(SERVING, f"version {state.version} could not be loaded: {state.error}")


def check_airflow(around: Surroundings) -> Iterator[Finding]:
    """Its parts are healthy, no DAG file fails, and it has the Connections and Variables that the DAGs use."""
    from sniffer.adapters.airflow import AirflowApi

    if not var.AIRFLOW_URL.read(around.environ):
        yield not_configured(AIRFLOW, f"set {var.AIRFLOW_URL.name}, for example {var.AIRFLOW_URL.example}")
        return
    with AirflowApi(airflow_settings(around.environ)) as api:
        unhealthy = [f"{part} is {status}" for part, status in api.health().items() if status != "healthy"]
        if unhealthy:
            yield wrong(AIRFLOW, f"{api.place}: {', '.join(unhealthy)}: start what is missing")
        else:
            yield ok(AIRFLOW, f"{api.place} answers, its parts are healthy")
        failed = api.import_errors()
        if failed:
            yield wrong(AIRFLOW, f"DAG files that cannot be imported: {', '.join(failed)}: see the UI's front page")
        else:
            yield ok(AIRFLOW, "every DAG file can be imported")
        yield from _found(api.has_connection, "Connection", CONNECTIONS, "connections add")
        yield from _found(api.has_variable, "Variable", VARIABLES, "variables set")


def _found(has: Callable[[str], bool], kind: str, names: tuple[str, ...], command: str) -> Iterator[Finding]:
    missing = [name for name in names if not has(name)]
    if there := [name for name in names if name not in missing]:
        yield ok(AIRFLOW, f"{kind}s {', '.join(there)} are there")
    for name in missing:
        yield not_configured(
            AIRFLOW,
            f"{kind} {name} is not in Airflow's database: `airflow {command} {name} …`, unless its workers have it "
            f"from a secrets backend or as AIRFLOW_{'CONN' if kind == 'Connection' else 'VAR'}_{name.upper()}",
        )


def check_kubernetes(around: Surroundings) -> Iterator[Finding]:
    """The model servers of the rollout's target run, and the account has the rights that a rollout needs."""
    from sniffer_rollout.targets.open import open_target

    target_name = var.ROLLOUT_TARGET.read(around.environ)
    if not target_name.startswith("kubernetes:"):
        yield not_configured(KUBERNETES, f"set {var.ROLLOUT_TARGET.name} to kubernetes:NAMESPACE/DEPLOYMENT")
        return
    # The model base path is another matter, and may be missing here.
    settings = rollout_settings(around.environ, model_base=var.MODEL_BASE_PATH.read(around.environ) or "unknown")
    target = open_target(dataclasses.replace(settings, patience_s=0))
    replicas = target.replicas()
    running = f"{len(replicas.urls)} of {replicas.wanted} model servers of {target.description} run"
    if len(replicas.urls) < replicas.wanted:
        yield wrong(
            KUBERNETES,
            f"{running}: {'; '.join([*replicas.problems, *replicas.unplaced]) or 'see `kubectl describe pods`'}",
        )
    else:
        yield ok(KUBERNETES, running)
    denied = target.denied_rights()
    if denied:
        yield wrong(KUBERNETES, f"this account may not {', '.join(denied)}: apply k8s/base/rbac.yaml")
    else:
        yield ok(KUBERNETES, "this account has the rights that a rollout needs")
