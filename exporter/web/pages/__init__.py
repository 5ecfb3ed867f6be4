"""What people look at: a Snapshot -> pages, and the same facts as data."""

from exporter.web.pages.pages import (
    ASSETS,
    REFRESH,
    SOON,
    Page,
    firewall_request,
    nothing_page,
    runbook_page,
    status_page,
    target_page,
)
from exporter.web.pages.status import status

__all__ = [
    "ASSETS",
    "REFRESH",
    "SOON",
    "Page",
    "firewall_request",
    "nothing_page",
    "runbook_page",
    "status",
    "status_page",
    "target_page",
]
