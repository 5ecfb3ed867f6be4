"""The exporter as a service of Windows: what the service manager is told, and what it tells."""
