"""The command `sniffer`: finds the program that a subcommand names, and runs it.

It alone knows every room. A room is imported only when one of its commands is used, so that `sniffer --help` is quick
and a machine needs no more packages than its own commands do.
"""

from __future__ import annotations

import argparse
import importlib
import os
import sys
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from sniffer.core.command_group import answer, refuse
from sniffer.core.program import Program, missing_package
from sniffer.core.streams import mend_streams, show, speak_utf8

DISTRIBUTION = "sniffer-bot"
GROUPS: Mapping[tuple[str, ...], str] = {
    (): "Finds images of illegal drugs in S3 buckets: scans them with a ResNet50 classifier behind TensorFlow Serving, "
    "trains that classifier, and rolls out what was trained.",
    ("model",): "The way from labelled images to a published model, step by step in this order. The steps of one "
    "training share a folder, the workdir.",
    ("rollout",): "A published version comes into the model servers, step by step. Every step may be run again, and "
    "does only what is left.",
    ("review",): "What is flagged comes before people: the page on which they decide, its accounts, and its log.",
    ("labels",): "What reviewers have decided, on its way into the next training.",
    ("recall",): "How many drug images the model in production misses, by a random sample that reviewers decide about.",
    ("local",): "The whole stack on this machine: MariaDB, S3, the model server and Airflow, in a folder of their own.",
}
"""What each group of commands is for."""


@dataclass(frozen=True, slots=True)
class Command:
    """One command: the module that holds its program, what it does in a few words, and the extra that it needs."""

    module: str
    line: str
    extra: str = "fleet"


COMMANDS: Mapping[tuple[str, ...], Command] = {
    ("scan",): Command("sniffer.scan.__main__", "scan a bucket on this machine, and certify that nothing was left out"),
    ("plan",): Command("sniffer.scan.plan", "cut a bucket into shards, each for a scan of its own"),
    ("estimate",): Command("sniffer.backfill.estimate", "say what the scan of a stored plan would take and cost"),
    ("approve",): Command("sniffer.backfill.approve", "let a plan be scanned at its estimate"),
    ("recount",): Command("sniffer.backfill.recount", "see whether a bucket is still as it was approved"),
    ("certify",): Command("sniffer.scan.certify", "add up the certificates of a scan's shards"),
    ("archived",): Command("sniffer.backfill.archived", "list what lies in an archive, for a restore"),
    ("produce",): Command("sniffer.scan.produce", "the one producer of a fleet over a network"),
    ("consume",): Command("sniffer.scan.consume", "one of the consumers of a fleet over a network"),
    ("release",): Command("sniffer.scan.release", "let count what a held scan has flagged"),
    ("discard",): Command("sniffer.scan.discard", "delete what a held scan has scored, so that it is scored again"),
    ("review", "serve"): Command("sniffer.review.web.serve", "the page on which reviewers decide", "review"),
    ("review", "account"): Command("sniffer.review.account", "the local accounts of that page", "review"),
    ("review", "verify-log"): Command("sniffer.review.verify_log", "check that its log is whole", "review"),
    ("migrate",): Command("sniffer.scan.migrate", "bring the database to the schema of this release"),
    ("prune",): Command("sniffer.retention.prune", "delete results that are old, or of unused model versions"),
    ("erase",): Command("sniffer.retention.erase", "delete all that MySQL holds of a key or a prefix"),
    ("review", "export"): Command("sniffer.review.export_queue", "write what waits for review for another program"),
    ("review", "import"): Command("sniffer.review.import_decisions", "store decisions made in another program"),
    ("labels", "keep"): Command("sniffer.review.keep_images", "copy decided images into a bucket of your own"),
    ("labels", "publish"): Command("sniffer.review.publish_labels", "write decisions as the labels of a snapshot"),
    ("model", "count-labels"): Command(
        "sniffer_model.data.count_labels", "count labelled images that no snapshot has seen", "trainer"
    ),
    ("model", "snapshot"): Command("sniffer_model.data.snapshot", "freeze labelled images for a training", "trainer"),
    ("model", "train"): Command("sniffer_model.training.train", "train on a snapshot", "trainer"),
    ("model", "evaluate"): Command(
        "sniffer_model.evaluation.evaluate", "judge the trained model, and choose its threshold", "trainer"
    ),
    ("model", "gate"): Command(
        "sniffer_model.gate.__main__", "decide whether it may replace the stable model", "trainer"
    ),
    ("model", "export"): Command("sniffer_model.export.export", "publish and register it as a version", "trainer"),
    ("rollout", "preflight"): Command("sniffer_rollout.__main__", "check whether a version may be rolled out"),
    ("rollout", "load"): Command("sniffer_rollout.__main__", "load it beside what is served"),
    ("rollout", "verify"): Command("sniffer_rollout.__main__", "compare it with the stable version"),
    ("rollout", "promote"): Command("sniffer_rollout.__main__", "make it the stable version"),
    ("rollout", "rollback"): Command("sniffer_rollout.__main__", "make the previous version stable again"),
    ("rollout", "restore"): Command("sniffer_rollout.__main__", "serve again what the database says"),
    ("rollout", "run"): Command("sniffer_rollout.__main__", "preflight, load, verify and promote"),
    ("rollout", "sync"): Command("sniffer_rollout.sync", "keep one model server's files and config up to date"),
    ("recall", "draw"): Command("sniffer.recall.draw", "draw a random sample of what was scanned, for reviewers"),
    ("recall", "measure"): Command("sniffer.recall.measure", "measure recall by what reviewers said of the samples"),
    ("serve",): Command("sniffer_serve.server", "serve a model without TensorFlow Serving", "trainer"),
    ("state-metrics",): Command("sniffer.scan.state_metrics", "serve to Prometheus what waits for a person"),
    ("doctor",): Command("sniffer.doctor.__main__", "ask S3, MySQL, model server, Airflow, Kubernetes if all is well"),
    ("local", "demo"): Command("sniffer_local.demo", "the whole product once, on this machine", "dev"),
    ("local", "down"): Command("sniffer_local.down", "stop what the demo started", "dev"),
    ("local", "status"): Command("sniffer_local.status", "show what of the demo's stack runs", "dev"),
    ("local", "env"): Command("sniffer_local.env", "export lines for a shell on the demo's stack", "dev"),
    ("local", "bench"): Command("sniffer_local.bench", "measure the speed of scan and training", "dev"),
    ("local", "samples"): Command("sniffer_local.samples.__main__", "draw labelled sample images", "dev"),
    ("completion",): Command("sniffer.completion", "let a shell complete commands and flags by Tab"),
}


