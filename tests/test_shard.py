"""Shards divide a plan: nothing is lost, nothing is done twice, and together they say what one exporter would."""

from __future__ import annotations

import random
from contextlib import ExitStack
from functools import partial
from importlib import import_module
from itertools import pairwise
from pathlib import Path
from typing import Final

import pytest
from hypothesis import given
from hypothesis import strategies as st
from prometheus_client.parser import text_string_to_metric_families
from typer.testing import CliRunner

from exporter import rollup
from exporter import serve as server
from exporter.app import Deployment, Source, deploy
from exporter.cli import app
from exporter.model.vocabulary import Check, CheckKey, Consumer, Endpoint, Plan, Proxy, Requirement, Result, Target, Use
from exporter.plan.checks import order, plan
from exporter.plan.shard import Shard, share
from tests.lab import Lab
from tests.running import COMMAND, eventually, http, program
from tests.strategies import plans, plans_with_results, results_for

counts = st.integers(1, 6)


def parts(work: Plan, count: int) -> list[Plan]:
    """What each of the shards does."""
    return [share(work, Shard(index, count)) for index in range(count)]


def homes(work: Plan, count: int) -> dict[CheckKey, int]:
    """The shard of each check."""
    return {check.key: index for index, part in enumerate(parts(work, count)) for check in part.checks}


# ---------------------------------------------------------------- nothing lost, nothing twice


@given(plans, counts)
def test_every_check_and_every_requirement_is_in_one_shard_and_no_other(work: Plan, count: int) -> None:
    divided = parts(work, count)
    checks = [check for part in divided for check in part.checks]
    needed = [requirement for part in divided for requirement in part.requirements]
    assert sorted(checks, key=lambda check: order(check.key)) == list(work.checks)
    assert sorted(needed, key=lambda requirement: requirement.use) == list(work.requirements)


@given(plans)
def test_the_only_shard_is_the_whole_plan(work: Plan) -> None:
    assert share(work, Shard()) == work


@given(plans, counts)
def test_a_shard_is_a_plan_like_any_other(work: Plan, count: int) -> None:
    for part in parts(work, count):
        uses = {use for check in part.checks for use in check.uses}
        assert [order(check.key) for check in part.checks] == sorted(order(check.key) for check in part.checks)
        assert uses == {requirement.use for requirement in part.requirements if requirement.targets}
        assert part.requirement_of.keys() >= uses


@given(plans, counts, st.randoms())
def test_a_shard_does_not_depend_on_the_order_of_the_plan(work: Plan, count: int, chance: random.Random) -> None:
    checks, needed = list(work.checks), list(work.requirements)
    chance.shuffle(checks)
    chance.shuffle(needed)
    assert homes(Plan(tuple(checks), tuple(needed)), count) == homes(work, count)


# ---------------------------------------------------------------- what the shards say together


@given(plans_with_results(), counts)
def test_each_endpoint_is_judged_as_by_a_single_exporter(seen: tuple[Plan, dict[CheckKey, Result]], count: int) -> None:
    work, results = seen
    whole = [endpoint for feature in rollup.features(work, results) for endpoint in feature.endpoints]
    divided = [
        endpoint
        for part in parts(work, count)
        for feature in rollup.features(part, results)
        for endpoint in feature.endpoints
    ]
    assert sorted(divided, key=lambda endpoint: endpoint.use) == sorted(whole, key=lambda endpoint: endpoint.use)


@given(st.data(), plans, counts)
def test_a_feature_is_ready_if_all_shards_that_probe_for_it_say_so(data: st.DataObject, work: Plan, count: int) -> None:
    results = data.draw(results_for(work.checks, all_of_them=True))
    said: dict[Consumer, list[bool]] = {}
    for part in parts(work, count):
        for feature in rollup.features(part, results):
            if feature.ready is not None:
                said.setdefault(feature.consumer, []).append(feature.ready)
    whole = {feature.consumer: feature.ready for feature in rollup.features(work, results)}
    assert {consumer: all(verdicts) for consumer, verdicts in said.items()} == {
        consumer: ready for consumer, ready in whole.items() if ready is not None
    }


