"""Prometheus: a scan's figures over HTTP. It is touched in this package only."""
