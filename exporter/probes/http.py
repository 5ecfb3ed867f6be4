"""Ask for a URL as Configuration Manager would: any answer but a refusing one will do."""

from __future__ import annotations

import ssl
from typing import Final

import httpx

from exporter import __version__
from exporter.failure import judge
from exporter.model import Failure, Proxy, Target
from exporter.net import Trail, Transport

_HEADERS: Final = {"User-Agent": f"configmgr-endpoint-exporter/{__version__}", "Connection": "close"}


async def probe(target: Target, context: ssl.SSLContext, proxy: Proxy | None, trail: Trail) -> Failure | None:
    """One request on a connection of its own; the head of the answer decides, and the body stays unread."""
    transport = Transport(context, proxy, trail)
    async with (
        httpx.AsyncClient(transport=transport, trust_env=False, headers=_HEADERS) as client,
        client.stream(target.method, target.url) as response,
    ):
        return judge(target, response.status_code, via_proxy=proxy is not None and target.scheme == "http")
