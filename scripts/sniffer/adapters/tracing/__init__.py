"""OpenTelemetry: the stages of a scan as spans, sent to a collector. It is touched in this package only."""
