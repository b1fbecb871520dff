"""`python -m sniffer_local.demo`: the whole product once, on this machine.

Starts what is missing of the stack, fills a sample bucket, trains and exports a small model unless there is one, lets
Airflow scan the bucket, and prints the certificate and the highest scores. What it starts goes on running afterwards.
"""

from __future__ import annotations

import argparse
import signal
import sys
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from sniffer.certify import describe
from sniffer.contracts import ContractError, SnifferError, TransientError
from sniffer.settings import DatabaseSettings
from sniffer.store import Store
from sniffer_local import sample_bucket
from sniffer_local.airflow import ENDED_STATES, LOGIN, AirflowClient, migrate_metadata
from sniffer_local.layout import Layout, add_root_flag
from sniffer_local.mariadb import create_database
from sniffer_local.processes import run_checked
from sniffer_local.registry import Registry, only_one
from sniffer_local.s3 import s3_client
from sniffer_local.s3_state import restore, save
from sniffer_local.serving import prove_served, wait_until_served
from sniffer_local.stack import BUCKET, DATABASE, Stack, prepare_stack
from sniffer_model.publish import published_versions

DAG_ID = "scan_bucket"
RUN_LIMIT_S = 1800.0
POLL_S = 2.0
LABELLED_IMAGES = 720
# A model on random weights may fall short; the verdict then says so, and who took it all the same.
OVERRIDE = ("--override-by", "make demo", "--override-reason", "shows the way, goes to no production")
LOG_TAIL_LINES = 15
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

    def run_program(self, *command: str, environ: Mapping[str, str] | None = None) -> None:
        """Run one of our programs to its end; its output goes to a log named after it."""
        log = self.layout.logs / f"{command[0].rpartition('.')[2]}.log"
        run_checked((sys.executable, "-m", *command), log, environ or self.stack.program_environ())


def run_demo(layout: Layout, story: Story) -> None:
    """Every step in order; raises SnifferError with the way out at the first that fails."""
    registry = Registry(layout.state)
    story.tell(f"preparing the local stack in {layout.root}")
    demo = Demo(layout, registry, prepare_stack(layout, registry), story)
    start_stack(demo)
    prepare_database(demo)
    fill_bucket(demo)
    version = provide_model(demo)
    run_id = scan_by_airflow(demo)
    report(demo, version, run_id)


def start_stack(demo: Demo) -> None:
    """Launch what does not run yet, the slow starters early; nobody is waited for but MariaDB and S3."""
    stack, registry = demo.stack, demo.registry
    started = [s.name for s in (stack.database_service, stack.s3_service, stack.serving_service) if registry.ensure(s)]
    if not all(registry.is_alive(service.name) for service in stack.airflow_services):
        migrate_metadata(stack.airflow, demo.layout.logs / "airflow-migrate.log")
    started += [service.name for service in stack.airflow_services if registry.ensure(service)]
    demo.story.tell(f"started {', '.join(started)}" if started else "everything runs already")
    registry.wait(stack.database_service)
    registry.wait(stack.s3_service)


def prepare_database(demo: Demo) -> None:
    """Create the database and bring it to the schema of this checkout. Idempotent."""
    create_database(demo.stack.database, DATABASE)
    demo.run_program("sniffer.migrate")
    demo.story.tell("MariaDB and S3 answer, the database is up to date")


def fill_bucket(demo: Demo) -> None:
    """Bring back what the local S3 held before it was stopped, and the sample images unless they are among it."""
    client = s3_client(demo.stack.s3_port)
    restore(client, demo.layout.s3)
    count = sample_bucket.fill(client, BUCKET)
    save(client, demo.layout.s3)
    demo.story.tell(f"the bucket {BUCKET} holds {count} sample objects")


def provide_model(demo: Demo) -> int:
    """See to it that a trained model is published, served, proved and stable; returns its version."""
    version = _known_version(demo) or _train(demo)
    demo.registry.wait(demo.stack.serving_service)
    wait_until_served(demo.stack.serving_port, version)
    proved = prove_served(demo.stack.serving_port, demo.layout.models / str(version))
    demo.story.tell(f"model version {version} is served; {proved} golden examples score as they did in training")
    with _store(demo) as store:
        store.promote(version)
    return version


def scan_by_airflow(demo: Demo) -> str:
    """Run the DAG and wait for it; returns the run's id. A run that fails is a TransientError with its log's end."""
    for service in demo.stack.airflow_services:
        demo.registry.wait(service)
    client = AirflowClient(demo.stack.airflow)
    client.wait_for_dag(DAG_ID)
    run_id = client.trigger(DAG_ID, {"bucket": BUCKET})
    # Only now: the nightly run that Airflow makes up for comes second, and finds nothing of yesterday in the bucket.
    client.unpause(DAG_ID)
    demo.story.tell(f"Airflow runs the DAG {DAG_ID}: {run_id}")
    state = _wait_for_run(demo, client, run_id)
    if state != "success":
        raise TransientError(_failure_text(client, demo, run_id))
    return run_id


