"""The Grafana dashboards: file name -> dashboard, made of panels that each answer one question."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from types import MappingProxyType
from typing import Final

from grafana_foundation_sdk.builders.dashboard import Dashboard

from dashboards.grafana import certificates, exporters, latency, network, readiness

DASHBOARDS: Final[Mapping[str, Callable[[], Dashboard]]] = MappingProxyType(
    {
        "readiness": readiness.dashboard,
        "network": network.dashboard,
        "latency": latency.dashboard,
        "certificates": certificates.dashboard,
        "exporter": exporters.dashboard,
    }
)
