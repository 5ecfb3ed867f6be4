from __future__ import annotations

import shutil
import time
from collections.abc import Callable
from pathlib import Path

import pytest
import yaml

from exporter.config.catalogue import VOCABULARY, load, shipped
from exporter.config.documents import DocumentError
from exporter.model.vocabulary import (
    Cloud,
    ExtraPorts,
    Forwarder,
    Parameter,
    Representative,
    Role,
    Status,
    Support,
    VersionRange,
    Wildcard,
)

DATA = Path(__file__).parent / "data"
SMALL = DATA / "good_config" / "catalogue"
BAD = DATA / "bad_config" / "catalogue"


def test_every_part_of_the_vocabulary_arrives() -> None:
    catalogue = load(SMALL)

    assert catalogue.clouds["azure-public"] == Cloud("azure-public", "Azure public cloud")
    assert catalogue.roles["service-connection-point"] == Role(
        "service-connection-point", "Service connection point", Support.SUPPORTED, "One proxy for each server"
    )
    assert catalogue.parameters["sup_http_port"] == Parameter(
        "sup_http_port",
        "HTTP port of the software update point",
        "^[0-9]{1,5}$",
        "8530",
        form="the number of a port, in quotes",
    )
    assert catalogue.parameters["intune_region"].values == ("europe", "north-america")
    assert catalogue.wildcards == {
        "*.manage.microsoft.com": Wildcard(
            (Representative("gateway.configmgr.manage.microsoft.com", ("https",), ("SEED",), "answers 401"),),
            ("manage.microsoft.com",),
        ),
        "*.akamaiedge.net": Wildcard(none_found="No document names a host"),
    }
    assert catalogue.forwarders == {
        "aka.ms": Forwarder(("redirects.example", "*.links.example"), ("SEED",), "the second of three")
    }
    assert catalogue.sources == {"SEED": "The article", "PORTS": "Another article"}


def test_every_group_arrives_in_the_order_of_the_files() -> None:
    updates, attach, government = load(SMALL).groups
    template = government.endpoints[1]

    assert (updates.feature, attach.feature, government.feature) == ("software-updates", *["tenant-attach"] * 2)
    assert government.clouds == ("azure-us-government",)
    assert [endpoint.status for endpoint in government.endpoints] == [Status.DEPRECATED, Status.ACTIVE]
    assert template.probe == ("https://{cmg_host}/",)
    assert template.versions == VersionRange("2107", None)
    assert template.extra_ports == (ExtraPorts("10124-10139", "https", "two or more machines", "PORTS"),)


def test_what_the_first_group_tells_of_a_feature_holds_for_all() -> None:
    _, first, second = load(SMALL).groups

    assert second.title == first.title == "Tenant attach"
    assert second.docs == first.docs == "https://docs.example/tenant-attach"
    assert second.logs == first.logs
    assert second.messages == first.messages
    assert second.troubleshooting == first.troubleshooting


# ---------------------------------------------------------------- mistakes


@pytest.fixture
def small(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A copy of the small catalogue, as a path that is short in messages."""
    monkeypatch.chdir(tmp_path)
    shutil.copytree(SMALL, "catalogue")
    return Path("catalogue")


@pytest.mark.parametrize("case", sorted(path.name for path in BAD.iterdir()))
def test_every_mistake_is_told_with_its_line_and_its_remedy(case: str, small: Path) -> None:
    shutil.copytree(BAD / case, small, dirs_exist_ok=True)

    with pytest.raises(DocumentError) as caught:
        load(small)
    assert str(caught.value) == (BAD / case / "expected.txt").read_text().rstrip()


def test_a_catalogue_has_all_its_vocabulary(small: Path) -> None:
    shutil.rmtree(small / "vocabulary")

    with pytest.raises(DocumentError) as caught:
        load(small)
    assert [mistake.file for mistake in caught.value.mistakes] == [
        f"catalogue/vocabulary/{name}.yaml" for name in VOCABULARY
    ]


# ---------------------------------------------------------------- what is shipped


def test_the_shipped_catalogue_has_no_mistake() -> None:
    catalogue = load()

    assert {"azure-public", "azure-us-government"} <= catalogue.clouds.keys()
    assert "service-connection-point" in catalogue.roles
    assert sum(len(group.endpoints) for group in catalogue.groups) > 150


def test_the_shipped_catalogue_takes_little_more_than_its_yaml() -> None:
    texts = [path.read_text(encoding="utf-8") for path in shipped().rglob("*.yaml")]

    def cost(read: Callable[[], object]) -> float:
        begun = time.thread_time()
        read()
        return time.thread_time() - begun

    yaml_alone = min(cost(lambda: [yaml.load(text, yaml.CSafeLoader) for text in texts]) for _ in range(3))
    assert min(cost(load) for _ in range(3)) < 8 * yaml_alone


def test_an_installed_package_holds_its_catalogue(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("exporter.config.version.resources.files", lambda package: tmp_path / package)
    in_source = shipped()
    (tmp_path / "exporter" / "data" / "catalogue").mkdir(parents=True)

    assert in_source == tmp_path / "config" / "catalogue"
    assert shipped() == tmp_path / "exporter" / "data" / "catalogue"
