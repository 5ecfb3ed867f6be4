"""Prometheus exporter for the internet endpoints that a Configuration Manager site needs."""

__version__ = "0.1.0"
