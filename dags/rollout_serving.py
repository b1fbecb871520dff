"""
### Roll a model version out to TensorFlow Serving

Brings a published version into the model servers, proves it beside the stable one, and makes it stable. Runs whenever
`export_model` has published a version (Asset `savedmodel`), and by the *Trigger* button. The stable version never stops
answering, and running scans keep the version that they began with.

`plan` (which version) → `preflight` (complete, digest right, blessed, servers reachable) → `load` (beside the others,
label `canary`, on every server) → `verify` (golden examples, latency, decisions on scanned images) → `review` (the
figures) → `approve` (only if asked for) → `promote` (label `stable`, then `models`) → `announce` (Asset
`serving_model`). Each step is `python -m sniffer_rollout STEP`.

**Any failure puts the servers back to what `models` says** (`restore`), and the run is red; the failed step's log ends
with the reason.

#### Roll back

Trigger with *Action* `roll back`: the previous version, which stays loaded, is stable again within a minute. Nothing
else is asked for: no file, no S3. Results of scans are kept per version, so those of the former model are all there.

One run at a time: while another one is at work, or waits for an approval, the roll-back stays *queued*. *Mark as
failed* on that run lets it begin at once, and it takes back what that run had begun.

#### Approval

With *Ask for approval* the run waits at `approve` (*Required Actions* in the UI) with the figures of `verify`: golden
examples, latency, flips on scanned images, change in flags a night. It holds no worker meanwhile. A rejection, or 12
hours without an answer, fails the step and puts everything back.

#### Resume, retry

* **A step failed, and the cause is mended**: *Clear task* on it, with everything after it. Every step may be run again
  and does what is left.
* **A worker died in the middle**: the same. Until `promote` has changed `models`, nothing has changed for any scan.
* **`restore` failed**: the servers could not be reached. Clear it when they can.
* **Roll out an older version**: trigger with its *Version*; it must be blessed, stable or previous.

#### Settings

Variable `sniffer_model_base`; Connections `mysql_default`, and `aws_default` as for the scan. Which servers: the
environment variable `SNIFFER_ROLLOUT_TARGET` of the process, or pod, that runs the step. One rollout at a time.
"""

from __future__ import annotations

from datetime import timedelta

from airflow.sdk import TaskGroup, chain, dag

from sniffer_airflow.names import SAVEDMODEL, TASK_DEFAULTS
from sniffer_airflow.rollout.form import rollout_params
from sniffer_airflow.rollout.tasks import announce, approve, choose, plan, restore, review, step


@dag(
    schedule=[SAVEDMODEL],
    catchup=False,
    max_active_runs=1,
    # Shorter pauses: until it is put back, a version that failed stays beside the stable one.
    default_args={**TASK_DEFAULTS, "retry_delay": timedelta(minutes=1), "retry_exponential_backoff": 3},
    params=rollout_params(),
    tags=["sniffer", "serving"],
    doc_md=__doc__,
)
def rollout_serving() -> None:
    """Prove a published version beside the stable one, and make it stable; or go back to the previous one."""
    with TaskGroup("roll_out", prefix_group_id=False, tooltip="Load, prove and promote the version") as roll_out:
        chain(step("preflight"), step("load"), step("verify"), review(), approve(), step("promote"))
    rollback = step("rollback")

    plan() >> choose() >> [roll_out, rollback]
    [roll_out, rollback] >> announce()
    [roll_out, rollback] >> restore()


rollout_serving()
