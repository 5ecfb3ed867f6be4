"""Every name that is exposed, what its values say, and when a series comes and goes."""

from __future__ import annotations

import gzip
import shutil
import ssl
import subprocess
from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st
from prometheus_client.metrics_core import Metric
from prometheus_client.openmetrics.parser import text_string_to_metric_families as parse_openmetrics
from prometheus_client.parser import text_string_to_metric_families as parse_text

from exporter import __version__
from exporter.config import catalogue as shipped
from exporter.metrics.families import EVIDENCE, Conditions, Events, ReloadStatus, State, probe_registry, registry_for
from exporter.metrics.text import Exposition, render
from exporter.model.authorities import RequiredRoot
from exporter.model.vocabulary import (
    Answer,
    Certificate,
    Check,
    CheckKey,
    Consumer,
    Contact,
    Endpoint,
    EndpointState,
    Evidence,
    Failure,
    Latest,
    Phase,
    Plan,
    Reason,
    Requirement,
    Result,
    Root,
    Settings,
    Site,
    SocketAddress,
    Support,
    Target,
    TlsFacts,
    Tried,
    Use,
    WhyReference,
    WhyUnprobed,
)
from exporter.plan.checks import plan
from exporter.plan.requirements import everything, requirements
from exporter.probe.net.required_roots import required_roots_present
from exporter.probe.runner import Network
from exporter.report.causes import causes
from exporter.report.reasons import all_words
from exporter.results.readiness import overall
from exporter.results.store import ResultStore
from exporter.service.exporter import Exporter
from exporter.service.load import Deployment, Source
from tests.running import ROOT
from tests.strategies import phases_of, plans, plans_with_results, results_for
from tests.tools.series import SITES, scrape

Drawn = tuple[Plan, dict[CheckKey, Result]]
Series = dict[tuple[str, frozenset[tuple[str, str]]], float]
CONSUMER = ("feature", "role", "cloud")
USE = (*CONSUMER, "pattern")
TARGET = (*USE, "target")
PROBE = ("path", "target")
OPENMETRICS = "application/openmetrics-text; version=1.0.0; charset=utf-8"

# The contract with everybody who builds on these names; the last block is what it leaves to the exporter to name.
CONTRACT = """
configmgr_endpoint_up                                            gauge      feature role cloud pattern target
configmgr_endpoint_failure                                       gauge      feature role cloud pattern target reason
configmgr_endpoint_phase_duration_seconds                        gauge      path target phase
configmgr_endpoint_http_status_code                              gauge      path target
configmgr_endpoint_last_probe_timestamp_seconds                  gauge      path target
configmgr_endpoint_last_success_timestamp_seconds                gauge      path target
configmgr_endpoint_tls_certificate_expiry_timestamp_seconds      gauge      path target
configmgr_endpoint_tls_presented_certificate_expiry_timestamp_seconds gauge      path target
configmgr_endpoint_tls_intercepted                               gauge      path target
configmgr_endpoint_tls_inspection_unsupported                    gauge      feature role cloud pattern
configmgr_trust_anchor_present                                   gauge      anchor
configmgr_endpoint_unprobed                                      gauge      feature role cloud pattern reason
configmgr_endpoint_reference_only                                gauge      feature role cloud pattern reason
configmgr_feature_info                                           gauge      feature role cloud importance
configmgr_feature_ready                                          gauge      feature role cloud
configmgr_feature_endpoints                                      gauge      feature role cloud state
configmgr_verdict                                                gauge      verdict
configmgr_feature_verdict                                        gauge      feature role cloud verdict
configmgr_endpoint_partly_open                                   gauge      feature role cloud pattern
configmgr_probe_duration_seconds                                 histogram  feature role cloud
configmgr_probe_phase_duration_seconds                           histogram  path phase
configmgr_probes_total                                           counter    feature role cloud
configmgr_probe_failures_total                                   counter    feature role cloud reason
configmgr_path_up                                                gauge      path
configmgr_exporter_probes_total                                  counter
configmgr_exporter_build_info                                    gauge      python_version version
configmgr_exporter_catalogue_info                                gauge      version
configmgr_exporter_catalogue_timestamp_seconds                   gauge
configmgr_exporter_start_timestamp_seconds                       gauge
configmgr_exporter_config_last_reload_successful                 gauge
configmgr_exporter_config_last_reload_success_timestamp_seconds  gauge
configmgr_exporter_probe_lag_seconds                             histogram
configmgr_exporter_probes_in_flight                              gauge

configmgr_endpoint_address_in_range                              gauge      path target
configmgr_failure_evidence_info  gauge  path host reason cause from to sni proxy issuer answered_by
configmgr_path_family_up                                         gauge      path family
configmgr_host_features                                          gauge      host
configmgr_feature_path_info                                      gauge      feature role cloud path
configmgr_path_targets                                           gauge      path
configmgr_endpoint_tls_intercepted_info                          gauge      feature role cloud pattern target path
configmgr_path_down_since_timestamp_seconds                      gauge      path
configmgr_feature_not_ready_since_timestamp_seconds              gauge      feature role cloud
configmgr_path_last_probe_timestamp_seconds                      gauge      path
configmgr_path_last_success_timestamp_seconds                    gauge      path
configmgr_endpoint_path_info                                     gauge      feature role cloud pattern target host path
configmgr_endpoint_unexplained_failure                           gauge  feature role cloud pattern target path reason
configmgr_endpoint_unconfirmed_failure                           gauge      feature role cloud pattern target reason
configmgr_failure_reason_info                                    gauge      reason summary who
configmgr_endpoint_tls_unreadable_certificates                   gauge      path target
configmgr_exporter_first_failures_total                          counter    verdict
configmgr_exporter_probes_out_of_turn_total                      counter    why
configmgr_exporter_log_lines_dropped_total                       counter
configmgr_exporter_missed_slots_total                            counter
configmgr_exporter_probe_interval_seconds                        gauge
"""


