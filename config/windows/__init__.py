"""Make the bundle for Windows: Python, what the exporter needs, and a command, in one zip file."""
