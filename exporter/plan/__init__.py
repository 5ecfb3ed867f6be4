"""What a site needs, to the fewest probes for it."""
