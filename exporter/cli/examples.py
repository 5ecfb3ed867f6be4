"""What is typed for the usual purposes: examples for each command, in its `--help` and in the reference."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Final

_THIS: Final = "configmgr-endpoint-exporter"
_WHAT_FOLLOWS: Final[Mapping[str, tuple[str, ...]]] = {
    "serve": (
        "--config.file exporter.yaml",
        "--config.file exporter.yaml --web.listen-address 127.0.0.1:10965",
        "--config.file exporter.yaml --web.config.file web.yml",
    ),
    "check": (
        "--config.file exporter.yaml",
        "--config.file exporter.yaml --role service-connection-point --format markdown",
        "--config.file exporter.yaml --textfile /var/lib/node_exporter/configmgr.prom",
        "--config.file exporter.yaml --against hosts.txt",
    ),
    "validate": (
        "--config.file exporter.yaml",
        "--config.file exporter.yaml --web.config.file web.yml",
    ),
    "endpoints": (
        "--config.file exporter.yaml",
        "--all --feature cloud-management-gateway --format csv",
    ),
    "allowlist": (
        "--config.file exporter.yaml --format markdown",
        "--config.file exporter.yaml --path direct --format edl",
        "--format pac --pac-proxy proxy.corp.example:3128",
        "--config.file exporter.yaml --format json > opened.json",
        "--config.file exporter.yaml --diff opened.json",
    ),
    "explain": (
        "go.microsoft.com --config.file exporter.yaml",
        "https://go.microsoft.com/ --config.file exporter.yaml --role service-connection-point",
        "go.microsoft.com --config.file exporter.yaml --path direct",
        "'*.manage.microsoft.com'",
    ),
    "catalogue import": (
        "endpoints.json --service-area common --role client --output microsoft365.yaml",
        "ServiceTags_Public.json --id AzureFrontDoor.Frontend --output ranges.txt",
        "endpoints.json --diff --config.file exporter.yaml",
    ),
    "catalogue diff": (
        "internet-endpoints.md endpoints.html",
        "internet-endpoints.md --all",
        "internet-endpoints.md --format markdown > issue.md",
    ),
    "config init": (
        "",
        "--output site.yaml --role service-connection-point --proxy http://proxy.corp.example:3128",
    ),
    "config schema": ("> exporter.schema.json", "groups > groups.schema.json"),
    "service install": (
        r"--config.file C:\ProgramData\ConfigMgrEndpointExporter\exporter.yaml",
        r"--account CORP\svc-exporter --password-file C:\secrets\password.txt",
        "--web.listen-address 127.0.0.1:10965",
    ),
    "service remove": ("",),
    "service start": ("",),
    "service stop": ("",),
    "service reload": ("",),
    "service status": ("",),
}
EXAMPLES: Final[Mapping[str, tuple[str, ...]]] = {
    command: tuple(f"{_THIS} {command} {rest}".rstrip() for rest in ways) for command, ways in _WHAT_FOLLOWS.items()
}
