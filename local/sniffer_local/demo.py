"""`sniffer local demo`: the whole product once, on this machine.

Starts what is missing of the stack, fills a sample bucket, lets Airflow train, export and roll out a small model unless
there is one, and scan the bucket, and prints the certificate and the highest scores. Then a simulated reviewer decides
about a part of what was flagged, and Airflow retrains by that. What it starts goes on running.
"""

from __future__ import annotations

import argparse
import json
import signal
import sys
import time
from collections.abc import Mapping
from dataclasses import dataclass

from sniffer.adapters.mysql.database import Database
from sniffer.core.ending import INTERRUPTED
from sniffer.core.errors import ContractError
from sniffer.core.files import write_text
from sniffer.core.program import Program
from sniffer.core.review_records import EVERYTHING
from sniffer.core.settings import DatabaseSettings
from sniffer.core.text import printable
from sniffer.scan.certificate import describe
from sniffer_local import sample_bucket, sample_labels
from sniffer_local.airflow import LOGIN, AirflowClient, migrate_metadata
from sniffer_local.closed_loop import (
    ReviewedBucket,
    has_reviewed,
    newest_decision,
    queue_sample,
    retrain_by_decisions,
    review_a_part,
)
from sniffer_local.dag_runs import DagRun, DagRuns
from sniffer_local.layout import Layout, add_root_flag
from sniffer_local.mariadb import create_database
from sniffer_local.processes import Service, run_checked
from sniffer_local.registry import Registry, only_one
from sniffer_local.review import make_accounts
from sniffer_local.s3 import s3_client
from sniffer_local.sample_bucket import SampleTruth
from sniffer_local.stack import BUCKET, DATABASE, Stack, prepare_stack
from sniffer_local.supervision import ensure_supervised, wait_for

RETRAIN, EXPORT, ROLLOUT, SCAN = "retrain_model", "export_model", "rollout_serving", "scan_bucket"
RETRAINING_VARIABLE = "sniffer_retraining"
TOP_IMAGES = 10


class Story:
    """Tells what happens: one line for each step, with the seconds since the start."""

    def __init__(self) -> None:
        self._started = time.monotonic()

    def tell(self, text: str) -> None:
        """Print one line."""
        print(f"[{time.monotonic() - self._started:6.1f} s] {text}", flush=True)


@dataclass(frozen=True, slots=True)
class Demo:
    """The parts that the steps below work with."""

    layout: Layout
    registry: Registry
    stack: Stack
    story: Story
    dag_runs: DagRuns

    def wait(self, service: Service) -> None:
        """Return once the service answers; raises TransientError when it fails again and again."""
        wait_for(self.layout, self.registry, service)

    def run_program(self, *command: str, environ: Mapping[str, str] | None = None) -> None:
        """Run one of our programs to its end; its output goes to a log named after it."""
        log = self.layout.logs / f"{command[0].rpartition('.')[2]}.log"
        run_checked((sys.executable, "-m", *command), log, environ or self.stack.program_environ())


def run_demo(layout: Layout, story: Story) -> None:
    """Every step in order; raises SnifferError with the way out at the first that fails."""
    registry = Registry(layout.state)
    story.tell(f"preparing the local stack in {layout.root}")
    stack = prepare_stack(layout, registry)
    demo = Demo(layout, registry, stack, story, DagRuns(stack.airflow, layout.logs, story.tell))
    start_stack(demo)
    prepare_database(demo)
    truth = fill_bucket(demo)
    configure_airflow(demo)
    version = provide_model(demo)
    scan_id = report(demo, version, demo.dag_runs.run(SCAN, {"bucket": BUCKET}))
    close_loop(demo, truth, scan_id)
    tell_where_to_look(demo)


def start_stack(demo: Demo) -> None:
    """Have everything started and kept running; nobody is waited for but the databases and S3."""
    stack, registry = demo.stack, demo.registry
    missing = [service.name for service in stack.services if not registry.runs(service)]
    replaced = ensure_supervised(demo.layout, registry, stack.services)
    if missing:
        demo.story.tell(f"starting {', '.join(missing)}")
    else:
        demo.story.tell("everything runs already" + (", under a new supervisor" if replaced else ""))
    demo.wait(stack.metadata_service)
    if migrate_metadata(stack.airflow, stack.metadata, demo.layout.logs / "airflow-migrate.log"):
        _tell_of_sqlite(demo)
    demo.wait(stack.database_service)
    demo.wait(stack.s3_service)


