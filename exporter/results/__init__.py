"""What came of the probes, and what follows from it."""