class Exposed:
    """A ResultStore and its metrics, wired as the exporter wires them."""

    def __init__(self, work: Plan, results: Iterable[Result] = ()) -> None:
        self.store = ResultStore(work)
        self.state = State(self.store)
        self.registry = Exposition()
        self.registry.register(self.state)
        self.events = Events(self.registry)
        self.events.adopt(work)
        for result in results:
            self.finish(result)

    def finish(self, result: Result) -> None:
        recorded = self.store.record(result)
        assert recorded
        self.events.count(recorded.check, result)
        self.state.show(recorded.check)

    def adopt(self, work: Plan) -> None:
        self.store.adopt(work)
        self.events.adopt(work)

    def series(self) -> Series:
        return series(self.registry)


def exposed(registry: Exposition) -> list[Metric]:
    body, _ = render(registry, "", "")
    return list(parse_text(body.decode()))


def series(registry: Exposition) -> Series:
    """All that is exposed, no series twice."""
    found = [
        ((sample.name, frozenset(sample.labels.items())), sample.value)
        for family in registry.collect()
        for sample in family.samples
    ]
    assert [key for key, times in Counter(key for key, _ in found).items() if times > 1] == []
    return dict(found)


def values(found: Series, name: str, labels: tuple[str, ...]) -> dict[tuple[str, ...], float]:
    """The series of one name, by the values of exactly these labels."""
    of_name = {key[1]: value for key, value in found.items() if key[0] == name}
    assert all({label for label, _ in have} == set(labels) for have in of_name)
    return {tuple(dict(have)[label] for label in labels): value for have, value in of_name.items()}


def labels_of(consumer: Consumer) -> tuple[str, str, str]:
    return (consumer.feature, consumer.role, consumer.cloud)


def told(drawn: Drawn) -> Iterator[tuple[tuple[str, ...], Result]]:
    """Each result under each label set that it is shown with."""
    work, results = drawn
    for check in work.checks:
        for use in check.uses:
            if check.key in results:
                yield (*labels_of(use.consumer), use.pattern, check.key.target.url), results[check.key]


def probed(drawn: Drawn) -> Iterator[tuple[tuple[str, str], Result]]:
    """Each result under its path and target; of checks that differ in the answers they accept, the first's."""
    work, results = drawn
    for at, check in firsts(work).items():
        if check.key in results:
            yield at, results[check.key]


def firsts(work: Plan) -> dict[tuple[str, str], Check]:
    """The check that speaks for each path and target."""
    return {(check.key.path, check.key.target.url): check for check in reversed(work.checks)}


# ---------------------------------------------------------------- a plan to begin with

CLIENT, CONSOLE = (Consumer("updates", role, "azure-public") for role in ("client", "console"))
KEY = CheckKey(Target("https://host.example/"), "corporate")
CHECK = Check(KEY, (Use(CLIENT, "*.example"), Use(CLIENT, "host.example"), Use(CONSOLE, "host.example")))
LAPS = dict.fromkeys(Phase, 0.25)
OWN = Certificate("CN=host", "CN=issuer", 1e9, 2e9, "ab")
OLD = Certificate("CN=issuer", "CN=root", 1e9, 1.5e9, "cd")  # is sent, and the path does not need it
FACTS = TlsFacts("TLSv1.3", (OWN, OLD), Root.PUBLIC, path=(OWN,), verified=True, unread=1)
TRIED = (Tried("192.0.2.1", Contact.OPENED, 0.25),)
SEEN = Evidence(("192.0.2.1",), "192.0.2.1", (), FACTS, Answer(404), in_range=True, tried=TRIED)
UP = Result(KEY, 1.7e9, LAPS, SEEN)
NEEDED = tuple(Requirement(use, Endpoint(use.pattern), None, (KEY.target,)) for use in CHECK.uses)
DOWN = replace(UP, failure=Failure(Phase.PROCESSING, Reason.HTTP_BLOCKED, "in words"))


