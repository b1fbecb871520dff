"""Stands in for the fleet where a test is about the DAG around it."""
