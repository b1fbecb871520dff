"""The house: who may import whom is kept by the linter, programs stay light, and no name means two things."""

from __future__ import annotations

import ast
import re
import shutil
import subprocess
import sys
from collections import Counter
from collections.abc import Iterable, Iterator
from functools import cache
from pathlib import Path

import pytest

SOURCES = ("scripts", "model", "plugins", "local")

PLANTED = [
    ("sniffer.core.logs", "sniffer.scan.ledger"),
    ("sniffer.core.logs", "sniffer.adapters.images"),
    ("sniffer.adapters.images.render", "sniffer.adapters.serving"),
    ("sniffer.decoding.caged", "sniffer.scan.ledger"),
    ("sniffer.scan.ledger", "boto3"),
    ("sniffer.scan.ledger", "zmq"),
    ("sniffer.scan.score", "PIL"),
    ("sniffer.scan.score", "requests"),
    ("sniffer.scan.score", "sqlalchemy"),
    ("sniffer.scan.listing", "tensorflow"),
    ("sniffer.scan.listing", "airflow"),
    ("sniffer.scan.listing", "sniffer_model.data.manifest"),
    ("sniffer.scan.estimate", "sniffer_airflow.names"),
    ("sniffer.scan.estimate", "sniffer_local.layout"),
    ("sniffer.scan.ledger", "sniffer.review.passwords"),
    ("sniffer.scan.ledger", "argon2"),
    ("sniffer_model.data.manifest", "sniffer_model.training.head"),
    ("sniffer_model.release.golden", "sniffer_model.export.export"),
    ("sniffer_model.statistics.metrics", "sniffer_model.data.manifest"),
    ("sniffer_model.data.source", "sniffer.scan.dispatch"),
    ("sniffer_serve.errors", "sniffer.adapters.images"),
    ("sniffer_serve.errors", "sniffer_model.release.publish"),
    ("sniffer_rollout.steps", "tensorflow"),
    ("sniffer_rollout.steps", "kubernetes"),
    ("sniffer_rollout.steps", "sniffer_model.training.network"),
    ("sniffer_rollout.steps", "sniffer.scan.produce"),
    ("sniffer_rollout.steps", "sniffer_serve.config"),
    ("sniffer_rollout.sync", "sniffer_rollout.steps"),
    ("sniffer_airflow.names", "sniffer_airflow.executors.choose"),
    ("sniffer_airflow.scan.plan", "sniffer_airflow.training.plan"),
    ("sniffer_airflow.scan.plan", "sniffer.scan.request"),
    ("sniffer_airflow.scan.plan", "sniffer_model.workdir"),
]


def test_the_linter_refuses_every_import_that_crosses_a_border(repository: Path, tmp_path: Path) -> None:
    for source in SOURCES:
        shutil.copytree(repository / source, tmp_path / source, ignore=shutil.ignore_patterns("__pycache__"))
    shutil.copy(repository / "pyproject.toml", tmp_path)
    for importer, imported in PLANTED:
        file = _file(tmp_path, importer)
        file.write_text(f"{file.read_text()}\nimport {imported}\n")
    said = _lint_imports(tmp_path)
    missed = [pair for pair in PLANTED if f"{pair[0]} -> {pair[1]} (l." not in said]
    assert missed == []


def _file(root: Path, module: str) -> Path:
    return next(path for source in SOURCES if (path := root / source / f"{module.replace('.', '/')}.py").is_file())


def _lint_imports(checkout: Path) -> str:
    code = f"import sys; sys.path[:0] = {[str(checkout / source) for source in SOURCES]!r}; " + (
        "from importlinter.cli import lint_imports_command; lint_imports_command()"
    )
    command = [sys.executable, "-c", code, "--no-cache"]
    done = subprocess.run(command, cwd=checkout, capture_output=True, text=True, check=False)
    assert done.returncode == 1, done.stdout + done.stderr
    return " ".join(done.stdout.split())


@pytest.mark.parametrize("module", ["__main__", "sync", "targets.kubernetes", "targets.local"])
def test_a_program_of_the_rollout_loads_nothing_heavy(module: str) -> None:
    heavy = "'tensorflow', 'keras', 'airflow', 'zmq', 'scipy', 'sklearn', 'matplotlib'"
    code = f"import sys, sniffer_rollout.{module}; print([name for name in ({heavy}) if name in sys.modules])"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"


@cache
def _modules(repository: Path) -> dict[str, ast.Module]:
    return {
        ".".join(file.relative_to(repository / source).with_suffix("").parts): ast.parse(file.read_text())
        for source in SOURCES
        for file in (repository / source).rglob("*.py")
        if "migrations" not in file.parts
    }


