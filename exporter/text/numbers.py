"""Numbers of things in words. Pure."""

from __future__ import annotations


def plural(number: int, noun: str) -> str:
    """`1 target`, `2 targets`."""
    return f"{number} {noun}{'' if number == 1 else 's'}"
