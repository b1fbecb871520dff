"""The operator that runs one of our programs: settings in by environment, log and progress out, its result as XCom.

DAGs name a program, never a place: choose.py chooses between this operator and the one of pod.py.
"""

from __future__ import annotations

import json
import logging
import os
import sys
import time
from collections.abc import Collection, Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any, ClassVar

from airflow.sdk import BaseOperator, Context
from airflow.sdk.exceptions import AirflowException, AirflowFailException, AirflowRuntimeError
from airflow.sdk.log import mask_secret

from sniffer.core.errors import SettingsError
from sniffer.core.redaction import KnownSecrets
from sniffer.core.temporary import temporary_folder
from sniffer_airflow.executors.connections import Connections, fetch, program_environ
from sniffer_airflow.executors.failures import failure
from sniffer_airflow.executors.handed_on import handed_on
from sniffer_airflow.executors.hours import wait_for_hours
from sniffer_airflow.executors.owner import Owner
from sniffer_airflow.executors.process import ProgramProcess
from sniffer_airflow.executors.program_log import LOG_ENVIRON, LineReader, ProgramLog
from sniffer_airflow.executors.proof import RESULT_FLAG, mark_of, proved, refuse_unproved
from sniffer_airflow.executors.turns import wait_for_turn
from sniffer_airflow.executors.watched import end_when_unwatched

NOT_PLANNED = "not planned"
"""Stands, as a text, in the place of the words of a command line that the run's plan does not have."""

_LOOK_S = 0.5
_PROGRESS_S = 5.0


def words_of(arguments: Sequence[str] | str) -> list[str]:
    """The words of a command line, which may be given as the text of a JSON list.

    AirflowFailException where that says that the run's plan has no such words: no retry brings them.
    """
    words: list[str] | str = json.loads(arguments) if isinstance(arguments, str) else list(arguments)
    if isinstance(words, str):
        raise AirflowFailException(
            "the task `plan` of this run has not returned what this task needs: it ended before an upgrade. Clear "
            "`plan` with everything after it; what is done already is not done again"
        )
    return words


