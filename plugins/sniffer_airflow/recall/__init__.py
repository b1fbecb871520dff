"""The DAG that measures recall."""
