"""Reach a host by a route and exchange one request with it, on a stopwatch."""

from exporter.net.signin import SignIn
from exporter.net.tls import trusted_roots, verifying
from exporter.net.trail import Trail
from exporter.net.transport import PAGE, Route, Transport, beginning

__all__ = ["PAGE", "Route", "SignIn", "Trail", "Transport", "beginning", "trusted_roots", "verifying"]
