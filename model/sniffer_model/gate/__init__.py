"""Whether a candidate may replace the stable model."""
