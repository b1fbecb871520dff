"""Where programs run: the one switch, SNIFFER_RUN_IN, of the processes that read the DAG files and run the tasks."""

from __future__ import annotations

import os
from collections.abc import Collection, Mapping, Sequence
from typing import Any

from airflow.sdk import BaseOperator, XComArg
from airflow.sdk.definitions.mappedoperator import MappedOperator

from sniffer.core.errors import SettingsError
from sniffer_airflow.executors.program import NOT_PLANNED, ProgramOperator

PLACE_VARIABLE = "SNIFFER_RUN_IN"
PROCESSES, PODS = "processes", "pods"


def from_plan(name: str, *, made_with: str = "") -> str:
    """`arguments` that the task `plan` returned under that name, as a template: read by name, it draws no edge.

    Where it returned none, or nothing under `made_with` either, words_of() says what to do: an older release has
    planned that run.
    """
    plan = "ti.xcom_pull(task_ids='plan')"
    return (
        f"{{{{ ({plan}['{name}'] if {plan}['{made_with or name}'] is defined else '{NOT_PLANNED}') "
        f"| default('{NOT_PLANNED}') | tojson }}}}"
    )


def text_from_plan(name: str) -> str:
    """The same for a value that is read as text; empty for none, also where an older release has planned the run."""
    return f"{{{{ ti.xcom_pull(task_ids='plan')['{name}'] | default('', true) }}}}"


def program(
    *,
    module: str,
    arguments: Sequence[str] | str = (),
    needs: Collection[str] = ("aws", "mysql", "serving"),
    progress_flag: str | None = None,
    aws_connection: str = "",
    environ: Mapping[str, str] | None = None,
    **kwargs: Any,
) -> BaseOperator:
    """The operator that runs `python -m MODULE` as a process of the worker (the default) or as a pod.

    `arguments` are words, or a template that renders to a JSON list of words. `needs` names the Connections that a
    process gets its settings from; a pod has its own, from Kubernetes, but no database's address that it does not need.
    `aws_connection` names another one for AWS than `aws_default`, which no pod can have. `environ` goes first.
    The progress of a pod is in its log.
    """
    kind, settings = _chosen(needs, progress_flag, aws_connection, environ)
    operator: BaseOperator = kind(module=module, arguments=arguments, **settings, **kwargs)
    return operator


def mapped_program(
    items: XComArg,
    *,
    module: str,
    needs: Collection[str] = ("aws", "mysql", "serving"),
    progress_flag: str | None = None,
    aws_connection: str = "",
    environ: Mapping[str, str] | None = None,
    **kwargs: Any,
) -> MappedOperator:
    """The same for each item, which has `words`, its arguments, that are no template, and a `title` for the UI."""
    kind, settings = _chosen(needs, progress_flag, aws_connection, environ)
    partial = kind.partial(module=module, map_index_template="{{ task.title }}", **settings, **kwargs)
    return partial.expand_kwargs(items)


def _chosen(
    needs: Collection[str], progress_flag: str | None, aws_connection: str, environ: Mapping[str, str] | None
) -> tuple[type[BaseOperator], dict[str, Any]]:
    """The operator's class, and what it is made with."""
    place = os.environ.get(PLACE_VARIABLE) or PROCESSES
    if place == PROCESSES:
        return ProgramOperator, {
            **{name: name in needs for name in ("aws", "mysql", "serving")},
            "aws_connection": aws_connection,
            "environ": environ,
            "progress_flag": progress_flag,
        }
    if place == PODS:
        from sniffer_airflow.executors.pod import PodProgramOperator

        if aws_connection:
            raise SettingsError(
                f"the Connection {aws_connection} cannot be given to a pod ({PLACE_VARIABLE}={PODS}), whose AWS "
                "credentials are those of its service account: name a role to assume instead"
            )
        return PodProgramOperator, {"mysql": "mysql" in needs, "env_vars": dict(environ or {})}
    raise SettingsError(f"{PLACE_VARIABLE} must be {PROCESSES} or {PODS}, not {place!r}")
