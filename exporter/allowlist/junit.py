"""What an existing allow list lacks, for continuous integration: Comparison -> JUnit XML. Pure."""

from __future__ import annotations

from xml.etree import ElementTree as ET

from exporter.allowlist.comparison import Comparison
from exporter.allowlist.rules import Rule
from exporter.text.printable import one_line


def comparison_junit(compared: Comparison) -> str:
    """A suite with a case for each rule, in ASCII. Law: it fails exactly if the list lacks it."""
    suite = ET.Element("testsuite", name="configmgr-endpoint-exporter.allowlist")
    for rule in compared.allowed:
        _case(suite, rule)
    for rule in compared.missing:
        failure = ET.SubElement(_case(suite, rule), "failure", message="missing", type="missing")
        failure.text = one_line(", ".join(dict.fromkeys(need.feature for need in rule.needed_for)))
    for rule, why in compared.unjudged:
        ET.SubElement(_case(suite, rule), "skipped", message=one_line(why))
    suite.set("tests", str(len(suite)))
    suite.set("failures", str(len(compared.missing)))
    suite.set("errors", "0")
    suite.set("skipped", str(len(compared.unjudged)))
    root = ET.Element("testsuites")
    root.append(suite)
    ET.indent(root)
    document: bytes = ET.tostring(root, encoding="us-ascii", xml_declaration=True)
    return document.decode("ascii")


def _case(suite: ET.Element, rule: Rule) -> ET.Element:
    return ET.SubElement(suite, "testcase", classname=one_line(f"{rule.role}.{rule.path}"), name=one_line(rule.what))
