"""Judging a trained model: figures, mistakes, plots, the report."""