# ---------------------------------------------------------------- the names


def test_the_names_types_and_labels_are_the_contracts() -> None:
    wildcard = Use(CLIENT, "*.example")
    other = Check(CheckKey(Target("https://other.example/"), "dmz"), (wildcard, Use(CLIENT, "other.example")))
    third = Check(replace(KEY, target=Target("https://third.example/")), (Use(CLIENT, "third.example"),))
    check = replace(CHECK, uses=(wildcard, *CHECK.uses))
    no_proxy = Failure(Phase.CONNECT, Reason.PROXY_UNREACHABLE, "in words")
    why = Requirement(Use(CLIENT, "*.akamai.example"), Endpoint(""), None, (), WhyUnprobed.NO_REPRESENTATIVE, "")
    pinned = Endpoint("pinned.example", tls_inspection=Support.UNSUPPORTED)
    uninspectable = Requirement(Use(CLIENT, "pinned.example"), pinned, None, (other.key.target,))
    listed = Endpoint("listed.example", reference=WhyReference.KNOWN_DEAD)
    reference = Requirement(Use(CLIENT, "listed.example"), listed, None, (other.key.target,))
    attach = Use(Consumer("tenant-attach", "client", "azure-public"), "pinned.example")
    shared = Requirement(attach, pinned, None, (other.key.target,))
    inspected = Requirement(third.uses[0], Endpoint("third.example"), "corporate", (third.key.target,))
    private = replace(SEEN, tls=replace(FACTS, leads_to=Root.PRIVATE))
    store = ResultStore(Plan((check, other, third), (*NEEDED, why, uninspectable, reference, shared, inspected)))
    registry = registry_for(State(store))
    events = Events(registry)
    events.adopt(store.plan)
    ReloadStatus(registry)
    Conditions(registry).set(60.0, required_roots_present([RequiredRoot("a root", "00")], []))
    for result in (
        UP,
        replace(UP, key=other.key),
        replace(UP, key=other.key, failure=no_proxy),
        replace(DOWN, key=third.key, evidence=private),
    ):
        store.record(result)
    events.count(check, DOWN)
    store.mark_unconfirmed(DOWN)
    found = set()
    for family in exposed(registry):
        labels = sorted({label for sample in family.samples for label in sample.labels} - {"le"})
        name = f"{family.name}_total" if family.type == "counter" else family.name
        assert family.samples, f"nothing of {name} to see the labels of"
        if not name.startswith(("process_", "python_")):
            found.add((name, family.type, *labels))
    promised = [line.split() for line in CONTRACT.splitlines() if line]
    assert found == {(name, kind, *sorted(labels)) for name, kind, *labels in promised}


def test_help_tells_what_a_sum_would_count_twice_and_who_keeps_the_time() -> None:
    text = {family.name: family.documentation for family in exposed(Exposed(Plan((CHECK,)), [UP]).registry)}
    assert all(text.values())
    for name in ("probes", "probe_failures", "probe_duration_seconds"):
        assert "more than once" in text[f"configmgr_{name}"]
    assert "each counted once" in text["configmgr_exporter_probes"]
    assert "not on the scrape" in text["configmgr_endpoint_up"]


def test_build_info_names_the_version() -> None:
    found = series(registry_for(State(ResultStore())))
    ((key, value),) = ((key, value) for key, value in found.items() if key[0] == "configmgr_exporter_build_info")
    assert dict(key[1])["version"] == __version__
    assert value == 1


# ---------------------------------------------------------------- state


@given(plans_with_results())
def test_each_target_shows_its_last_result_once_for_each_path_and_its_state_under_each_label_set(drawn: Drawn) -> None:
    work, results = drawn
    found = Exposed(work, results.values()).series()

    def shown(name: str, value_of: Callable[[Result], float | None]) -> bool:
        expected = {labels: value for labels, result in probed(drawn) if (value := value_of(result)) is not None}
        return values(found, f"configmgr_endpoint_{name}", PROBE) == expected

    def tls(result: Result) -> TlsFacts:
        return result.evidence.tls or TlsFacts()

    assert values(found, "configmgr_endpoint_up", TARGET) == {labels: result.up for labels, result in told(drawn)}
    assert shown("http_status_code", lambda result: result.evidence.status)
    assert shown("last_probe_timestamp_seconds", lambda result: result.finished)
    assert shown("last_success_timestamp_seconds", lambda _: None)
    assert shown("tls_certificate_expiry_timestamp_seconds", lambda result: tls(result).not_after)


