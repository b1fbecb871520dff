"""`make docs`: the reference pages of docs/, made from the code. --check writes nothing and names stale pages."""

from __future__ import annotations

import argparse
import importlib.util
import inspect
import re
import sys
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

from sqlalchemy import Column, Table
from sqlalchemy.dialects import mysql

from sniffer import cli
from sniffer.adapters.mysql import schema
from sniffer.adapters.mysql.grants import role_statements
from sniffer.adapters.mysql.review import account_tables as _account_tables  # noqa: F401 - adds to the schema's tables
from sniffer.adapters.mysql.review import recall_tables as _recall_tables  # noqa: F401 - adds its tables to the schema's
from sniffer.adapters.mysql.review import tables as _review_tables  # noqa: F401 - adds its tables to the schema's
from sniffer.core.errors import SnifferError, UnreadableImage
from sniffer.core.metrics import METRICS, OTHER, AnyName, Metric
from sniffer.core.outcomes import CODES, OUTCOMES
from sniffer.core.program import Program
from sniffer.core.setting import Setting
from sniffer.core.settings import SETTINGS
from sniffer_local.layout import CHECKOUT

DOCS = CHECKOUT / "docs"
_MIGRATIONS = Path(schema.__file__).parent / "migrations" / "versions"
_VIEWS = {
    "flagged_images": "What reviewers read, the present: one row for each object whose newest version the stable model "
    "scores at or above its threshold *now*, without those that a scan found deleted. An order by `score` with a limit "
    "and a condition on `object_key` use an index.",
    "flagged_history": "The past beside it: every image that any model version scores at or above its own threshold "
    "*now*, also replaced and deleted ones.",
    "unreadable_images": "What the stable model could not be asked about, with the reason.",
}
_ENVIRONMENT = re.compile(r"^environment:\n(?:  .*\n)+\n", re.MULTILINE)
MOST_SHOWN = 10
"""Label values that a table lists."""
_NOTE = "<!-- Made from the code by `make docs`; do not edit. -->"


def tables_page() -> str:
    """The tables of MySQL: what a row is, what a column holds."""
    parts = [
        "# Tables of MySQL",
        "For whoever writes SQL against sniffer-bot's database. `sniffer migrate` creates and changes the tables "
        f"(Alembic, today at migration {schema.SCHEMA_VERSION}); text is `ascii` unless people write it, times are UTC "
        "with microseconds, digests are SHA-256.",
    ]
    for table in schema.metadata.sorted_tables:
        parts += [f"## `{table.name}`", table.info["doc"], _table(("column", "type", "holds"), _columns(table))]
    for name, view in _views().items():
        parts += [f"## The view `{name}`", _VIEWS[name], f"```sql\n{inspect.cleandoc(view)}\n```"]
    return _page(parts)


def outcomes_page() -> str:
    """Outcomes of images, error codes, and exit statuses of programs."""
    return _page(
        [
            "# Outcomes, error codes, exit statuses",
            "For whoever reads a certificate, the table `predictions`, or a red task's log. "
            "[Troubleshooting](troubleshooting.md) goes from a symptom to what to do.",
            "## Outcomes",
            "Each listed object ends in exactly one:\n\n    listed = " + " + ".join(OUTCOMES),
            _table(
                ("outcome", "meaning", "tried again"),
                ((f"`{outcome}`", row.meaning, row.tried_again) for outcome, row in OUTCOMES.items()),
            ),
            "## Error codes of images",
            "In `predictions.error_code`, and in the samples of a certificate.",
            _table(
                ("code", "outcome", "meaning", "what to do"),
                ((f"`{code}`", f"`{row.outcome}`", row.meaning, row.what_to_do) for code, row in CODES.items()),
            ),
            "## Exit statuses of programs",
            "Every program says in one line on standard error what went wrong and what to do. Airflow retries a task "
            "whose program ended with 1 and fails one that ended with 2 at once.",
            _table(("status", "when"), _exit_statuses()),
        ]
    )


def settings_page() -> str:
    """Every environment variable that the programs read."""
    parts = [
        "# Settings",
        "For whoever configures a program of sniffer-bot: every environment variable that it reads. Empty means unset. "
        "A value outside its bounds ends the program at once, with exit status 2 and the bounds. Where a flag says the "
        "same ([flags.md](flags.md)), the flag wins. In Kubernetes the variables are in `k8s/base/settings.env`; with "
        "Airflow some come from Connections ([operate.md](operate.md#with-airflow)).",
    ]
    for group in dict.fromkeys(setting.group for setting in SETTINGS):
        rows = (_setting(setting) for setting in SETTINGS if setting.group == group)
        parts += [f"## {group}", _table(("variable", "default", "bounds", "what"), rows)]
    return _page(parts)


def metrics_page() -> str:
    """Every figure that a scan gives to Prometheus."""
    rows = ((f"`{metric.name}`", str(metric.kind), _labels(metric), metric.giver, metric.meaning) for metric in METRICS)
    return _page(
        [
            "# Figures for Prometheus",
            "For whoever writes a query, a rule or a dashboard: what a scan with `--metrics-port` gives. How it is "
            "turned on: [metrics.md](metrics.md). No label ever holds a key: a value that is not foreseen is `"
            + OTHER
            + "`.",
            _table(("name", "type", "labels", "given by", "meaning"), rows),
        ]
    )


