"""The exporter while it runs."""
