"""The exporter where its users are: on Windows."""
