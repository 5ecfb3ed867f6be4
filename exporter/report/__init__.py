"""What `check` and `endpoints` print: a Snapshot or Requirements -> text, for people and for machines. Pure."""

from exporter.report.data import check_json, endpoints_csv, endpoints_json
from exporter.report.findings import all_ready
from exporter.report.junit import check_junit
from exporter.report.markdown import check_markdown
from exporter.report.terminal import print_check, print_endpoints

__all__ = [
    "all_ready",
    "check_json",
    "check_junit",
    "check_markdown",
    "endpoints_csv",
    "endpoints_json",
    "print_check",
    "print_endpoints",
]
