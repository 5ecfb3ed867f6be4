"""One target, asked once, and what it means."""