def report(demo: Demo, version: int, run_id: str) -> None:
    """Print the run's certificate, the highest scores, and where to go on."""
    scan_id = AirflowClient(demo.stack.airflow).task_result(DAG_ID, run_id, "plan")["scan_id"]
    with _store(demo) as store:
        certificate = store.certificate(scan_id)
        images = store.top_images(version, TOP_IMAGES, BUCKET)
    if certificate is None:
        raise ContractError(f"the run {run_id} succeeded without a certificate of the scan {scan_id}: look at its log")
    demo.story.tell("the scan is complete\n")
    print(describe(certificate))
    print(f"\nThe {len(images)} highest-scored images (flagged from {certificate.threshold:.3f} on):")
    for image in images:
        print(f"  {image.score:.4f} {'FLAGGED' if image.flagged else '       '} s3://{image.bucket}/{image.key}")
    print(f"\nAirflow: {demo.stack.airflow.url}  login: {LOGIN}  password: {demo.stack.airflow.password}")
    print("The stack goes on running; `make down` stops it, `make demo` scans again.")


def _known_version(demo: Demo) -> int | None:
    """The newest published version, if the database knows it too."""
    versions = published_versions(demo.layout.models)
    if not versions:
        return None
    with _store(demo) as store:
        return versions[-1] if store.model(versions[-1]) else None


def _train(demo: Demo) -> int:
    """The training path, one program after the other; all idempotent, so an interrupted one is simply done again."""
    folder = demo.layout.training
    workdir, cache = ("--workdir", str(folder / "run")), ("--feature-cache", str(folder / "features"))
    demo.run_program("sniffer_model.samples", "--out", str(folder / "images"), "--count", str(LABELLED_IMAGES))
    demo.story.tell("labelled images are generated")
    demo.run_program("sniffer_model.snapshot", "--source", str(folder / "images"), *workdir)
    demo.run_program("sniffer_model.train", *workdir, *cache, "--backbone-weights", "random")
    demo.story.tell("the model is trained, on a backbone of random weights: good for a demo, no more")
    # Half of the sample images show drugs, far more than in any real bucket.
    demo.run_program("sniffer_model.evaluate", *workdir, *cache, "--prevalence", "0.5")
    base = ("--model-base-path", str(demo.layout.models))
    demo.run_program("sniffer_model.gate", *workdir, *cache, *base, *OVERRIDE)
    demo.run_program("sniffer_model.export", *workdir, *base)
    version = published_versions(demo.layout.models)[-1]
    demo.story.tell(f"it is evaluated, judged, and exported as version {version}; report: {folder / 'run/report.html'}")
    return version


def _wait_for_run(demo: Demo, client: AirflowClient, run_id: str) -> str:
    deadline = time.monotonic() + RUN_LIMIT_S
    told = ""
    while (state := client.run_state(DAG_ID, run_id)) not in ENDED_STATES:
        if time.monotonic() > deadline:
            raise TransientError(f"the DAG run {run_id} has not ended in {RUN_LIMIT_S:.0f} s: see {_ui(demo, run_id)}")
        now = _situation(client, run_id)
        if now != told:
            demo.story.tell(f"  {now}")
            told = now
        time.sleep(POLL_S)
    return state


def _situation(client: AirflowClient, run_id: str) -> str:
    """The states of the run's tasks, and how far the scan is."""
    tasks = client.task_states(DAG_ID, run_id)
    text = ", ".join(f"{task} {state}" for task, state in tasks.items() if state != "none") or "queued"
    if tasks.get("scan") != "running" or not (progress := client.task_progress(DAG_ID, run_id, "scan")):
        return text
    left = progress["listed"] - progress["unchanged"] - progress["done"]
    return f"{text}: {progress['done']} images done, {left} left, {progress['images_per_s']:.1f} images/s"


def _failure_text(client: AirflowClient, demo: Demo, run_id: str) -> str:
    failed = [task for task, state in client.task_states(DAG_ID, run_id).items() if state == "failed"]
    log = client.task_log(DAG_ID, run_id, failed[0]) if failed else []
    lines = [line for line in log if not line.startswith("::")][-LOG_TAIL_LINES:]
    return (
        f"the DAG run {run_id} failed in {' and '.join(failed) or 'no task'}; its log ends:\n"
        + "\n".join(lines)
        + f"\nMore at {_ui(demo, run_id)} (login {LOGIN}, password in {demo.stack.airflow.passwords}) and in "
        f"{demo.layout.logs}. When the cause is mended, run `make demo` again; what is scored already is kept."
    )


def _ui(demo: Demo, run_id: str) -> str:
    return f"{demo.stack.airflow.url}/dags/{DAG_ID}/runs/{run_id}"


def _store(demo: Demo) -> Store:
    return Store(DatabaseSettings(demo.stack.database.url(DATABASE)))


def main(argv: Sequence[str] | None = None) -> int:
    """Run the program; the exit status is 0 when the certificate holds."""
    parser = argparse.ArgumentParser(prog="python -m sniffer_local.demo", description=__doc__)
    layout = Layout(add_root_flag(parser).parse_args(argv).root)
    # A shell that starts us in the background has SIGINT ignored, and every child would inherit that.
    signal.signal(signal.SIGINT, signal.default_int_handler)
    try:
        with only_one(layout.lock, "make demo"):
            run_demo(layout, Story())
    except SnifferError as error:
        print(f"demo: {error}", file=sys.stderr)
        return error.exit_status
    except KeyboardInterrupt:
        print("demo: interrupted; what was started goes on running, `make down` stops it", file=sys.stderr)
        return 130
    return 0


if __name__ == "__main__":
    sys.exit(main())
