"""Reach a host by a route and exchange one request with it, on a stopwatch."""

from exporter.net.signin import SignIn
from exporter.net.tls import trusted_roots, verifying
from exporter.net.trail import Trail
from exporter.net.transport import Route, Transport

__all__ = ["Route", "SignIn", "Trail", "Transport", "trusted_roots", "verifying"]