def test_what_the_server_sent_is_shown_where_it_ends_at_another_time_than_the_path() -> None:
    name = "configmgr_endpoint_tls_presented_certificate_expiry_timestamp_seconds"
    alone = replace(UP, evidence=replace(SEEN, tls=replace(FACTS, chain=(OWN,))))
    ends = [set(values(Exposed(Plan((CHECK,)), [one]).series(), name, PROBE).values()) for one in (UP, alone)]
    assert ends == [{1.5e9}, set()]


@given(plans_with_results())
def test_interception_is_judged_where_all_patterns_of_a_target_say_the_same_of_its_trust(drawn: Drawn) -> None:
    work, results = drawn
    found = values(Exposed(work, results.values()).series(), "configmgr_endpoint_tls_intercepted", PROBE)
    expected = {}
    for check in firsts(work).values():
        tls = results[check.key].evidence.tls if check.key in results else None
        verdicts = [tls.intercepted(work.requirement_of[use].endpoint.trust) for use in check.uses] if tls else []
        known = [verdict for verdict in verdicts if verdict is not None]
        if known and len(known) == len(verdicts):
            expected[check.key.path, check.key.target.url] = float(known[0])
    assert found == expected


@given(plans_with_results())
def test_each_target_tells_by_which_path_it_is_probed(drawn: Drawn) -> None:
    found = Exposed(drawn[0], drawn[1].values()).series()
    assert values(found, "configmgr_endpoint_path_info", (*TARGET, "host", "path")) == {
        (*labels, result.key.target.host, result.key.path): 1 for labels, result in told(drawn)
    }


@given(plans_with_results())
def test_a_failure_is_unexplained_unless_its_path_or_dns_is_down_or_its_proxy_wants_a_sign_in(drawn: Drawn) -> None:
    found = Exposed(drawn[0], drawn[1].values()).series()
    down = {path for (path,), up in values(found, "configmgr_path_up", ("path",)).items() if not up}
    assert values(found, "configmgr_endpoint_unexplained_failure", (*TARGET, "path", "reason")) == {
        (*labels, result.key.path, result.failure.reason): 1
        for labels, result in told(drawn)
        if result.failure and (result.failure.reason == "proxy_auth_required" or not down & {result.key.path, "dns"})
    }


@given(plans)
def test_each_path_tells_how_many_targets_it_has(work: Plan) -> None:
    found = Exposed(work).series()
    probed = {(check.key.path, check.key.target.url) for check in work.checks}
    assert values(found, "configmgr_path_targets", ("path",)) == {
        (path,): sum(path == of for of, _ in probed) for path, _ in probed
    }


@given(plans_with_results())
def test_what_is_intercepted_says_for_whom(drawn: Drawn) -> None:
    found = Exposed(drawn[0], drawn[1].values()).series()
    intercepted = {probe for probe, seen in values(found, "configmgr_endpoint_tls_intercepted", PROBE).items() if seen}
    infos = values(found, "configmgr_endpoint_tls_intercepted_info", (*TARGET, "path"))
    assert {(labels[-1], labels[-2]) for labels in infos} >= intercepted
    uses = values(found, "configmgr_endpoint_path_info", (*TARGET, "host", "path"))
    assert set(infos) <= {(*labels[:-2], labels[-1]) for labels in uses}


@given(plans)
def test_each_feature_tells_by_which_paths_it_is_counted(work: Plan) -> None:
    found = Exposed(work).series()
    assert values(found, "configmgr_feature_path_info", (*CONSUMER, "path")) == {
        (*labels_of(use.consumer), check.key.path): 1
        for check in work.checks
        for use in check.uses
        if use not in check.reference
    }


def test_every_reason_is_told_in_the_words_of_explain() -> None:
    found = registry_for(State(ResultStore(Plan()))).collect()
    (family,) = [family for family in found if family.name == "configmgr_failure_reason_info"]
    assert {sample.labels["reason"]: sample.labels["summary"] for sample in family.samples} == {
        reason: words.summary for reason, words in all_words().reasons.items()
    }


@given(plans_with_results())
def test_the_phases_that_were_reached_are_shown(drawn: Drawn) -> None:
    work, results = drawn
    found = Exposed(work, results.values()).series()
    assert values(found, "configmgr_endpoint_phase_duration_seconds", (*PROBE, "phase")) == {
        (*labels, phase): took for labels, result in probed(drawn) for phase, took in result.phases.items()
    }


@given(plans_with_results())
def test_a_failure_is_shown_exactly_while_down_with_its_one_reason(drawn: Drawn) -> None:
    work, results = drawn
    found = Exposed(work, results.values()).series()
    assert values(found, "configmgr_endpoint_failure", (*TARGET, "reason")) == {
        (*labels, result.failure.reason): 1 for labels, result in told(drawn) if result.failure
    }


