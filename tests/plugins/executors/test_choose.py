"""What a task reads of its run's plan, also of one that an older release has made."""

from __future__ import annotations

from typing import Any

import jinja2
import pytest
from airflow.sdk import DAG, XComArg
from airflow.sdk.exceptions import AirflowFailException

from sniffer_airflow.executors.choose import from_plan, text_from_plan
from sniffer_airflow.executors.program import ProgramOperator, words_of
from sniffer_airflow.scan.tasks import scan, shards


class TaskInstance:
    """Of a run whose task `plan` has returned that."""

    def __init__(self, returned: Any) -> None:
        self._returned = returned

    def xcom_pull(self, *, task_ids: str) -> Any:
        assert task_ids == "plan"
        return self._returned


def rendered(template: str, returned: Any) -> str:
    operator = ProgramOperator(task_id="t", module="m", arguments=template)
    with DAG("d", template_undefined=jinja2.StrictUndefined) as dag:
        environment = dag.get_template_env()
    return str(operator.render_template(template, {"ti": TaskInstance(returned)}, environment))  # type: ignore[typeddict-item]


def test_the_words_of_a_plan_are_read_as_they_are() -> None:
    returned = {"arguments": ["--prefix={{ ds }} 'é'"], "scan_arguments": [], "shards_at_a_time": 3}
    assert words_of(rendered(from_plan("arguments"), returned)) == ["--prefix={{ ds }} 'é'"]
    assert words_of(rendered(from_plan("scan_arguments"), returned)) == []
    assert words_of(rendered(from_plan("arguments", made_with="scan_arguments"), returned)) == returned["arguments"]
    assert rendered(text_from_plan("shards_at_a_time"), returned) == "3"
    assert rendered(text_from_plan("shards_at_a_time"), returned | {"shards_at_a_time": None}) == ""


@pytest.mark.parametrize("returned", [{"arguments": ["--consumers=4"]}, {}, None])
def test_a_run_planned_before_an_upgrade_is_to_be_planned_again(returned: Any) -> None:
    """Every task that reads it fails for good, in words: `shards` as well, though it finds the words of another
    program under the name of its own."""
    with DAG("d"):
        cut = shards()
        operators = [cut.arguments, scan(XComArg(cut)).partial_kwargs["more_arguments"]]  # type: ignore[attr-defined]
    for template in operators:
        with pytest.raises(AirflowFailException, match="ended before an upgrade. Clear `plan` with everything after"):
            words_of(rendered(template, returned))
    assert rendered(text_from_plan("shards_at_a_time"), returned) == ""
