"""The DAG `backfill_bucket`: a whole historical bucket as one run."""
