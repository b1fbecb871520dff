"""Asset events as Airflow hands them to the task of a run that they have started."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import Any

from airflow.sdk import Asset
from airflow.sdk.api.datamodels._generated import AssetReferenceAssetEventDagRun
from airflow.sdk.execution_time.comms import AssetEventDagRunReferenceResult
from airflow.sdk.execution_time.context import TriggeringAssetEventsAccessor

WHEN = datetime(2026, 11, 26, tzinfo=UTC)


def event(asset: Asset, extra: Any, by: tuple[str, str] | None = None) -> AssetEventDagRunReferenceResult:
    """An event of that Asset, by that DAG and task, or made by hand. Airflow's own check of `extra` is left out."""
    dag_id, task_id = by or (None, None)
    return AssetEventDagRunReferenceResult.model_construct(
        asset=AssetReferenceAssetEventDagRun(name=asset.name, uri=asset.uri, extra={}),
        extra=extra,
        source_dag_id=dag_id,
        source_task_id=task_id,
        source_run_id=None,
        source_map_index=None,
        source_aliases=[],
        timestamp=WHEN,
    )


def triggering(*events: AssetEventDagRunReferenceResult) -> TriggeringAssetEventsAccessor:
    """The `triggering_asset_events` of a run that these events, from the oldest, have started."""
    return TriggeringAssetEventsAccessor.build(events)
