"""What the operating system and the process give: log, event loop, clocks, services."""
