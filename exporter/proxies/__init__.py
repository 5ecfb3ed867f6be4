"""Find a proxy that the configuration leaves to Windows or to a PAC file: (proxy, targets) -> the ways to each target.

Imports nothing: `engine` is a process of its own, and pays for each import.
"""