def test_a_failure_goes_when_its_target_is_up_again() -> None:
    world = Exposed(Plan((CHECK,)), [DOWN])
    before = values(world.series(), "configmgr_endpoint_failure", (*TARGET, "reason"))
    world.finish(replace(UP, started=2e9))
    after = world.series()
    assert {labels[-1] for labels in before} == {"http_blocked"}
    assert not values(after, "configmgr_endpoint_failure", (*TARGET, "reason"))
    world.finish(replace(DOWN, started=3e9))
    good = "configmgr_endpoint_last_success_timestamp_seconds"
    assert values(after, good, PROBE) == {}, "while up it is the last probe"
    assert values(world.series(), good, PROBE) == {("proxy:corporate", KEY.target.url): 2e9 + 1.25}


def test_an_unconfirmed_failure_is_shown_beside_a_target_that_is_still_up() -> None:
    world = Exposed(Plan((CHECK,)), [UP])
    world.store.mark_unconfirmed(DOWN)
    found = world.series()
    assert set(values(found, "configmgr_endpoint_up", TARGET).values()) == {1}
    assert {labels[-1] for labels in values(found, "configmgr_endpoint_unconfirmed_failure", (*TARGET, "reason"))} == {
        "http_blocked"
    }


@given(plans_with_results())
def test_a_feature_shows_whether_it_is_ready_and_how_many_endpoints_are_how(drawn: Drawn) -> None:
    world = Exposed(drawn[0], drawn[1].values())
    found, features = world.series(), world.store.snapshot().features
    assert values(found, "configmgr_feature_ready", CONSUMER) == {
        labels_of(feature.consumer): feature.ready for feature in features if feature.ready is not None
    }
    assert values(found, "configmgr_feature_endpoints", (*CONSUMER, "state")) == {
        (*labels_of(feature.consumer), state): sum(endpoint.state is state for endpoint in feature.endpoints)
        for feature in features
        for state in EndpointState
        if state in {EndpointState.UP, EndpointState.DOWN} or state in {one.state for one in feature.endpoints}
    }


@given(plans_with_results())
def test_the_verdicts_are_those_of_the_reports_and_partly_open_wildcards_are_shown(drawn: Drawn) -> None:
    world = Exposed(drawn[0], drawn[1].values())
    found, snapshot = world.series(), world.store.snapshot()
    assert values(found, "configmgr_verdict", ("verdict",)) == {(overall(snapshot.features),): 1}
    assert values(found, "configmgr_feature_verdict", (*CONSUMER, "verdict")) == {
        (*labels_of(feature.consumer), feature.verdict): 1 for feature in snapshot.features
    }
    assert values(found, "configmgr_endpoint_partly_open", USE) == {
        (*labels_of(feature.consumer), endpoint.use.pattern): 1
        for feature in snapshot.features
        for endpoint in feature.endpoints
        if endpoint.refused
    }


@given(plans_with_results())
def test_what_is_not_probed_says_why_and_paths_are_shown(drawn: Drawn) -> None:
    world = Exposed(drawn[0], drawn[1].values())
    found = world.series()
    assert values(found, "configmgr_endpoint_unprobed", (*USE, "reason")) == {
        (*labels_of(need.use.consumer), need.use.pattern, str(need.why_unprobed)): 1 for need in drawn[0].unprobed
    }
    assert values(found, "configmgr_path_up", ("path",)) == {
        (path,): up for path, up in world.store.snapshot().paths.items()
    }
    assert values(found, "configmgr_path_family_up", ("path", "family")) == world.store.snapshot().families


@given(plans_with_results())
def test_each_cause_has_one_series_of_evidence(drawn: Drawn) -> None:
    world = Exposed(drawn[0], drawn[1].values())
    found = values(world.series(), "configmgr_failure_evidence_info", EVIDENCE)
    shown = sorted((path, host, reason) for path, host, reason, *_ in found)
    assert shown == sorted((cause.path, cause.hosts[0], cause.reason) for cause in causes(world.store.snapshot()))


def test_evidence_follows_the_connection_and_has_no_label_that_differs_with_each_probe() -> None:
    local = SocketAddress("10.1.2.3", 50122)
    silent = Tried("198.18.0.45", Contact.SILENT, 9.98, None, 3128, local, 1.7e9)
    refused = Failure(Phase.CONNECT, Reason.PROXY_UNREACHABLE, "in words")
    world = Exposed(Plan((CHECK,), NEEDED), [replace(UP, evidence=Evidence(tried=(silent,)), failure=refused)])
    ends = "198.18.0.45:3128/tcp", "", "corporate", "", ""
    before = ("proxy:corporate", "host.example", "proxy_unreachable", "", "10.1.2.3", *ends)
    assert list(values(world.series(), "configmgr_failure_evidence_info", EVIDENCE)) == [before]
    later = replace(silent, local=SocketAddress("10.1.2.3", 61000), at=1.8e9, seconds=9.0)
    world.finish(replace(UP, evidence=Evidence(tried=(later,)), failure=refused))
    assert list(values(world.series(), "configmgr_failure_evidence_info", EVIDENCE)) == [before]
    other = replace(later, local=SocketAddress("10.9.9.9", 61000))
    world.finish(replace(UP, evidence=Evidence(tried=(other,)), failure=refused))
    after = values(world.series(), "configmgr_failure_evidence_info", EVIDENCE)
    assert list(after) == [(*before[:4], "10.9.9.9", *ends)]
    world.finish(UP)
    assert values(world.series(), "configmgr_failure_evidence_info", EVIDENCE) == {}


