"""Reach a host by a route and exchange one request with it, on a stopwatch."""

from exporter.probe.net.clock import Clock, clock_in_force
from exporter.probe.net.limit import Limit
from exporter.probe.net.signin import SignIn, sign_ins_of
from exporter.probe.net.tls import trusted_roots, verifying
from exporter.probe.net.trace import Trace
from exporter.probe.net.transport import USER_AGENT, Route, Transport, beginning

__all__ = [
    "USER_AGENT",
    "Clock",
    "Limit",
    "Route",
    "SignIn",
    "Trace",
    "Transport",
    "beginning",
    "clock_in_force",
    "sign_ins_of",
    "trusted_roots",
    "verifying",
]