def _tell_of_sqlite(demo: Demo) -> None:
    unused = demo.stack.airflow.home / "airflow.db"
    if unused.is_file():
        demo.story.tell(
            f"Airflow starts with an empty database in PostgreSQL. Its past runs are in {unused}, which nothing reads "
            "any more: remove it when you like. Images, scores, models and certificates, in MariaDB, are untouched"
        )


def configure_airflow(demo: Demo) -> None:
    """Wait for Airflow and set its Connections and Variables, where a person would: see them under Admin. Idempotent.

    A Variable that somebody has changed keeps its value.
    """
    for service in demo.stack.airflow_services:
        demo.wait(service)
    client = AirflowClient(demo.stack.airflow)
    client.set_connections(demo.stack.airflow_connections)
    client.set_missing_variables(demo.stack.airflow_variables)
    demo.story.tell("Airflow has its Connections and Variables: see Admin in its menu")


def prepare_database(demo: Demo) -> None:
    """Create the database and bring it to the schema of this checkout. Idempotent."""
    create_database(demo.stack.database, DATABASE)
    demo.run_program("sniffer.scan.migrate")
    if demo.stack.review is not None:
        with _database(demo) as database:
            make_accounts(demo.stack.review, database)
    demo.story.tell("MariaDB and S3 answer, the database is up to date")


def fill_bucket(demo: Demo) -> dict[str, SampleTruth]:
    """See to it that the sample images, and labelled ones, are in their buckets; returns what they show, by key."""
    client = s3_client(demo.stack.s3_port)
    truth = sample_bucket.fill(client, BUCKET, demo.layout.truth)
    labelled = sample_labels.fill(client)
    demo.story.tell(
        f"the bucket {BUCKET} holds {len(truth)} sample objects, {sample_labels.LABELS_BUCKET} {labelled} labelled ones"
    )
    return truth


def provide_model(demo: Demo) -> int:
    """See to it that a model is trained, published and rolled out; returns the stable version."""
    with _database(demo) as database:
        stable = database.models.stable()
    if stable is None:
        return _train_and_roll_out(demo)
    demo.wait(demo.stack.serving_service)
    # The model server may have been restarted, or started by an older release.
    demo.run_program("sniffer_rollout", "restore")
    demo.story.tell(f"model version {stable.version} is stable, and served")
    return stable.version


def report(demo: Demo, version: int, run: DagRun) -> str:
    """Print the run's certificate and the highest scores; returns the scan's id."""
    scan_id: str = demo.dag_runs.result(run, "plan")["scan_id"]
    with _database(demo) as database:
        certificate = database.scans.certificate(scan_id)
        images = database.images.top_images(version, TOP_IMAGES, BUCKET)
    if certificate is None:
        raise ContractError(
            f"the run {run.run_id} succeeded without a certificate of the scan {scan_id}: look at its log"
        )
    demo.story.tell("the scan is complete\n")
    print(describe(certificate))
    if images:
        print(f"\nThe {len(images)} highest-scored images (flagged from {certificate.threshold:.3f} on):")
    else:
        print(f"\nNo image of the bucket {BUCKET} has a score of model version {version}.")
    for image in images:
        print(
            f"  {image.score:.4f} {'FLAGGED' if image.flagged else '       '} s3://{image.bucket}/{printable(image.key)}"
        )
    print()
    return scan_id


