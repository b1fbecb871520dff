"""
### Export a model that passed the gate

Turns the accepted model into a SavedModel, checks it, publishes it and registers it. **This does not put it into
production**: `rollout_serving` does.

#### When it runs

When `retrain_model` has accepted a model (Asset `blessed_model`), or when you press *Trigger*.

#### Steps

1. `plan` decides which model is exported.
2. `export` runs the program `python -m sniffer_model.export.export`.
3. `announce_savedmodel` emits an event of the Asset `savedmodel` with the version, which starts `rollout_serving`.

#### What is checked before anything is published

* The SavedModel, loaded as a server loads it, scores the golden images like the trained model, within 1e-5.
* Every warm-up record runs. A broken one would keep TensorFlow Serving from loading the version.
* The gate's verdict belongs to this training, and it accepts it.

The version is published as a whole: a folder by one rename, S3 by a marker that is written last. Then it is registered
in the table `models`.

#### If something goes wrong

Clear `export` at any time. What is already published is found again and keeps its version; an interrupted upload is
continued. Exit status 2 says what is wrong with the workdir.

If several models were accepted before this run started, the newest is exported, and the log of `plan` names the others.
To export one of those, trigger a run with its *Workdir* (see the XCom of `plan` in its `retrain_model` run).

#### Set it up

Variables `sniffer_training_dir` and `sniffer_model_base`, Connections `mysql_default` and `aws_default`, as for
`retrain_model`.
"""

from __future__ import annotations

from airflow.sdk import dag

from sniffer_airflow.alerts.callbacks import tell_of_failure
from sniffer_airflow.names import BLESSED_MODEL, TASK_DEFAULTS
from sniffer_airflow.training.fields import export_fields
from sniffer_airflow.training.tasks import announce_savedmodel, plan_of_export, training_program


@dag(
    schedule=[BLESSED_MODEL],
    catchup=False,
    max_active_runs=1,
    default_args=TASK_DEFAULTS,
    on_failure_callback=tell_of_failure,
    params=export_fields(),
    description="Export, check and publish the model that has passed the gate. Runs when retrain_model has accepted "
    "one.",
    tags=["sniffer", "training"],
    doc_md=__doc__,
)
def export_model() -> None:
    """Publish the newest blessed model under its reserved version."""
    plan_of_export() >> training_program("export", mysql=True) >> announce_savedmodel()


export_model()
