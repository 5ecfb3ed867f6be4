"""What the commands print: a Snapshot or Requirements -> text, for people and for machines. Pure."""

from exporter.report.asked import Asked, asked, why_none
from exporter.report.counting import counted
from exporter.report.data import check_json, endpoints_csv, endpoints_json
from exporter.report.findings import nothing_to_check, verdict
from exporter.report.junit import check_junit
from exporter.report.markdown import check_markdown
from exporter.report.single import print_asked, print_probes, probes_text
from exporter.report.terminal import print_check, print_endpoints

__all__ = [
    "Asked",
    "asked",
    "check_json",
    "check_junit",
    "check_markdown",
    "counted",
    "endpoints_csv",
    "endpoints_json",
    "nothing_to_check",
    "print_asked",
    "print_check",
    "print_endpoints",
    "print_probes",
    "probes_text",
    "verdict",
    "why_none",
]