def close_loop(demo: Demo, truth: Mapping[str, SampleTruth], scan_id: str) -> None:
    """Let a part of the queue be reviewed, once for each stack, and Airflow retrain by what was decided since.

    The retraining goes on while the demo ends: whether its model is better is the gate's to say.
    """
    site, service = demo.stack.review, demo.stack.review_service
    if site is None or service is None:
        return
    demo.wait(service)
    with _database(demo) as database:
        if not has_reviewed(database):
            drawn = queue_sample(database, scan_id)
            demo.story.tell(f"a random sample of {drawn} images waits beside the flagged ones, to measure recall by")
            review_a_part(database, ReviewedBucket(BUCKET, truth, site), demo.story.tell)
        newest = newest_decision(database)
    published = demo.layout.published
    if newest == (published.read_text() if published.is_file() else ""):
        return
    retraining = json.loads(AirflowClient(demo.stack.airflow).variable(RETRAINING_VARIABLE))
    if "review_labels" not in retraining:
        demo.story.tell(
            f"the Variable {RETRAINING_VARIABLE} names no `review_labels`, so these decisions become no labels: an "
            "earlier release has made it; remove it under Admin, and run `make demo` again"
        )
        return
    run = retrain_by_decisions(demo.dag_runs, demo.story.tell)
    write_text(published, newest)
    if run is not None:
        demo.story.tell(
            f"Airflow retrains by them: {demo.dag_runs.page(run)}\n"
            "           If the gate finds the new model better, export_model and rollout_serving follow"
        )


def tell_where_to_look(demo: Demo) -> None:
    """Print the addresses, and what waits there."""
    print(f"\nAirflow: {demo.stack.airflow.url}  login: {LOGIN}  password: {demo.stack.airflow.password}")
    if (site := demo.stack.review) is not None:
        with _database(demo) as database:
            waiting = database.review_queue.backlog(EVERYTHING)
        print(f"Review:  {site.url}  logins: {site.logins} (also in {site.passwords_file})")
        print(f"         {waiting} images wait there; what you decide becomes labels each night, or by `make demo`")
    print("The stack goes on running: `make status` shows it, `make down` stops it, `make demo` scans again.")


def _train_and_roll_out(demo: Demo) -> int:
    """Let Airflow train, judge, export and roll out a model; ContractError when the gate rejects it."""
    runs = demo.dag_runs
    demo.wait(demo.stack.serving_service)
    known = {dag_id: runs.known(dag_id) for dag_id in (EXPORT, ROLLOUT)}
    for dag_id in known:
        runs.let_run(dag_id)
    trained = runs.run(RETRAIN, {})
    if runs.task_state(trained, "bless") != "success":
        raise ContractError(f"the gate rejected the model:\n{runs.log_end(trained, 'bless')}")
    demo.story.tell(f"the model is trained and judged; report: {runs.result(trained, 'bless')['report']}")
    exported = runs.await_next(EXPORT, known[EXPORT])
    demo.story.tell(f"it is exported and published as version {runs.result(exported, 'export')['version']}")
    version: int = runs.result(runs.await_next(ROLLOUT, known[ROLLOUT]), "announce")["version"]
    demo.story.tell(f"version {version} is proved, stable, and served")
    return version


def _database(demo: Demo) -> Database:
    return Database(DatabaseSettings(demo.stack.database.url(DATABASE)))


def _run(arguments: argparse.Namespace) -> int:
    layout = Layout(arguments.root)
    # A shell that starts us in the background has SIGINT ignored, and every child would inherit that.
    signal.signal(signal.SIGINT, signal.default_int_handler)
    try:
        with only_one(layout.lock, "make demo"):
            run_demo(layout, Story())
    except KeyboardInterrupt:
        print("demo: interrupted; what was started goes on running, `make down` stops it", file=sys.stderr)
        return INTERRUPTED
    return 0


PROGRAM = Program(
    command="sniffer local demo",
    summary="The whole product once, on this machine: start what is missing of the stack, fill a sample bucket, let "
    "Airflow train, export and roll out a small model unless there is one, and scan the bucket. Prints the "
    "certificate and the highest scores. Then a simulated reviewer decides about a part of what was flagged, and "
    "Airflow retrains by that. What it starts goes on running.",
    run=_run,
    add_arguments=add_root_flag,
    examples=("sniffer local demo", "sniffer local down"),
    extra="dev",
    grace_s=None,
)

main = PROGRAM.main

if __name__ == "__main__":
    sys.exit(main())
