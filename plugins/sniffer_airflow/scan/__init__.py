"""The scan DAG: form, plan, tasks."""