class ProgramOperator(BaseOperator):
    """Runs `python -m MODULE ARGUMENTS` to its end and returns its JSON result, as handed_on() says.

    Exit status 0 is success; 2 (wrong usage or settings) fails the task for good; any other is retried as the DAG
    says. What the program logs is in the task's log with its level; the exception is its last error. However the task
    ends (failed or cleared by hand, timed out, worker stopped, task process killed), nothing that the program started
    outlives it by more than seconds. The connections' secrets reach the program through its environment only.

    `aws_connection` names another Connection than `aws_default`; `environ` is what the program is given besides, in the
    place of what the worker and the Connections say. It is no secret: the DAG has it.

    Of a mapped task, `title` names the instance, `words` are its own arguments, which are no template whatever they
    look like, `more_arguments` are those of all of them, and at most `at_a_time` of one run work at the same time, only
    within the `hours` of the day, such as `22:00-06:00 UTC`: the program is told when these end.

    `progress_flag` names the flag by which the program takes the file to write its progress to, which is shown as
    *Task State Store* > `progress`.
    """

    template_fields: Sequence[str] = ("arguments", "more_arguments", "at_a_time", "hours")
    template_fields_renderers: ClassVar[dict[str, str]] = {"arguments": "json", "more_arguments": "json"}
    ui_color = "#e8f0ea"

    def __init__(
        self,
        *,
        module: str,
        arguments: Sequence[str] | str = (),
        aws: bool = True,
        mysql: bool = True,
        serving: bool = True,
        aws_connection: str = "",
        environ: Mapping[str, str] | None = None,
        progress_flag: str | None = None,
        more_arguments: Sequence[str] | str = (),
        words: Sequence[str] = (),
        title: str = "",
        at_a_time: str = "",
        hours: str = "",
        leave_out: Collection[str] = (),
        only: str = "",
        again_if: str = "",
        **kwargs: Any,
    ) -> None:
        super().__init__(**kwargs)
        self.module = module
        self.arguments = arguments
        self.more_arguments = more_arguments
        self.words = tuple(words)
        self.title = title
        self.at_a_time = at_a_time
        self.hours = hours
        self.needs = {"aws": aws, "mysql": mysql, "serving": serving}
        self.aws_connection = aws_connection
        self.environ = dict(environ or {})
        self.progress_flag = progress_flag
        self.leave_out = tuple(leave_out)
        self.only = only
        self.again_if = again_if
        self._program: ProgramProcess | None = None
        self._stop_asked = False
        self._until: list[str] = []

    def execute(self, context: Context) -> Any:
        """Run the program; see the class."""
        end_when_unwatched()
        refuse_unproved(context, self)
        self._until = wait_for_hours(self.hours, self.log)
        wait_for_turn(context, self.at_a_time, self.log)
        owner = Owner.of(context)
        connections = self._connections()
        environ = program_environ(os.environ, connections) | self.environ | LOG_ENVIRON | mark_of(owner)
        secrets = KnownSecrets(environ)
        for secret in secrets.forms():
            mask_secret(secret)
        with temporary_folder("sniffer-task-") as folder:
            result, progress = folder / "result.json", folder / "progress.json"
            command = self._command(result, progress)
            self.log.info("Running %s", secrets.hide(" ".join(command)))
            shown = _ShownProgress(progress, context, self.log)
            written = ProgramLog(self.log, secrets)
            status = self._run(command, environ, shown, written)
            if status:
                raise self._failure(status, written.reason())
            found = proved(_read_json(result), owner, self.module)
            return handed_on(found, self.log, leave_out=self.leave_out, only=self.only, again_if=self.again_if)

    def on_kill(self) -> None:
        """Called in a signal handler while execute() is anywhere: only tells the program to stop."""
        self._stop_asked = True
        if self._program is not None:
            self._program.stop()

    def _connections(self) -> Connections:
        try:
            return fetch(module=self.module, **self.needs, aws_connection=self.aws_connection)
        except SettingsError as error:
            raise AirflowFailException(str(error)) from error

    def _command(self, result: Path, progress: Path) -> list[str]:
        # -P: what lies in the worker's current folder must not shadow our packages.
        words = [*words_of(self.arguments), *words_of(self.more_arguments), *self.words, *self._until]
        command = [sys.executable, "-P", "-m", self.module, *words, f"{RESULT_FLAG}={result}"]
        if self.progress_flag:
            command.append(f"{self.progress_flag}={progress}")
        return command

    def _run(
        self, command: Sequence[str], environ: Mapping[str, str], shown: _ShownProgress, written: ProgramLog
    ) -> int:
        readers = {True: LineReader(logging.WARNING), False: LineReader(logging.INFO)}
        with ProgramProcess(command, environ) as program:
            self._program = program
            while (status := program.exit_status) is None:
                if self._stop_asked:  # it may have been asked before there was a program to stop
                    program.stop()
                is_silent = True
                for line in program.lines(_LOOK_S):
                    is_silent = False
                    written.write(readers[line.is_error_stream].read(line.text))
                if is_silent:
                    _flush(readers.values(), written)
                shown.update()
            for line in program.rest():
                written.write(readers[line.is_error_stream].read(line.text))
            _flush(readers.values(), written)
            shown.update(now=True)
        return status

    def _failure(self, status: int, reason: str | None) -> AirflowException:
        if self._stop_asked:
            return AirflowException(f"{self.module} was stopped by Airflow")
        return failure(self.module, status, reason, self.log)


def _flush(readers: Iterable[LineReader], written: ProgramLog) -> None:
    for reader in readers:
        written.write(reader.flush())


class _ShownProgress:
    """Copies the program's progress file to the task's state store, where the UI shows it; every few seconds."""

    def __init__(self, path: Path, context: Context, log: Any) -> None:
        self._path = path
        self._store = context["task_state_store"]
        self._log = log
        self._shown: dict[str, Any] | None = None
        self._next = time.monotonic()

    def update(self, *, now: bool = False) -> None:
        if not now and time.monotonic() < self._next:
            return
        self._next = time.monotonic() + _PROGRESS_S
        progress = _read_json(self._path)
        if progress is None or progress == self._shown:
            return
        try:
            self._store.set("progress", progress)
        except AirflowRuntimeError as error:  # a scan of hours does not die of a progress bar
            self._log.warning("Progress cannot be shown: %s", error)
        self._shown = progress


def _read_json(path: Path) -> dict[str, Any] | None:
    """The JSON object in a file, None when there is none (yet)."""
    try:
        document = json.loads(path.read_bytes())
    except (FileNotFoundError, ValueError):
        return None
    return document if isinstance(document, dict) else None
