from __future__ import annotations

from dataclasses import fields
from typing import Any

import pytest

from sniffer.core.errors import SettingsError
from sniffer_airflow.training.fields import GATE_LIMITS
from sniffer_airflow.training.form import RetrainForm, WatchForm, retrain_params, watch_params
from sniffer_airflow.training.plan import TrainingPlan, override_flags, plan_export, plan_training, plan_watch
from sniffer_airflow.training.settings import Retraining, TrainingSettings
from sniffer_model.gate.limits import Limits

RUN_NAME = "retrain_model.manual__2026-11-22T13:30:00+00:00"


def settings(text: str = '{"source": "s3://labels"}') -> TrainingSettings:
    return TrainingSettings("/data", "/models", Retraining.parse(text))


def form(params: dict[str, Any], **values: Any) -> dict[str, Any]:
    return {name: param.value for name, param in params.items()} | values


def plan(text: str = '{"source": "s3://labels"}', **values: Any) -> TrainingPlan:
    return plan_training(RUN_NAME, RetrainForm.parse(form(retrain_params(), **values)), settings(text))


def watch(text: str = '{"source": "s"}', **values: Any) -> int:
    return plan_watch(WatchForm.parse(form(watch_params(), **values)), settings(text)).enough


def test_the_form_comes_before_the_variable() -> None:
    text = (
        '{"source": "s3://a", "prevalence": 0.1, "nightly_volume": 9, "fine_tune": true, "limits": {"min_recall": 1}}'
    )
    planned = plan(text, source="/b", prevalence=0.2, limits={"min_pr_auc": 0.5})
    assert "--source=/b" in planned.snapshot
    assert planned.evaluate[2:] == ["--prevalence=0.2", "--nightly-volume=9"]
    assert "--fine-tune" in planned.train
    assert planned.gate[-2:] == ["--min-recall=1", "--min-pr-auc=0.5"]


def test_a_precision_asked_for_in_the_form_is_not_undone_by_a_capacity_of_the_variable() -> None:
    text = '{"source": "s3://a", "capacity": 100, "target_precision": 0.9}'
    assert plan(text).evaluate[2:] == ["--capacity=100", "--target-precision=0.9"]
    assert plan(text, target_precision=0.8).evaluate[2:] == ["--target-precision=0.8"]
    assert plan(text, target_precision=0.8, capacity=7).evaluate[2:] == ["--capacity=7", "--target-precision=0.8"]


def test_a_run_keeps_its_workdir_however_often_it_is_tried() -> None:
    assert plan().workdir == plan(prevalence=0.3).workdir == f"/data/runs/{RUN_NAME}"


def test_no_value_can_be_taken_for_a_flag() -> None:
    assert "--source=--rescan" in plan(source="--rescan").snapshot
    words = override_flags(RetrainForm(override_reason="--override-by=me"), "-x")
    assert words == ["--override-by=-x", "--override-reason=--override-by=me"]


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("", "no labelled images: .*sniffer_retraining"),
        ("{", "sniffer_retraining is not JSON"),
        ("[]", "must be a JSON object"),
        ('{"limits": 3}', "limits in the Variable sniffer_retraining must be a JSON object of numbers by name, not 3"),
        (
            '{"source": "s", "prevalence": "half"}',
            "prevalence in the Variable sniffer_retraining must be a number above 0 and below 1",
        ),
        (
            '{"source": "s", "capacity": 0}',
            "capacity in the Variable sniffer_retraining must be a whole number from 1 to 1,000,000,000,000, not 0",
        ),
        (
            '{"source": "s", "fine_tune": "yes"}',
            'fine_tune .* must be one of null, true, false, "on", "off", not .yes.',
        ),
        ('{"source": "s3://a", "volume": 3, "over": 1}', "has no field over, volume .*; it may have source, "),
        ('{"override_by": "me"}', "has no field override_by"),
    ],
)
def test_a_wrong_variable_is_named_with_the_way_out(text: str, message: str) -> None:
    with pytest.raises(SettingsError, match=message):
        plan(text)


def test_enough_is_of_the_form_the_variable_or_500() -> None:
    assert watch() == 500
    assert watch('{"source": "s", "new_labels": 7}') == 7
    assert watch('{"source": "s", "new_labels": 7}', new_labels=9) == 9


def test_the_newest_of_several_blessed_models_is_exported() -> None:
    planned = plan_export(None, ["/old", "/new"], settings())
    assert planned.export == ["--workdir=/new", "--model-base-path=/models"]
    assert plan_export("/older", ["/old"], settings()).export[0] == "--workdir=/older"
    with pytest.raises(SettingsError, match="no model has passed the gate yet"):
        plan_export(None, [], settings())


def test_an_override_needs_a_reason_and_a_user() -> None:
    assert override_flags(RetrainForm(), "ana") == []
    with pytest.raises(SettingsError, match="Airflow knows of nobody who triggered this run"):
        override_flags(RetrainForm(override_reason="the only one"), None)


def test_no_form_takes_a_name() -> None:
    with pytest.raises(SettingsError, match="under the name of the Airflow user who triggers the run"):
        plan(override_by="Ana", override_reason="the only one")


def test_the_form_knows_every_limit_of_the_gate_and_its_kind_of_number() -> None:
    assert {name: bounds.whole for name, bounds in GATE_LIMITS.items()} == {
        limit.name: limit.type == "int" for limit in fields(Limits)
    }
    for name, bounds in GATE_LIMITS.items():
        usual = getattr(Limits(), name)
        assert usual is None or bounds.least <= usual <= bounds.most, name


def test_off_in_the_form_beats_on_in_the_variable_and_the_form_shows_what_that_says(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    def shown() -> dict[str, str]:
        return dict(retrain_params()["fine_tune"].schema["values_display"])

    for on in ('{"source": "s", "fine_tune": true}', '{"source": "s", "fine_tune": "on"}'):
        assert "--fine-tune" in plan(on).train
        assert "--fine-tune" in plan(on, fine_tune="on").train
        assert "--fine-tune" not in plan(on, fine_tune="off").train
    assert "--fine-tune" in plan(fine_tune="on").train
    assert "--fine-tune" not in plan().train
    assert shown()["null"] == "As the Variable sniffer_retraining says (currently off)"
    monkeypatch.setenv("AIRFLOW_VAR_SNIFFER_RETRAINING", '{"fine_tune": true}')
    assert shown()["null"] == "As the Variable sniffer_retraining says (currently on)"
    monkeypatch.setenv("AIRFLOW_VAR_SNIFFER_RETRAINING", '{"fine_tune": 1}')
    assert shown()["null"] == "As the Variable sniffer_retraining says (unknown at the moment)"


def test_the_form_shows_what_empty_means_today(monkeypatch: pytest.MonkeyPatch) -> None:
    def help_of(name: str) -> str:
        return str(retrain_params()[name].schema["description_md"])

    assert "*If empty:* 100,000 (or nightly_volume in the Variable" in help_of("nightly_volume")
    assert "a source must be given here" in help_of("source")
    monkeypatch.setenv("AIRFLOW_VAR_SNIFFER_RETRAINING", '{"source": "s3://a/*b*", "nightly_volume": 4000000}')
    assert "*If empty:* currently **4,000,000** (nightly_volume in the Variable" in help_of("nightly_volume")
    assert r"currently **s3://a/\*b\***" in help_of("source")
    monkeypatch.setenv("AIRFLOW_VAR_SNIFFER_RETRAINING", "{")
    assert "cannot be read, or is not valid, at the moment" in help_of("source")
