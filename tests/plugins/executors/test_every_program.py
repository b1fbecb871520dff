"""Each program that Airflow may start says why it gives up as an ERROR of the task's log, which is the exception."""

from __future__ import annotations

import logging
from typing import Any

import pytest
from airflow.sdk.exceptions import AirflowFailException
from support.task_context import task_context

from sniffer_airflow.executors.program import ProgramOperator
from sniffer_rollout.__main__ import STEPS

SCAN = ["sniffer.scan", "sniffer.scan.produce", "sniffer.scan.consume", "sniffer.scan.migrate"]
STEPS_OF_TRAINING = ["sniffer_model.data.count_labels", "sniffer_model.data.snapshot"]
"""The others have the same shell, and load TensorFlow for seconds."""


class NoStore:
    def set(self, key: str, value: Any) -> None: ...


@pytest.mark.sampled(4)
@pytest.mark.parametrize(
    ("module", "first"),
    [*((module, []) for module in (*SCAN, *STEPS_OF_TRAINING)), *(("sniffer_rollout", [step]) for step in STEPS)],
)
def test_a_wrong_flag_is_an_error_of_the_log_and_the_exception(
    module: str, first: list[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    records: list[tuple[int, str]] = []

    class Log:
        def log(self, level: int, message: str, *values: object, **_: str) -> None:
            records.append((level, message % values))

        def info(self, message: str, *values: object) -> None:
            self.log(logging.INFO, message, *values)

        warning = info

    monkeypatch.setattr(ProgramOperator, "log", Log())
    operator = ProgramOperator(
        task_id="program", module=module, arguments=[*first, "--wrong"], aws=False, mysql=False, serving=False
    )
    with pytest.raises(AirflowFailException, match=r"^there is no flag --wrong.* \(see sniffer .* --help\)$") as raised:
        operator.execute(task_context(store=NoStore()))
    [text] = [text for level, text in records if level == logging.ERROR]
    assert text.endswith(f": {raised.value}")


@pytest.mark.sampled(3)
@pytest.mark.parametrize("step", STEPS)
def test_a_step_of_a_rollout_without_settings_says_which(step: str, monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("SNIFFER_ROLLOUT_TARGET", "SNIFFER_MODEL_BASE_PATH", "SNIFFER_DATABASE_URL"):
        monkeypatch.delenv(name, raising=False)
    version = ["--version=3"] if STEPS[step].needs_version else []
    operator = ProgramOperator(
        task_id=step, module="sniffer_rollout", arguments=[step, *version], aws=False, mysql=False, serving=False
    )
    with pytest.raises(AirflowFailException, match=r"^SNIFFER_\w+ is not set; it looks like"):
        operator.execute(task_context(store=NoStore()))
