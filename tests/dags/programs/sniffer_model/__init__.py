"""Stands in for the training programs where a test is about the DAGs around them."""