def main(argv: Sequence[str] | None = None) -> int:
    """Run the command that these words name, by default those of the process; returns the exit status."""
    if argv is None:
        speak_utf8()
    mend_streams()
    if "_ARGCOMPLETE" in os.environ:
        _complete(os.environ["COMP_LINE"].split()[1:])
    words = sys.argv[1:] if argv is None else list(argv)
    path = _path_of(words)
    if path in COMMANDS:
        return _run(path, words[len(path) :])
    return _answer(path, words[len(path) :])


def program(path: tuple[str, ...]) -> Program:
    """The program of that command; imports its room. Raises ModuleNotFoundError when a package is not installed."""
    module = importlib.import_module(COMMANDS[path].module)
    programs: Mapping[str, Program] | None = getattr(module, "PROGRAMS", None)
    found: Program = module.PROGRAM if programs is None else programs[path[-1]]
    return found


def parsers() -> dict[tuple[str, ...], argparse.ArgumentParser]:
    """The parser of every command, for reference pages and tests; imports every room."""
    return {path: program(path).parser() for path in COMMANDS}


def _path_of(words: Sequence[str]) -> tuple[str, ...]:
    """The words that name a command, or a group of commands, as far as there is one."""
    for length in (2, 1):
        path = tuple(words[:length])
        if len(path) == length and (path in COMMANDS or _commands_of(path)):
            return path
    return ()


def _commands_of(group: tuple[str, ...]) -> dict[tuple[str, ...], Command]:
    return {path: command for path, command in COMMANDS.items() if path[: len(group)] == group != path}


def _run(path: tuple[str, ...], words: Sequence[str]) -> int:
    try:
        found = program(path)
    except ModuleNotFoundError as error:
        command = f"sniffer {' '.join(path)}"
        return refuse(command, missing_package(error, COMMANDS[path].extra))
    return found.main(words)


def _complete(words: Sequence[str]) -> None:
    """Answer a shell that asks for completions, through argcomplete, and end the process."""
    import argcomplete

    argcomplete.autocomplete(completion_parser(_path_of(words)))


def completion_parser(path: tuple[str, ...]) -> argparse.ArgumentParser:
    """A parser that knows every command, and the flags of the one at the path: only its room is imported."""
    root = argparse.ArgumentParser("sniffer")
    root.add_argument("--version", action="store_true")
    levels: dict[tuple[str, ...], Any] = {(): root.add_subparsers()}
    for group in GROUPS:
        if group:
            levels[group] = levels[()].add_parser(group[0]).add_subparsers()
    for command in COMMANDS:
        parents = [program(command).parser()] if command == path else []
        levels[command[:-1]].add_parser(command[-1], parents=parents, add_help=not parents)
    return root


def _answer(group: tuple[str, ...], words: Sequence[str]) -> int:
    """Answer words that name no command; returns the exit status."""
    if not group and words and words[0] == "--version":
        return _print_version()
    commands = {" ".join(path[len(group) :]): command.line for path, command in _commands_of(group).items()}
    return answer(
        " ".join(("sniffer", *group)),
        commands,
        words,
        summary=GROUPS[group],
        flags="" if group else "--version",
    )


def _print_version() -> int:
    # Imported here: it takes longer than all the rest of this module.
    from importlib.metadata import PackageNotFoundError, version

    try:
        show(f"sniffer {version(DISTRIBUTION)}")
    except PackageNotFoundError:
        return refuse("sniffer", f"the distribution {DISTRIBUTION} is not installed here: run `make setup`")
    return 0


if __name__ == "__main__":
    sys.exit(main())