@given(plans_with_results())
def test_a_path_says_when_it_was_used_last_and_when_it_last_worked(drawn: Drawn) -> None:
    found = Exposed(drawn[0], drawn[1].values()).series()
    probed: dict[tuple[str, ...], float] = {}
    worked: dict[tuple[str, ...], float] = {}
    for check in drawn[0].checks:
        if (result := drawn[1].get(check.key)) is not None:
            path = (check.key.path,)
            probed[path] = max(probed.get(path, result.finished), result.finished)
            if result.up:
                worked[path] = max(worked.get(path, result.finished), result.finished)
    assert values(found, "configmgr_path_last_probe_timestamp_seconds", ("path",)) == probed
    assert values(found, "configmgr_path_last_success_timestamp_seconds", ("path",)) == worked


def test_nothing_is_shown_of_a_target_before_its_first_probe() -> None:
    found = Exposed(Plan((CHECK,))).series()
    assert not [key for key in found if key[0].startswith("configmgr_endpoint")]
    assert not values(found, "configmgr_feature_ready", CONSUMER)


def test_a_host_that_several_features_need_says_how_many_whatever_their_roles_and_paths() -> None:
    own, shared, listed = (Target(f"https://{name}.example/") for name in ("own", "shared", "listed"))
    attach = Consumer("tenant-attach", "client", "azure-public")
    needed = (
        *(Requirement(Use(consumer, "own.example"), Endpoint(""), None, (own,)) for consumer in (CLIENT, CONSOLE)),
        Requirement(Use(CLIENT, "*.example"), Endpoint(""), "corporate", (shared, own)),
        Requirement(Use(attach, "shared.example"), Endpoint(""), None, (Target("https://shared.example/other"),)),
        Requirement(Use(CLIENT, "listed.example"), Endpoint(""), None, (listed,)),
        Requirement(Use(attach, "listed.example"), Endpoint("", reference=WhyReference.KNOWN_DEAD), None, (listed,)),
    )
    found = Exposed(Plan((), needed)).series()
    assert values(found, "configmgr_host_features", ("host",)) == {("shared.example",): 2}


# ---------------------------------------------------------------- events


@given(plans)
def test_what_can_happen_is_0_before_it_has_but_for_failures_by_reason(work: Plan) -> None:
    found = Exposed(work).series()
    consumers = {labels_of(consumer) for check in work.checks for consumer in check.consumers}
    phases = {(check.key.path, phase) for check in work.checks for phase in phases_of(check.key)}
    assert values(found, "configmgr_probes_total", CONSUMER) == dict.fromkeys(consumers, 0)
    assert values(found, "configmgr_probe_duration_seconds_count", CONSUMER) == dict.fromkeys(consumers, 0)
    assert values(found, "configmgr_probe_failures_total", (*CONSUMER, "reason")) == {}
    assert values(found, "configmgr_probe_phase_duration_seconds_count", ("path", "phase")) == dict.fromkeys(phases, 0)
    assert found["configmgr_exporter_probes_total", frozenset()] == 0


@given(plans_with_results())
def test_a_probe_is_counted_once_under_each_consumer_and_its_phases_once(drawn: Drawn) -> None:
    """However many patterns of one consumer it serves; a failed phase has not completed."""
    work, results = drawn
    probes: Counter[tuple[str, ...]] = Counter()
    failures: Counter[tuple[str, ...]] = Counter()
    succeeded: Counter[tuple[str, ...]] = Counter()
    completed: Counter[tuple[str, ...]] = Counter()
    for check in work.checks:
        result = results.get(check.key)
        for labels in {labels_of(use.consumer) for use in check.uses} if result else ():
            assert result
            probes[labels] += 1
            succeeded[labels] += result.up
            failures[(*labels, result.failure.reason if result.failure else "")] += 1
        if result:
            passed = [phase for phase in result.phases if not result.failure or phase != result.failure.phase]
            completed.update((check.key.path, phase) for phase in passed)
    found = Exposed(work, results.values()).series()

    def counted(name: str, labels: tuple[str, ...]) -> dict[tuple[str, ...], float]:
        return {key: value for key, value in values(found, f"configmgr_{name}", labels).items() if value}

    assert counted("probes_total", CONSUMER) == probes
    assert counted("probe_duration_seconds_count", CONSUMER) == +succeeded
    assert counted("probe_failures_total", (*CONSUMER, "reason")) == {k: n for k, n in failures.items() if k[-1]}
    assert counted("probe_phase_duration_seconds_count", ("path", "phase")) == completed
    failed = {labels: probes[labels] - succeeded[labels] for labels in probes}
    assert +Counter(failed) == +sum((Counter({k[:-1]: n}) for k, n in failures.items() if k[-1]), Counter())