def test_endpoints_that_share_a_target_stay_together_in_a_chain_too() -> None:
    consumer = Consumer("updates", "client", "azure-public")
    targets = [Target(f"https://{number}.a.example/") for number in range(50)]
    chain = [
        Requirement(Use(consumer, pattern), Endpoint(pattern), None, pair)
        for pair in pairwise(targets)
        for pattern in [" or ".join(target.host for target in pair)]
    ]
    assert len(set(homes(plan(chain, {}, {}), 5).values())) == 1


# ---------------------------------------------------------------- shards that come and go


@given(plans, counts)
def test_a_shard_that_is_added_takes_from_the_others_and_nothing_moves_between_them(work: Plan, count: int) -> None:
    before, after = homes(work, count), homes(work, count + 1)
    assert all(after[key] in {before[key], count} for key in before)


@given(plans, counts)
def test_an_endpoint_without_a_target_moves_as_little(work: Plan, count: int) -> None:
    def listed(count: int) -> dict[Use, int]:
        return {need.use: index for index, part in enumerate(parts(work, count)) for need in part.unprobed}

    before, after = listed(count), listed(count + 1)
    assert all(after[use] in {before[use], count} for use in before)


@pytest.fixture(scope="module")
def many() -> Plan:
    """Ten thousand endpoints with one target each."""
    consumer = Consumer("updates", "client", "azure-public")
    uses = [Use(consumer, f"{number}.example") for number in range(10_000)]
    return Plan(
        tuple(Check(CheckKey(Target(f"https://{use.pattern}/")), (use,)) for use in uses),
        tuple(Requirement(use, Endpoint(use.pattern), None, (Target(f"https://{use.pattern}/"),)) for use in uses),
    )


@pytest.mark.parametrize("count", [1, 2, 4])
def test_a_shard_that_is_added_takes_its_fair_part_of_many_targets(many: Plan, count: int) -> None:
    before, after = homes(many, count), homes(many, count + 1)
    moved = sum(after[key] != home for key, home in before.items()) / len(before)
    assert moved == pytest.approx(1 / (count + 1), rel=0.05)


@pytest.mark.parametrize("count", [2, 5])
def test_many_targets_are_divided_evenly(many: Plan, count: int) -> None:
    sizes = [len(part.checks) for part in parts(many, count)]
    assert sizes == pytest.approx([len(many.checks) / count] * count, rel=0.05)


@pytest.fixture(scope="module")
def catalogue() -> Plan:
    """What the embedded default probes: few enough targets for chance to show."""
    return deploy(Source()).plan


@pytest.mark.parametrize("count", [1, 2, 3, 4])
def test_a_shard_that_is_added_takes_about_its_part_of_the_catalogue(catalogue: Plan, count: int) -> None:
    before, after = homes(catalogue, count), homes(catalogue, count + 1)
    moved = sum(after[key] != home for key, home in before.items()) / len(before)
    assert moved == pytest.approx(1 / (count + 1), abs=0.15)


@pytest.mark.parametrize("count", [2, 3, 4, 5])
def test_no_shard_has_twice_its_part_of_the_catalogue_and_none_less_than_half(catalogue: Plan, count: int) -> None:
    fair = len(catalogue.checks) / count
    assert all(fair / 2 < len(part.checks) < fair * 2 for part in parts(catalogue, count))


def test_a_check_has_the_same_shard_on_every_machine_and_in_every_release() -> None:
    consumer = Consumer("updates", "client", "azure-public")
    asked = [
        Target("https://aka.ms/"),
        Target("http://aka.ms/"),
        Target("https://go.microsoft.com/fwlink/?LinkID=1", "HEAD", frozenset({403, 200})),
        Target("https://bücher.example/"),
    ]
    needs = [Requirement(Use(consumer, to.url), Endpoint(to.url), None, (to,)) for to in asked]
    needs.append(Requirement(Use(consumer, "*.bücher.example"), Endpoint("*.bücher.example"), None))
    direct, proxied = plan(needs, {}, {}), plan(needs, {"main": Proxy("main", "http://a:1")}, {"client": "main"})
    home_of = {(key.target, key.proxy): home for work in (direct, proxied) for key, home in homes(work, 99).items()}
    unprobed = [index for index, part in enumerate(parts(direct, 99)) if part.unprobed]
    assert [home_of[target, None] for target in asked] == [17, 58, 92, 48]
    assert [home_of[target, "main"] for target in asked] == [48, 81, 71, 17]
    assert unprobed == [40]


