"""The report for continuous integration: Snapshot -> JUnit XML. Pure."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Final
from xml.etree import ElementTree as ET

from exporter.model.vocabulary import (
    CheckKey,
    EndpointReadiness,
    EndpointState,
    Failure,
    FeatureReadiness,
    Latest,
    Requirement,
    Snapshot,
    Use,
    Verdict,
)
from exporter.report.evidence import Connection, decisive
from exporter.report.findings import NARROWER, verdict, why
from exporter.report.reasons import words_of
from exporter.text.printable import one_line

_KEPT_UP: Final = f"partly open: another target of the wildcard is up. {NARROWER}"
_MAY_BE_KEPT_UP: Final = "down, but another target of the wildcard is pending"


def check_junit(snapshot: Snapshot) -> str:
    """A suite for each feature, role and cloud, a case for each endpoint and target, times in seconds; in ASCII.

    Law: a case fails exactly if its target is down and its endpoint with it, so there are failures exactly if
    something is not ready. What is not probed, pending, for reference only, or down behind a wildcard that another
    target keeps up, is skipped. Where there is nothing to check, that is an error in a suite of its own.
    """
    needs = {requirement.use: requirement for requirement in snapshot.plan.unprobed}
    suites = [_suite(feature, snapshot.latest, needs) for feature in snapshot.features]
    if verdict(snapshot) is Verdict.NOTHING_TO_CHECK:
        suites.insert(0, _nothing(snapshot))
    root = ET.Element("testsuites", name="configmgr-endpoint-exporter")
    for name in ("tests", "failures", "errors"):  # what Jenkins' schema knows here; `skipped` only a suite has
        root.set(name, str(sum(int(suite.get(name, "0")) for suite in suites)))
    root.set("time", _seconds(sum(float(suite.get("time", "0")) for suite in suites)))
    root.extend(suites)
    ET.indent(root)
    document: bytes = ET.tostring(root, encoding="us-ascii", xml_declaration=True)
    return document.decode("ascii")


def _nothing(snapshot: Snapshot) -> ET.Element:
    """A suite that fails, since a report without a test is taken for a success."""
    words = Verdict.NOTHING_TO_CHECK.words
    suite = ET.Element("testsuite", name="selection", tests="1", failures="0", errors="1", skipped="0", time="0.000")
    case = _case("selection", words, 0.0)
    ET.SubElement(case, "error", message=words, type=Verdict.NOTHING_TO_CHECK).text = one_line("; ".join(why(snapshot)))
    suite.append(case)
    return suite


def _suite(
    feature: FeatureReadiness, latest: Mapping[CheckKey, Latest], needs: Mapping[Use, Requirement]
) -> ET.Element:
    consumer = feature.consumer
    name = one_line(f"{consumer.feature}.{consumer.role}.{consumer.cloud}")
    suite = ET.Element("testsuite", name=name)
    cases = [case for endpoint in feature.endpoints for case in _cases(name, endpoint, latest, needs)]
    suite.set("tests", str(len(cases)))
    suite.set("failures", str(sum(case.find("failure") is not None for case in cases)))
    suite.set("errors", "0")
    suite.set("skipped", str(sum(case.find("skipped") is not None for case in cases)))
    suite.set("time", _seconds(sum(float(case.get("time", "0")) for case in cases)))
    suite.extend(cases)
    return suite


def _cases(
    suite: str, endpoint: EndpointReadiness, latest: Mapping[CheckKey, Latest], needs: Mapping[Use, Requirement]
) -> list[ET.Element]:
    if not endpoint.checks:
        case = _case(suite, endpoint.use.pattern, 0.0)
        _skip(case, needs[endpoint.use].why_unprobed, needs[endpoint.use].detail)
        return [case]
    return [_probed(suite, endpoint, key, latest.get(key)) for key in endpoint.checks]


def _probed(suite: str, endpoint: EndpointReadiness, key: CheckKey, latest: Latest | None) -> ET.Element:
    result = latest.result if latest else None
    case = _case(suite, f"{endpoint.use.pattern}: {key.target.url} ({key.path})", result.duration if result else 0.0)
    if result is None:
        _skip(case, EndpointState.PENDING, "no result yet")
    elif result.failure is not None:
        if endpoint.state is EndpointState.DOWN:
            _fail(case, result.failure, decisive(result))
        elif endpoint.state is EndpointState.REFERENCE:
            _skip(case, result.failure.reason, "down, but for reference only: it decides nothing")
        else:
            _skip(case, result.failure.reason, _KEPT_UP if endpoint.refused else _MAY_BE_KEPT_UP)
    return case


def _case(suite: str, name: str, seconds: float) -> ET.Element:
    return ET.Element("testcase", classname=suite, name=one_line(name), time=_seconds(seconds))


def _fail(case: ET.Element, failure: Failure, seen: Connection | None) -> None:
    words = words_of(failure)
    element = ET.SubElement(case, "failure", message=failure.reason, type=failure.reason)
    evidence = [one_line(seen.line)] if seen else []
    element.text = "\n".join((one_line(failure.message), *evidence, words.summary, words.to_do))


def _skip(case: ET.Element, *words: str | None) -> None:
    ET.SubElement(case, "skipped", message=one_line(": ".join(filter(None, words))))


def _seconds(seconds: float) -> str:
    return f"{seconds:.3f}"
