"""
### Export a blessed model

Makes a SavedModel of the model that the gate let pass, proves it, publishes it and registers it. Runs whenever
`retrain_model` blesses a model (Asset `blessed_model`), and by the *Trigger* button.

`plan` (which model) → `export` (`python -m sniffer_model.export.export`) → `announce_savedmodel` (an event of the Asset
`savedmodel` with the version, which starts `rollout_serving`).

#### What `export` proves before anything is published

* The SavedModel, loaded again as a server would, scores the golden images by the signature `pixels` as the trained
  model does, within 1e-5.
* Every warm-up record runs: a broken one would keep TensorFlow Serving from loading the version.
* The gate's verdict is of this very training, and it blesses it.

Then the version appears as a whole: in a folder by one rename, in S3 by a marker that is put last. Only then it is
registered in `models`. **Nothing is live by that**: `rollout_serving` decides.

#### Resume, repeat

*Clear task* on `export` at any time: what is published already is found again and keeps its version; an interrupted
publish is taken up, and nobody else gets its number. Exit status 2 says what is wrong with the workdir.

When several models were blessed before this run began, the newest is exported and the log names the others. To export
one of those, trigger the DAG with its *Workdir* (the XCom of `plan` in its `retrain_model` run).

#### Settings

Variables `sniffer_training_dir` and `sniffer_model_base`, Connections `mysql_default` and `aws_default`, as for
`retrain_model`.
"""

from __future__ import annotations

from airflow.sdk import dag

from sniffer_airflow.names import BLESSED_MODEL, TASK_DEFAULTS
from sniffer_airflow.training.form import export_params
from sniffer_airflow.training.tasks import announce_savedmodel, plan_of_export, training_program


@dag(
    schedule=[BLESSED_MODEL],
    catchup=False,
    max_active_runs=1,
    default_args=TASK_DEFAULTS,
    params=export_params(),
    tags=["sniffer", "training"],
    doc_md=__doc__,
)
def export_model() -> None:
    """Publish the newest blessed model under its reserved version."""
    plan_of_export() >> training_program("export", mysql=True) >> announce_savedmodel()


export_model()