# ---------------------------------------------------------------- the command line


@pytest.fixture
def served(monkeypatch: pytest.MonkeyPatch) -> list[tuple[Source, Deployment]]:
    """What would be served; nothing is probed here."""
    found: list[tuple[Source, Deployment]] = []
    monkeypatch.setattr(import_module("exporter.cli.serve"), "configure", lambda *_: None)  # logging is the test run's
    monkeypatch.setattr(server, "listen", lambda address: address)
    monkeypatch.setattr(server, "run", lambda source, deployment, _: found.append((source, deployment)))
    return found


def test_serve_does_the_part_that_its_options_name(served: list[tuple[Source, Deployment]], catalogue: Plan) -> None:
    done = CliRunner().invoke(app, ["serve", "--shard.index", "1", "--shard.count", "3"])
    (source, deployment), *_ = served
    assert done.exit_code == 0
    assert deployment.plan == share(catalogue, Shard(1, 3))
    assert deploy(source).plan == deployment.plan  # as a reload reads it


def test_without_the_options_all_is_served(served: list[tuple[Source, Deployment]], catalogue: Plan) -> None:
    CliRunner().invoke(app, ["serve"])
    assert [deployment.plan for _, deployment in served] == [catalogue]


@pytest.mark.parametrize(
    ("options", "message"),
    [
        (["--shard.index", "1"], "--shard.index: 1 of how many? Give --shard.count, too."),
        (["--shard.count", "2"], "--shard.count: which of the 2? Give --shard.index, too."),
        (["--shard.index", "2", "--shard.count", "2"], "--shard.index: there is no shard 2 of 2; they are 0 to 1."),
        (["--shard.index", "-1", "--shard.count", "2"], "--shard.index: there is no shard -1 of 2; they are 0 to 1."),
        (["--shard.index", "0", "--shard.count", "0"], "--shard.count: 0 is not a number from 1 to 1000."),
        (["--shard.index", "0", "--shard.count", "1001"], "--shard.count: 1001 is not a number from 1 to 1000."),
    ],
)
def test_a_shard_that_cannot_be_is_refused_with_what_to_do(
    served: list[tuple[Source, Deployment]], options: list[str], message: str
) -> None:
    done = CliRunner().invoke(app, ["serve", *options])
    assert done.exit_code == 2
    assert message in " ".join(done.stderr.replace("│", " ").split())
    assert not served


# ---------------------------------------------------------------- two of them

ADDRESSES: Final = ("127.0.0.1:10971", "127.0.0.1:10972")
LABELS: Final = ("feature", "role", "cloud", "pattern", "target")


def probed(lab: Lab, address: str) -> set[tuple[str, ...]] | None:
    """The labels of what an exporter has probed, once it has probed all."""
    if http(lab, f"http://{address}/-/ready").status != 200:
        return None
    return {
        tuple(sample.labels[name] for name in LABELS)
        for family in text_string_to_metric_families(http(lab, f"http://{address}/metrics").body)
        for sample in family.samples
        if sample.name == "configmgr_endpoint_up"
    }


@pytest.mark.lab
def test_two_shards_expose_together_what_one_exporter_would(lab: Lab, tmp_path: Path, catalogue: Plan) -> None:
    config = tmp_path / "exporter.yaml"
    config.write_text("probe: {interval: 1s, timeout: 1s, attempts: 1}\n")
    with ExitStack() as stack:
        for index, address in enumerate(ADDRESSES):
            shard = ["--shard.index", str(index), "--shard.count", str(len(ADDRESSES))]
            argv: list[str | Path] = [
                *COMMAND,
                "serve",
                "--config.file",
                config,
                "--web.listen-address",
                address,
                *shard,
            ]
            stack.enter_context(program(lab, tmp_path / f"{index}.log", argv))
        one, other = [eventually("first results", partial(probed, lab, address)) for address in ADDRESSES]
    assert one.isdisjoint(other)
    assert one | other == {
        (consumer.feature, consumer.role, consumer.cloud, use.pattern, check.key.target.url)
        for check in catalogue.checks
        for use in check.uses
        for consumer in [use.consumer]
    }
