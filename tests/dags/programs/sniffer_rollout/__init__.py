"""Stands in for the rollout where a test is about the DAG around it."""
