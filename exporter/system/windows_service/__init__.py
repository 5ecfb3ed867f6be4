"""The exporter as a service of Windows: what goes to the service manager, and what comes from it."""