def test_programs_import_no_programs(repository: Path) -> None:
    modules = _modules(repository)
    programs = {
        name
        for name, tree in modules.items()
        if any(isinstance(n, ast.If) and "__main__" in ast.unparse(n.test) for n in tree.body)
    }
    assert len(programs) > 10
    crossings = [
        (name, node.module)
        for name in programs
        for node in ast.walk(modules[name])
        if isinstance(node, ast.ImportFrom) and node.module in programs and not name.startswith("sniffer_local")
    ]
    assert crossings == []


def test_no_two_classes_share_a_name(repository: Path) -> None:
    names = Counter(
        node.name
        for tree in _modules(repository).values()
        for node in ast.walk(tree)
        if isinstance(node, ast.ClassDef) and not node.name.startswith("_")
    )
    assert [name for name, count in names.items() if count > 1] == []


def test_no_test_file_is_so_long_that_its_name_says_too_little(repository: Path) -> None:
    lengths = {file: len(file.read_text().splitlines()) for file in (repository / "tests").rglob("*.py")}
    assert {file.name: lines for file, lines in lengths.items() if lines > 400} == {}


_UNTYPED = re.compile(r"\b(?:dict|Mapping|MutableMapping)\[str, (?:Any|object)\]")
_FOREIGN_JSON = {
    "sniffer.core.flags": "renders any values as flags",
    "sniffer.core.records": "a certificate's own JSON, which MySQL, files and XComs hold",
    "sniffer_rollout.targets": "objects of the Kubernetes API",
    "sniffer_serve.app": "ASGI's scopes and messages",
    "sniffer_serve.rest": "requests in the JSON of TensorFlow Serving's REST API",
    "sniffer_serve.servable": "TensorFlow's signatures",
    "sniffer_airflow.executors.handed_on": "what any program hands on, as an XCom",
    "sniffer_airflow.executors.proof": "what any program hands on, as an XCom",
    "sniffer_airflow.executors.templates": "manifests of pods",
    "sniffer_airflow.rollout.tasks": "Airflow's own events",
    "sniffer_airflow.rollout.verified": "reads an XCom",
    "sniffer_local.airflow": "Airflow's REST API",
    "sniffer_local.dag_runs": "the conf of a DAG run",
    "sniffer_local.lock": "pyproject.toml",
}
"""Where JSON of somebody else is read or written, and whose it is: modules, or packages with all of theirs."""


def test_no_untyped_dict_crosses_a_border(repository: Path) -> None:
    crossings = {
        name: found for name, tree in _modules(repository).items() if (found := sorted(set(_untyped(tree.body, name))))
    }
    excused = {name for name in crossings for rim in _FOREIGN_JSON if f"{name}.".startswith(f"{rim}.")}
    assert {name: found for name, found in crossings.items() if name not in excused} == {}


def test_untyped_dicts_are_found_wherever_a_caller_meets_them() -> None:
    code = """
from collections.abc import Mapping
Json = Mapping[str, Any]
def taken(values: dict[str, Any]) -> int: ...
def given() -> list[Mapping[str, object]]: ...
async def asked(*, known: dict[str, int], other: "dict[str, Any] | None" = None) -> None: ...
def _own(values: dict[str, Any]) -> dict[str, Any]: ...
class Record:
    values: dict[str, Any]
    _cache: dict[str, Any]
    sizes: Mapping[str, int]
    def __init__(self, first: Mapping[str, Any]) -> None: ...
    def method(self, **values: dict[str, object]) -> None: ...
class _Own:
    values: dict[str, Any]
"""
    found = sorted(_untyped(ast.parse(code).body, "m"))
    assert found == [
        "m.Json",
        "m.Record.__init__",
        "m.Record.method",
        "m.Record.values",
        "m.asked",
        "m.given",
        "m.taken",
    ]


def _untyped(body: Iterable[ast.stmt], scope: str) -> Iterator[str]:
    """The public functions, fields and aliases of that code whose types hold a dict of anything."""
    for node in body:
        match node:
            case ast.ClassDef(name=name) if not name.startswith("_"):
                yield from _untyped(node.body, f"{scope}.{name}")
            case ast.FunctionDef(name=name) | ast.AsyncFunctionDef(name=name) if _is_public(name):
                given = node.args
                taken = [*given.posonlyargs, *given.args, *given.kwonlyargs, given.vararg, given.kwarg]
                types = [node.returns, *(one.annotation for one in taken if one is not None)]
                if any(_UNTYPED.search(ast.unparse(each)) for each in types if each is not None):
                    yield f"{scope}.{name}"
            case ast.AnnAssign(target=ast.Name(id=name), annotation=kind) if _is_public(name):
                if _UNTYPED.search(ast.unparse(kind)):
                    yield f"{scope}.{name}"
            case ast.Assign(targets=[ast.Name(id=name)], value=ast.Subscript() as value) if _is_public(name):
                if _UNTYPED.search(ast.unparse(value)):
                    yield f"{scope}.{name}"


def _is_public(name: str) -> bool:
    return not name.startswith("_") or name in ("__init__", "__call__")
