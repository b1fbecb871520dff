"""The training DAGs: form, plan, tasks."""