def _labels(metric: Metric) -> str:
    return ", ".join(f"`{name}`: " + _values(values) for name, values in metric.labels.items())


def _values(values: tuple[str, ...] | AnyName) -> str:
    if isinstance(values, AnyName):
        return values.meaning
    return ", ".join(values) if len(values) <= MOST_SHOWN else f"{len(values)} values"


def flags_page() -> str:
    """The help of every command, as it prints it."""
    names = {path: " ".join(("sniffer", *path)) for path in cli.COMMANDS}
    index = (
        (f"[`{names[path]}`](#{'-'.join(('sniffer', *path))})", command.line) for path, command in cli.COMMANDS.items()
    )
    parts = [
        "# Commands and flags",
        "For whoever types a `sniffer` command: what each says with `--help`. Exit statuses: "
        "[outcomes.md](outcomes.md#exit-statuses-of-programs).",
        _table(("command", "does"), index),
    ]
    for path in cli.COMMANDS:
        program = cli.program(path)
        parts += [f"## {names[path]}", f"```text\n{_short_help(program)}\n```"]
        if program.environment:
            listed = ", ".join(f"`{name}`" for name in program.environment)
            parts.append(f"Reads {listed} ([settings.md](settings.md)).")
    return _page(parts)


def roles_script() -> str:
    """The roles of MySQL as `sniffer migrate --grants` makes them, for the database `sniffer`."""
    return "\n".join(
        [
            "-- The roles of the database `sniffer`, as `sniffer migrate --grants` prints them.",
            "-- Made from the code by `make docs`; do not edit.",
            *(f"{statement};" for statement in role_statements("sniffer")),
            "",
        ]
    )


PAGES: Mapping[str, Callable[[], str]] = {
    "tables.md": tables_page,
    "outcomes.md": outcomes_page,
    "settings.md": settings_page,
    "figures.md": metrics_page,
    "flags.md": flags_page,
    "roles.sql": roles_script,
}


def stale_pages() -> list[str]:
    """Names of the pages in docs/ that are missing or are not what the code says now."""
    return [name for name, make in PAGES.items() if _read(DOCS / name) != make()]


def main(argv: Sequence[str] | None = None) -> int:
    """Run the program. Exit status: 0 the pages are up to date (now), 1 with --check when one is stale."""
    parser = argparse.ArgumentParser(prog="python -m sniffer_local.reference", description=__doc__)
    parser.add_argument("--check", action="store_true", help="write nothing; fail when a page is stale")
    flags = parser.parse_args(argv)
    stale = stale_pages()
    for name in stale:
        print(f"docs/{name} {'is stale: run `make docs`' if flags.check else 'is written'}")
        if not flags.check:
            (DOCS / name).write_text(PAGES[name](), encoding="utf-8")
    return 1 if stale and flags.check else 0


def _short_help(program: Program) -> str:
    """Its help without the environment, whose variables have a page of their own."""
    return _ENVIRONMENT.sub("", program.parser().format_help()).rstrip()


def _setting(setting: Setting[Any]) -> tuple[str, str, str, str]:
    default = setting.default_text()
    what = setting.meaning + (f"; for example `{setting.example}`" if setting.example else "")
    return f"`{setting.name}`", f"`{default}`" if default else "", setting.bounds(), what


def _columns(table: Table) -> Iterator[tuple[str, str, str]]:
    for column in table.columns:
        key = " (key)" if column.primary_key else " (unique)" if column.unique else ""
        yield f"`{column.name}`{key}", f"`{_type(column)}`", column.doc or ""


def _type(column: Column[object]) -> str:
    return column.type.compile(dialect=mysql.dialect()) if str(column.type) != "BLOB" else "MEDIUMBLOB"


def _views() -> dict[str, str]:
    """The SQL of each view, from the migration that creates them."""
    spec = importlib.util.spec_from_file_location("newest_migration", _MIGRATIONS / "0005_proofs.py")
    if spec is None or spec.loader is None:
        raise FileNotFoundError(_MIGRATIONS / "0005_proofs.py")
    migration = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(migration)
    views: dict[str, str] = migration.VIEWS
    return views


def _exit_statuses() -> Iterator[tuple[str, str]]:
    yield "0", "the program did what it says; for a scan: the certificate holds"
    # Other modules derive errors too; those here are what a program may end with.
    ours = (error for error in SnifferError.__subclasses__() if error.__module__ == SnifferError.__module__)
    for error in sorted(ours, key=lambda error: error.exit_status):
        if error is not UnreadableImage:
            yield str(error.exit_status), f"`{error.__name__}`: {_one_line(error.__doc__ or '')}"
    yield "128 + N", "ended by signal N: 143 is SIGTERM, 137 is SIGKILL (out of memory, as a rule)"


def _page(parts: Iterable[str]) -> str:
    return "\n\n".join((_NOTE, *parts)) + "\n"


def _table(head: Sequence[str], rows: Iterable[Sequence[str]]) -> str:
    lines = [_row(head), "|" + "---|" * len(head), *(_row(row) for row in rows)]
    return "\n".join(lines)


def _row(cells: Sequence[str]) -> str:
    return "| " + " | ".join(cell.replace("|", "\\|") for cell in cells) + " |"


def _one_line(text: str) -> str:
    return re.sub(r"\s+", " ", text).strip()


def _read(path: Path) -> str | None:
    return path.read_text(encoding="utf-8") if path.exists() else None


if __name__ == "__main__":
    sys.exit(main())
