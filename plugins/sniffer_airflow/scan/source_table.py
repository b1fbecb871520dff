"""Where the table of sources is: a file, or a Variable. Read whenever a DAG file is parsed, and by each plan.

A file is what generates DAGs best: it costs no look-up, and comes and goes with the deployment. The Variable can be
changed in the UI. Airflow's DAG processor and its workers read it by the SDK, as they read those of the forms.
"""

from __future__ import annotations

import json
import logging
import os
from collections.abc import Hashable, Mapping
from pathlib import Path
from typing import Any

import yaml

from sniffer.core.errors import SettingsError
from sniffer.core.text import one_line
from sniffer.core.variables import SOURCES_FILE
from sniffer_airflow.executors.choose import PLACE_VARIABLE, PODS
from sniffer_airflow.forms.fields import Json
from sniffer_airflow.forms.variables import in_words, read_variable
from sniffer_airflow.names import SOURCES_VARIABLE
from sniffer_airflow.scan.sources import EXAMPLE, NamedTwice, SourceTable, parse_table

_MOST_BYTES = 1 << 20

log = logging.getLogger(__name__)


def sources_now(environ: Mapping[str, str] = os.environ) -> SourceTable:
    """As `read_sources`, for DAG files.

    A Variable that cannot be read at the moment is a SettingsError, but no matter where there is a file: it could only
    be one table too many.
    """
    try:
        text = read_variable(SOURCES_VARIABLE)
    except Exception as error:  # noqa: BLE001 - a secrets backend raises whatever its client does
        # Its text is left out: it is another system's, and may hold a secret.
        problem = f"{in_words(SOURCES_VARIABLE)} cannot be read at the moment: {type(error).__name__}"
        if not SOURCES_FILE.read(environ):
            raise SettingsError(problem) from None
        log.warning("%s", problem)
        text = ""
    return _table(text, environ)


def read_sources(environ: Mapping[str, str] = os.environ) -> SourceTable:
    """The table of sources, empty where there is none; SettingsError when it cannot be read, or is there twice."""
    return _table(read_variable(SOURCES_VARIABLE), environ)


def _table(text: str, environ: Mapping[str, str]) -> SourceTable:
    """That of the Variable's text, or of the file."""
    file = SOURCES_FILE.read(environ)
    if file and text:
        raise SettingsError(
            f"two tables of sources: the file {file} ({SOURCES_FILE.name}) and {in_words(SOURCES_VARIABLE)}; take one "
            "away"
        )
    in_pods = environ.get(PLACE_VARIABLE) == PODS
    if file:
        return parse_table(_in_file(Path(file)), file, in_pods=in_pods)
    if text:
        place = in_words(SOURCES_VARIABLE)
        return parse_table(_json(text, place), place, in_pods=in_pods)
    return SourceTable()


def _in_file(path: Path) -> Json:
    try:
        with path.open("rb") as file:
            content = file.read(_MOST_BYTES + 1)
        text = content.decode()
    except (OSError, UnicodeDecodeError) as error:
        raise SettingsError(f"the table of sources cannot be read ({SOURCES_FILE.name}): {error}") from None
    if len(content) > _MOST_BYTES:
        raise SettingsError(f"{path} is larger than {_MOST_BYTES} bytes: that is no table of sources")
    return _json(text, str(path)) if path.suffix == ".json" else _yaml(text, str(path))


def _json(text: str, place: str) -> Json:
    try:
        document: Json = json.loads(text, object_pairs_hook=_object)
    except (ValueError, RecursionError) as error:
        raise SettingsError(f"{place} is not JSON ({error}); it looks like {EXAMPLE}") from None
    return document


def _yaml(text: str, place: str) -> Json:
    try:
        document: Json = yaml.load(text, _Loader)  # which is a SafeLoader
    except (yaml.YAMLError, ValueError, AttributeError, RecursionError) as error:
        # Not all of them are YAML's own: it reads 2026-13-45 as a date that does not exist.
        raise SettingsError(f"{place} is not YAML ({one_line(error)})") from None
    return document


class _Loader(yaml.SafeLoader):
    """YAML's safe one, that also tells of a name that is there twice; YAML itself would take the last."""


def _mapping(loader: _Loader, node: yaml.MappingNode) -> Json:
    pairs: list[tuple[Hashable, Any]] = [
        (loader.construct_object(key, deep=True), loader.construct_object(value, deep=True))
        for key, value in node.value
    ]
    return _object([(str(key), value) for key, value in pairs])


_Loader.add_constructor(yaml.resolver.BaseResolver.DEFAULT_MAPPING_TAG, _mapping)


def _object(pairs: list[tuple[str, Json]]) -> Json:
    found = dict(pairs)
    if len(found) == len(pairs):
        return found
    names = [name for name, _ in pairs]
    return NamedTwice(found, next(name for name in names if names.count(name) > 1))