def test_durations_are_of_successful_probes_and_completed_phases() -> None:
    found = Exposed(Plan((CHECK,)), [UP, DOWN]).series()
    sums = values(found, "configmgr_probe_duration_seconds_sum", CONSUMER)
    phases = values(found, "configmgr_probe_phase_duration_seconds_sum", ("path", "phase"))
    assert sums == {labels_of(consumer): 1.25 for consumer in (CLIENT, CONSOLE)}
    assert phases == {("proxy:corporate", phase): 0.25 if phase is Phase.PROCESSING else 0.5 for phase in Phase}


def test_a_physical_probe_is_counted_once_however_many_it_serves() -> None:
    exporter = Exporter(
        Source(), Deployment(Settings(), Plan((CHECK,)), frozenset()), Network(ssl.create_default_context(), {})
    )
    exporter.finished(UP)
    exporter.finished(replace(UP, key=CheckKey(Target("https://left.example/"))))  # made, though the plan has changed
    found = series(exporter.registry)
    assert found["configmgr_exporter_probes_total", frozenset()] == 2
    assert values(found, "configmgr_probes_total", CONSUMER) == dict.fromkeys(map(labels_of, (CLIENT, CONSOLE)), 1)


# ---------------------------------------------------------------- series come and go with the plan


def whose(found: Iterable[tuple[str, frozenset[tuple[str, str]]]]) -> set[tuple[str, ...]]:
    """The consumers that any series is of."""
    labelled = [dict(labels) for _, labels in found]
    return {tuple(labels[name] for name in CONSUMER) for labels in labelled if "feature" in labels}


def of_events(found: Series) -> Series:
    return {key: value for key, value in found.items() if key[0].startswith("configmgr_probe") and whose([key])}


@given(plans_with_results(), st.data())
def test_series_leave_with_the_plan_and_those_that_stay_are_kept(drawn: Drawn, data: st.DataObject) -> None:
    work, results = drawn
    world = Exposed(work, results.values())
    before = world.series()
    smaller = Plan(tuple(check for check in work.checks if data.draw(st.booleans())))
    world.adopt(smaller)
    after = world.series()
    left = {labels_of(consumer) for check in smaller.checks for consumer in check.consumers}
    assert whose(after) == left
    assert of_events(after) == {key: value for key, value in of_events(before).items() if whose([key]) <= left}
    targets = {target for *_, target in values(after, "configmgr_endpoint_up", TARGET)}
    assert targets == {check.key.target.url for check in smaller.checks if check.key in results}


def test_a_consumer_that_comes_back_begins_at_0() -> None:
    world = Exposed(Plan((CHECK,)), [UP, DOWN])
    world.adopt(Plan())
    world.adopt(Plan((CHECK,)))
    assert set(of_events(world.series()).values()) == {0}


@given(plans_with_results(), plans, st.data())
def test_no_series_is_exposed_twice_whatever_the_plan_before(
    drawn: Drawn, following: Plan, data: st.DataObject
) -> None:
    world = Exposed(drawn[0], drawn[1].values())
    world.adopt(following)
    for result in data.draw(results_for(following.checks)).values():
        world.finish(result)
    found = world.series()  # which refuses duplicates
    unprobed = {labels_of(need.use.consumer) for need in following.unprobed}
    assert whose(found) == {labels_of(c) for check in following.checks for c in check.consumers} | unprobed


# ---------------------------------------------------------------- what goes over the wire


def every_sample(families: Iterable[Metric]) -> set[tuple[str, frozenset[tuple[str, str]], float]]:
    return {
        (sample.name, frozenset(sample.labels.items()), sample.value)
        for family in families
        if family.name.startswith("configmgr_")
        for sample in family.samples
    }


@given(plans_with_results())
def test_text_and_openmetrics_say_the_same(drawn: Drawn) -> None:
    registry = Exposed(drawn[0], drawn[1].values()).registry
    text, plain = render(registry, "text/plain", "")
    body, rich = render(registry, OPENMETRICS, "")
    assert plain["Content-Type"].startswith("text/plain; version=0.0.4")
    assert rich["Content-Type"].startswith("application/openmetrics-text; version=1.0.0")
    assert body.endswith(b"# EOF\n")
    for parse, said in ((parse_text, text), (parse_openmetrics, body)):
        assert every_sample(parse(said.decode())) == every_sample(registry.collect())


