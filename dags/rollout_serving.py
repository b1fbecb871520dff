"""
### Roll out a model version to TensorFlow Serving

Loads a published version into the model servers, proves it beside the stable version, and makes it stable. The stable
version keeps answering all the time, and running scans keep the version they started with.

#### When it runs

When `export_model` has published a version (Asset `savedmodel`), or when you press *Trigger*. Which version is what the
table `models` says, not the event: a run without anything new to roll out is *skipped*.

#### Steps

1. `plan` decides which version.
2. `tidy_up` takes back what a run has left that was marked as failed.
3. `preflight`: the files are complete, the digest is right, the gate accepted it, the servers can be reached.
4. `load`: every server loads the version beside the others, with the label `canary`.
5. `verify`: golden examples, latency, and decisions on scanned images.
6. `review` logs the figures.
7. `approve` waits for a person, if one must approve the version.
8. `promote` checks the approval once more; the label `stable` moves to the version, then the table `models` follows.
9. `announce` emits an event of the Asset `serving_model`.

Each step is `python -m sniffer_rollout STEP`.

**If a step fails, `restore` puts the servers back to what `models` says**, and the run is red. The end of the failed
step's log gives the reason.

#### Roll back

Trigger a run with the action *Roll back*. The previous version, which stays loaded, is stable again within a minute; no
files are needed. Results of scans are kept per version, so those of the earlier model are all still there.

Only one run works at a time. If another run is at work or waits for an approval, *mark it as failed* and the roll-back
starts at once. It also takes back what that run had started. A roll-back needs no approval.

**A run that you mark as failed does not run its `restore`**: the version that it loaded stays beside the others,
unused, until the next run tidies up. To do that at once, clear `restore` in the run that you marked.

#### Approval

With *Ask for approval*, the run waits at `approve` until a person answers under *Required Actions*. The question shows
the report, warnings of the gate, who asked, the deadline, and what would change, with pictures of up to eight test
images whose verdict changes, for those who may start `retrain_model`. It holds no worker meanwhile. A rejection, or no
answer within 12 hours, fails the step and puts everything back.

**Four eyes**, in Kubernetes unless `SNIFFER_FOUR_EYES=no`: what a person asked for (this run, the export or the
training before it, or an override of the gate) waits for an approval even without that switch, and an approval by one
of those people does not count; the question is asked again. With `SNIFFER_APPROVE_AUTOMATIC=yes`, rollouts that nobody
asked for wait, too. Who asked, who approved and the reason are recorded in the table `models`.

#### If something goes wrong

* **A step failed and you have fixed the cause**: clear it, with everything after it. Every step can be run again.
* **A worker died**: the same. Until `promote` has changed `models`, no scan is affected.
* **`restore` failed**: the servers could not be reached. Clear it when they can.
* **Somebody changed by hand what the servers are told to serve**: the log of the step names who. Trigger a run with
  *Take over manual changes* under *More options*, or take the change back.
* **You want an older version**: trigger a run with its *Model version*. It must be blessed, stable or previous.

#### Set it up

* Variable `sniffer_model_base`: where versions are published.
* Connections `mysql_default` and `aws_default`, as for `scan_bucket`.
* Environment variable `SNIFFER_ROLLOUT_TARGET` of the process or pod that runs a step: which model servers.
"""

from __future__ import annotations

from datetime import timedelta

from airflow.sdk import TaskGroup, chain, dag

from sniffer_airflow.alerts.callbacks import tell_of_failure
from sniffer_airflow.names import SAVEDMODEL, TASK_DEFAULTS
from sniffer_airflow.rollout.approval import approval_operator
from sniffer_airflow.rollout.form import rollout_params
from sniffer_airflow.rollout.tasks import announce, choose, plan, promote, restore, review, roll_back, step, tidy_up


@dag(
    schedule=[SAVEDMODEL],
    catchup=False,
    max_active_runs=1,
    # Shorter pauses: until it is put back, a version that failed stays beside the stable one.
    default_args={**TASK_DEFAULTS, "retry_delay": timedelta(minutes=1), "retry_exponential_backoff": 3},
    on_failure_callback=tell_of_failure,
    params=rollout_params(),
    description="Load a published model version beside the stable one, prove it, and make it stable; or roll back. "
    "Runs when export_model has published a version.",
    tags=["sniffer", "serving"],
    doc_md=__doc__,
)
def rollout_serving() -> None:
    """Prove a published version beside the stable one, and make it stable; or go back to the previous one."""
    with TaskGroup("roll_out", prefix_group_id=False, tooltip="Load, prove and promote the version") as roll_out:
        chain(tidy_up(), step("preflight"), step("load"), step("verify"), review(), approval_operator(), promote())
    rollback = roll_back()

    plan() >> choose() >> [roll_out, rollback]
    [roll_out, rollback] >> announce()
    [roll_out, rollback] >> restore()


rollout_serving()
