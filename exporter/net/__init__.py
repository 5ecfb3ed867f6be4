"""Reach a host by a route and exchange one request with it, on a stopwatch."""

from exporter.net.clock import Clock, clock_in_force
from exporter.net.limit import Limit
from exporter.net.signin import SignIn, sign_ins_of
from exporter.net.tls import trusted_roots, verifying
from exporter.net.trail import Trail
from exporter.net.transport import USER_AGENT, Route, Transport, beginning

__all__ = [
    "USER_AGENT",
    "Clock",
    "Limit",
    "Route",
    "SignIn",
    "Trail",
    "Transport",
    "beginning",
    "clock_in_force",
    "sign_ins_of",
    "trusted_roots",
    "verifying",
]