odd_texts = st.text(st.sampled_from('"\\\n\t{}=, #aé\u2028'), max_size=8)


@given(odd_texts, odd_texts)
def test_label_values_survive_whatever_they_hold(pattern: str, url: str) -> None:
    check = Check(CheckKey(Target(f"https://host.example/?{url}")), (Use(CLIENT, pattern),))
    registry = Exposed(Plan((check,)), [replace(UP, key=check.key)]).registry
    for parse, accept in ((parse_text, ""), (parse_openmetrics, OPENMETRICS)):
        body, _ = render(registry, accept, "")
        samples = every_sample(parse(body.decode()))
        ((labels, value),) = ((labels, value) for name, labels, value in samples if name == "configmgr_endpoint_up")
        assert dict(labels)["pattern"] == pattern
        assert dict(labels)["target"] == check.key.target.url
        assert value == 1


@pytest.mark.parametrize("accept", ["", OPENMETRICS])
@pytest.mark.parametrize(
    ("offered", "packed"), [("", False), ("identity", False), ("gzip", True), ("deflate, gzip", True)]
)
def test_a_scrape_is_compressed_for_who_can_take_it(accept: str, offered: str, packed: bool) -> None:
    registry = Exposed(Plan((CHECK,)), [UP]).registry
    plain, _ = render(registry, accept, "")
    body, headers = render(registry, accept, offered)
    assert (headers.get("Content-Encoding") == "gzip") == packed
    assert (gzip.decompress(body) if packed else body) == plain
    assert headers["Vary"] == "Accept, Accept-Encoding"


@pytest.mark.parametrize("who", SITES)
def test_a_site_that_is_well_has_as_many_series_as_the_documents_say(who: str) -> None:
    found = scrape(SITES[who])
    series = found.series.total()
    documented = (ROOT / "docs" / "operations.md").read_text(encoding="utf-8")
    assert f"| {who} | {found.targets} | {round(series, -1):,} | {round(found.size, -4) // 1000} kB |" in documented
    assert series < 3000 or "two clouds" in who


def in_the_lab_without_promtool(test: Callable[[], None]) -> Callable[[], None]:
    """The laboratory brings promtool along; where it is installed anyway, nothing else of the laboratory is needed."""
    return test if shutil.which("promtool") else pytest.mark.lab(test)


@in_the_lab_without_promtool
def test_promtool_finds_nothing_to_say_about_the_whole_catalogue() -> None:
    known = shipped.load()
    work = plan(requirements(known, known.groups, everything(known, Site())), {}, {})
    store = ResultStore(work)
    registry = registry_for(State(store))
    events = Events(registry)
    events.adopt(work)
    ReloadStatus(registry).set(successful=True)
    for number, check in enumerate(work.checks):
        result = replace(UP if number % 3 else DOWN, key=check.key)
        events.count(check, result)
        store.record(result)
    body, _ = render(registry, "", "")
    done = subprocess.run(["promtool", "check", "metrics"], input=body, capture_output=True, check=False)
    assert (done.returncode, done.stdout + done.stderr) == (0, b"")


# ---------------------------------------------------------------- reloads and probes on demand


def test_a_reload_tells_how_it_ended_and_when_one_last_succeeded() -> None:
    registry = Exposition()
    status = ReloadStatus(registry)
    prefix = "configmgr_exporter_config_last_reload"

    def now() -> tuple[float, float]:
        found = series(registry)
        return found[f"{prefix}_successful", frozenset()], found[f"{prefix}_success_timestamp_seconds", frozenset()]

    assert now() == (0, 0)
    status.set(successful=True)
    successful, when = now()
    status.set(successful=False)
    assert (successful, when > 1.7e9) == (1, True)
    assert now() == (0, when)


def on_demand(results: Mapping[Check, Result]) -> Series:
    latest = {check: Latest(result, result.finished) for check, result in results.items()}
    return series(probe_registry(latest, NEEDED))


@pytest.mark.parametrize(("direct", "success"), [(True, 1), (False, 0)])
def test_a_probe_on_demand_succeeds_when_every_path_does(direct: bool, success: int) -> None:
    other = Check(CheckKey(KEY.target), (Use(Consumer("updates", "site-server", "azure-public"), "host.example"),))
    slow = {Phase.RESOLVE: 1.0, Phase.PROCESSING: 2.0}
    found = on_demand({CHECK: UP, other: replace(UP if direct else DOWN, key=other.key, phases=slow)})
    assert found["probe_success", frozenset()] == success
    assert found["probe_duration_seconds", frozenset()] == 3.0
    assert len(values(found, "configmgr_endpoint_up", TARGET)) == 4
