"""The rollout DAG: form, plan, tasks."""
