from __future__ import annotations

from collections.abc import Mapping
from types import SimpleNamespace
from typing import Any

import pytest

from sniffer.core.errors import SettingsError
from sniffer_airflow.training.form import export_params, retrain_params, watch_params
from sniffer_airflow.training.plan import Retraining, TrainingSettings, plan_export, plan_training, plan_watch

RUN = SimpleNamespace(dag_id="retrain_model", run_id="manual__2026-11-22T13:30:00+00:00")


def settings(text: str = '{"source": "s3://labels"}') -> TrainingSettings:
    return TrainingSettings("/data", "/models", Retraining.parse(text))


def form(params: dict[str, Any], **values: Any) -> dict[str, Any]:
    return {name: param.value for name, param in params.items()} | values


def plan(text: str = '{"source": "s3://labels"}', **values: Any) -> dict[str, Any]:
    return plan_training(RUN, form(retrain_params(), **values), settings(text))


def test_the_form_comes_before_the_variable() -> None:
    text = (
        '{"source": "s3://a", "prevalence": 0.1, "nightly_volume": 9, "fine_tune": true, "limits": {"min_recall": 1}}'
    )
    planned = plan(text, source="/b", prevalence=0.2, limits={"min_pr_auc": 0.5})
    assert "--source=/b" in planned["snapshot"]
    assert planned["evaluate"][2:] == ["--prevalence=0.2", "--nightly-volume=9"]
    assert "--fine-tune" in planned["train"]
    assert planned["gate"][-2:] == ["--min-recall=1", "--min-pr-auc=0.5"]


def test_a_precision_asked_for_in_the_form_is_not_undone_by_a_capacity_of_the_variable() -> None:
    text = '{"source": "s3://a", "capacity": 100, "target_precision": 0.9}'
    assert plan(text)["evaluate"][2:] == ["--capacity=100", "--target-precision=0.9"]
    assert plan(text, target_precision=0.8)["evaluate"][2:] == ["--target-precision=0.8"]
    assert plan(text, target_precision=0.8, capacity=7)["evaluate"][2:] == ["--capacity=7", "--target-precision=0.8"]


def test_a_run_keeps_its_workdir_however_often_it_is_tried() -> None:
    assert plan()["workdir"] == plan(prevalence=0.3)["workdir"] == f"/data/runs/retrain_model.{RUN.run_id}"


def test_no_value_can_be_taken_for_a_flag() -> None:
    words = plan(source="--rescan", override_by="-x", override_reason="--override-by=me")["gate"]
    assert words[-2:] == ["--override-by=-x", "--override-reason=--override-by=me"]


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("", "no labelled images: .*sniffer_retraining"),
        ("{", "sniffer_retraining is not JSON"),
        ("[]", "must be a JSON object"),
        ('{"limits": 3}', "must be a JSON object"),
        ('{"source": "s3://a", "volume": 3, "over": 1}', "has no field over, volume; it may have source, "),
        ('{"override_by": "me"}', "has no field override_by"),
    ],
)
def test_a_wrong_variable_is_named_with_the_way_out(text: str, message: str) -> None:
    with pytest.raises(SettingsError, match=message):
        plan(text)


def test_enough_is_of_the_form_the_variable_or_500() -> None:
    assert plan_watch(form(watch_params()), settings())["enough"] == 500
    assert plan_watch(form(watch_params()), settings('{"source": "s", "new_labels": 7}'))["enough"] == 7
    assert plan_watch(form(watch_params(), new_labels=9), settings('{"source": "s", "new_labels": 7}'))["enough"] == 9


def test_the_newest_of_several_events_is_exported() -> None:
    events: list[Mapping[str, Any]] = [{"workdir": "/old"}, {"workdir": "/new"}]
    assert plan_export(form(export_params()), events, settings()) == ["--workdir=/new", "--model-base-path=/models"]
    with pytest.raises(SettingsError, match="no model was ever blessed"):
        plan_export(form(export_params()), [], settings())
