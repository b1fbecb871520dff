"""What code imports, followed through our own modules, and which distribution brings it: read, not run."""

from __future__ import annotations

import ast
import sys
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from functools import cache
from importlib import metadata
from pathlib import Path

from packaging.utils import canonicalize_name

CHECKOUT = Path(__file__).resolve().parents[2]
OURS = {
    "sniffer": "scripts",
    "sniffer_model": "model",
    "sniffer_serve": "model",
    "sniffer_rollout": "model",
    "sniffer_airflow": "plugins",
    "sniffer_local": "local",
}


@dataclass(frozen=True)
class Imports:
    """What some code needs from elsewhere: each module that is not ours nor Python's, and who imports it."""

    importers: dict[str, set[str]]

    def distributions(self) -> dict[str, tuple[set[str], set[str]]]:
        """For each module: the distributions of which one brings it, and the importers."""
        return {module: (providers(module), by) for module, by in self.importers.items()}


@cache
def _packages() -> dict[str, list[str]]:
    return dict(metadata.packages_distributions())


def providers(module: str) -> set[str]:
    """The distributions that bring a module; for Airflow's providers, which share a name, the one of that provider."""
    if module.startswith("airflow.providers."):
        names = ("apache-airflow-" + "-".join(module.split(".")[1:end]) for end in (4, 3))
        return {name for name in names if _is_installed(name)}
    return {canonicalize_name(name) for name in _packages().get(module.partition(".")[0], ())}


def _is_installed(name: str) -> bool:
    try:
        metadata.distribution(name)
    except metadata.PackageNotFoundError:
        return False
    return True


def source(module: str) -> Path | None:
    """The file of one of our modules."""
    base = CHECKOUT / OURS[module.partition(".")[0]] / Path(*module.split("."))
    return next((file for file in (base.with_suffix(".py"), base / "__init__.py") if file.is_file()), None)


def imports_of(modules: Iterable[str], files: Iterable[Path] = ()) -> Imports:
    """Everything that these import, wherever in a file, and what of ours they import imports in turn."""
    todo = [*modules]
    importers: dict[str, set[str]] = {}
    seen: set[str] = set()
    for file in files:
        todo += _read(file, file.name, importers)
    while todo:
        module = todo.pop()
        path = source(module)
        if module not in seen and path is not None:
            todo += _read(path, module, importers)
        seen.add(module)
    return Imports(importers)


def _executed(node: ast.AST) -> Iterator[ast.AST]:
    """The node and all below it, but for what only a type checker reads."""
    if isinstance(node, ast.If) and isinstance(node.test, ast.Name) and node.test.id == "TYPE_CHECKING":
        return
    yield node
    for child in ast.iter_child_nodes(node):
        yield from _executed(child)


def _read(file: Path, importer: str, importers: dict[str, set[str]]) -> list[str]:
    ours = []
    for node in _executed(ast.parse(file.read_text())):
        if isinstance(node, ast.Import):
            names = [alias.name for alias in node.names]
        elif isinstance(node, ast.ImportFrom) and node.module:
            names = [node.module, *(f"{node.module}.{alias.name}" for alias in node.names)]
        else:
            continue
        for name in names:
            top = name.partition(".")[0]
            if top in OURS:
                parts = name.split(".")
                ours += [".".join(parts[:end]) for end in range(1, len(parts) + 1)]
            elif top not in sys.stdlib_module_names:
                key = ".".join(name.split(".")[:4]) if name.startswith("airflow.providers.") else top
                importers.setdefault(key, set()).add(importer)
    return ours
