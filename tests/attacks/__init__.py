"""Attacks, as plain functions: each does one thing to an address and says what came of it."""
