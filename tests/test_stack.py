"""The examples around the exporter: what Prometheus, Compose and Kubernetes are given is what they take."""

from __future__ import annotations

import configparser
import json
import re
import shutil
import struct
import subprocess
import sys
import time
import tomllib
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any, Final

import jsonschema
import pytest
import yaml

from exporter import __version__
from exporter.cli.options import BAD_INPUT
from exporter.service.load import Source, deploy
from tests.lab import Lab
from tests.operator_schema import SCHEMAS
from tests.running import ROOT, command, eventually, http, running
from tests.stack import DASHBOARDS, Server, alertmanager, copied, files_served, prometheus, with_examples

pytestmark = pytest.mark.lab

SCRAPING: Final = DASHBOARDS / "prometheus"
KUBERNETES: Final = DASHBOARDS / "kubernetes"


def load(path: Path) -> Any:
    return yaml.safe_load(path.read_text(encoding="utf-8"))


def commented(path: Path) -> str:
    """What a file shows in its comments, indented."""
    return "\n".join(re.findall(r"(?m)^#   (.+)$", path.read_text(encoding="utf-8")))


# ---------------------------------------------------------------- Prometheus


@pytest.mark.parametrize("path", sorted(SCRAPING.glob("*.yml")), ids=lambda path: path.name)
def test_promtool_takes_each_configuration_with_and_without_what_is_switched_off(
    lab: Lab, tmp_path: Path, path: Path
) -> None:
    shutil.copytree(DASHBOARDS / "rules", tmp_path / "rules")
    check = ["promtool", "check", "config", *(["--agent"] if path.name == "agent.yml" else [])]
    for change in (str, with_examples):
        done = lab.run([*check, copied(tmp_path, f"prometheus/{path.name}", change)])
        assert done.returncode == 0, done.stdout + done.stderr


def labels_of(server: Server) -> dict[str, dict[str, str]]:
    """The labels of each target, by its address."""
    return {target["discoveredLabels"]["__address__"]: target["labels"] for target in server.targets()}


@pytest.fixture(scope="module")
def found(lab: Lab, tmp_path_factory: pytest.TempPathFactory) -> Mapping[str, dict[str, dict[str, str]]]:
    """What Prometheus finds, in files and in an inventory. At once: it takes five seconds before it looks."""
    files, inventory = tmp_path_factory.mktemp("files"), tmp_path_factory.mktemp("inventory")
    by_file = copied(files, "prometheus/prometheus.yml", str)
    copied(files, "prometheus/targets/exporters.yaml", with_examples)
    more = '- targets: ["dp18.corp.example:10965", "dp19.corp.example", "[2001:db8::1]:10965"]'
    (by_file.parent / "targets/more.yaml").write_text(more)
    here = ("https://inventory.corp.example/configmgr-exporters", "http://127.0.0.1:8099/exporters.json")
    by_http = copied(inventory, "prometheus/http-sd.yml", lambda text: text.replace(*here))
    (inventory / "exporters.json").write_text(commented(SCRAPING / "http-sd.yml"))
    with (
        files_served(lab, inventory, 8099),
        prometheus(lab, files, by_file, port=9090) as one,
        prometheus(lab, inventory, by_http, port=9091) as other,
    ):
        return {
            "files": eventually("targets of files", lambda: labels_of(one)),
            "inventory": eventually("targets of the inventory", lambda: labels_of(other)),
        }


def test_exporters_in_files_are_named_after_their_place_or_else_their_host(
    found: Mapping[str, dict[str, dict[str, str]]],
) -> None:
    headquarters = {"site": "PS1", "branch": "headquarters"}
    branch_7 = {"site": "PS1", "branch": "branch-7"}
    expected = {
        "exporter:10965": headquarters | {"instance": "headquarters"},
        "cmg1.corp.example:10965": headquarters | {"instance": "perimeter"},
        "dp17.corp.example:10965": {"instance": "branch-17", "site": "PS1", "branch": "branch-17"},
        "probe1.corp.example:10965": branch_7 | {"instance": "branch-7-clients"},
        "probe2.corp.example:10965": branch_7 | {"instance": "branch-7-servers"},
        "dp18.corp.example:10965": {"instance": "dp18.corp.example"},
        "dp19.corp.example": {"instance": "dp19.corp.example"},
        "[2001:db8::1]:10965": {"instance": "[2001:db8::1]"},
    }
    assert found["files"] == {address: {"job": "configmgr", **labels} for address, labels in expected.items()}


def test_exporters_in_an_inventory_that_answers_as_the_example_says_are_found(
    found: Mapping[str, dict[str, dict[str, str]]],
) -> None:
    expected = {
        "cmg1.corp.example:10965": {"instance": "perimeter", "site": "PS1"},
        "dp17.corp.example:10965": {"instance": "dp17.corp.example", "site": "PS1", "branch": "branch-17"},
    }
    assert found["inventory"] == {address: {"job": "configmgr", **labels} for address, labels in expected.items()}


def test_an_agent_brings_what_it_scrapes_to_the_centre_and_is_missed_when_it_falls_silent(
    lab: Lab, tmp_path: Path
) -> None:
    shutil.copytree(DASHBOARDS / "rules", tmp_path / "rules")
    centre = copied(tmp_path, "prometheus/central.yml", str)
    agent = copied(
        tmp_path,
        "prometheus/agent.yml",
        lambda text: text.replace("https://prometheus.corp.example", "http://127.0.0.1:9090").replace("30s", "1s"),
    )
    expression = {
        rule.get("alert", rule.get("record")): rule["expr"]
        for group in load(DASHBOARDS / "rules/alerts.yaml")["groups"]
        for rule in group["rules"]
    }
    heard = "instance:configmgr_exporter:heard"
    vanished = expression["ConfigMgrExporterVanished"].replace(heard, f"({expression[heard]})")
    here = {"job": "configmgr", "instance": "branch-17", "site": "PS1", "branch": "branch-17"}
    with (
        running(lab, tmp_path, "--feature", "tenant-attach"),
        prometheus(lab, tmp_path, centre, "--web.enable-remote-write-receiver") as server,
        prometheus(lab, tmp_path, agent, port=9091, agent=True),
    ):
        up = eventually("a scrape arrives", lambda: server.query("up == 1"))
        ready = eventually("what was probed arrives", lambda: server.query("configmgr_feature_ready"))
        (scraped,) = server.query("timestamp(up)")
        missed = [server.query(vanished, at=float(scraped["value"][1]) + seconds) for seconds in (0, 360)]
    assert [series["metric"] for series in up] == [{"__name__": "up", **here}]
    assert all(here.items() <= series["metric"].items() for series in ready)
    assert [[series["metric"] for series in at] for at in missed] == [
        [],
        [{"__name__": "up", **here}],
    ]


def varint(number: int) -> bytes:
    return bytes([number & 0x7F | 0x80]) + varint(number >> 7) if number > 0x7F else bytes([number])


def field(number: int, value: bytes) -> bytes:
    """A field of a protobuf message that holds bytes, a text or a message."""
    return varint(number << 3 | 2) + varint(len(value)) + value


def written(labels: Mapping[str, str], at: float) -> bytes:
    """A request of remote write with one sample, 1, at a Unix time; its Snappy block is one literal."""
    named = [field(1, field(1, key.encode()) + field(2, text.encode())) for key, text in sorted(labels.items())]
    sample = field(2, b"\x09" + struct.pack("<d", 1.0) + b"\x10" + varint(int(at * 1000)))
    message = field(1, b"".join(named) + sample)
    return varint(len(message)) + b"\xf4" + struct.pack("<H", len(message) - 1) + message


def test_what_an_agent_could_not_send_for_hours_is_taken_beside_what_others_send(lab: Lab, tmp_path: Path) -> None:
    shutil.copytree(DASHBOARDS / "rules", tmp_path / "rules")
    centre = copied(tmp_path, "prometheus/central.yml", str)
    body = tmp_path / "request"
    now = time.time()
    here, there = ({"__name__": "up", "job": "configmgr", "instance": name} for name in ("headquarters", "branch-17"))
    sent = [(here, 0), (there, 0), *((there, minutes) for minutes in (23 * 60, 174, 90, 59, 5))]

    def taken(labels: Mapping[str, str], minutes: int) -> int:
        body.write_bytes(written(labels, now - 60 * minutes))
        named = (
            "Content-Encoding: snappy",
            "Content-Type: application/x-protobuf",
            "X-Prometheus-Remote-Write-Version: 0.1.0",
        )
        headers = [part for header in named for part in ("--header", header)]
        return http(lab, "http://127.0.0.1:9090/api/v1/write", "--data-binary", f"@{body}", *headers).status

    with prometheus(lab, tmp_path, centre, "--web.enable-remote-write-receiver") as server:
        answers = [taken(*one) for one in sent]
        found = [server.query('up{instance="branch-17"}', at=now - 60 * minutes) for labels, minutes in sent[1:]]
    assert answers == [204] * len(sent)
    assert [len(series) for series in found] == [1] * (len(sent) - 1)


ALWAYS: Final = """
groups:
  - name: always
    rules:
      - alert: Always
        expr: vector(1)
        labels: {severity: critical, team: sre}
        annotations: {replica: "{{ $externalLabels.replica }}"}
"""


def test_two_replicas_with_one_alert_are_one_alert_in_alertmanager(lab: Lab, tmp_path: Path) -> None:
    (tmp_path / "rules").mkdir()
    (tmp_path / "rules/always.yaml").write_text(ALWAYS)
    config = copied(
        tmp_path,
        "prometheus/replica.yml",
        lambda text: text.replace("alertmanager-a.corp.example", "127.0.0.1").replace("30s", "1s"),
    )
    options = ("--enable-feature=expand-external-labels", "--rules.alert.resend-delay=1s")
    with (
        alertmanager(lab, tmp_path, DASHBOARDS / "alertmanager/alertmanager.yml") as told,
        prometheus(lab, tmp_path, config, *options, port=9090, replica="a") as a,
        prometheus(lab, tmp_path, config, *options, port=9091, replica="b") as b,
    ):
        eventually(
            "both have told",
            lambda: all(server.metric("prometheus_notifications_latency_seconds_count") > 0 for server in (a, b)),
            within=20,
        )
        firing = [server.get("/api/v1/alerts")["data"]["alerts"] for server in (a, b)]
        found = told.alerts()
    assert [alert["annotations"]["replica"] for (alert,) in firing] == ["a", "b"]
    assert [alert["labels"] for alert in found] == [{"alertname": "Always", "severity": "critical", "team": "sre"}]


# ---------------------------------------------------------------- Compose


def composed(lab: Lab, path: Path) -> Any:
    """What Compose reads out of a file."""
    done = lab.run(["docker-compose", "--file", path, "--project-directory", ROOT, "config"])
    assert done.returncode == 0, done.stdout + done.stderr
    return yaml.safe_load(done.stdout)


@pytest.fixture(scope="module")
def stack(lab: Lab) -> dict[str, dict[str, Any]]:
    """The services of compose.yaml."""
    services: dict[str, dict[str, Any]] = composed(lab, ROOT / "compose.yaml")["services"]
    return services


def mounts(service: Mapping[str, Any]) -> dict[str, Path]:
    """What of this repository a container sees, by where it sees it."""
    found = (mount.split(":") for mount in service["volumes"])
    return {inside: Path(source) for source, inside, mode in found if mode == "ro"}


def texts(service: Mapping[str, Any]) -> list[str]:
    """Where a service's options may name a file."""
    return [*service.get("command", ()), *service.get("environment", {}).values()]


def test_compose_takes_the_file_with_and_without_what_is_switched_off(lab: Lab, tmp_path: Path) -> None:
    switched_on = tmp_path / "compose.yaml"
    switched_on.write_text(with_examples((ROOT / "compose.yaml").read_text(encoding="utf-8")))
    assert "secrets" not in composed(lab, ROOT / "compose.yaml")
    assert set(composed(lab, switched_on)["secrets"]) == {"paging", "chat"}


def test_every_file_that_a_container_is_told_of_is_mounted_into_it(stack: Mapping[str, Any]) -> None:
    named = [
        (service, inside, Path(path).relative_to(inside))
        for service in stack.values()
        for inside in mounts(service)
        for text in texts(service)
        for path in re.findall(rf"{inside}/[\w./-]+", text)
    ]
    assert len(named) == 5
    assert [path for service, inside, path in named if not (mounts(service)[inside] / path).exists()] == []


def test_no_service_may_do_more_than_it_must(stack: Mapping[str, Any]) -> None:
    for service in stack.values():
        assert service["read_only"]
        assert service["cap_drop"] == ["ALL"]
        assert service["security_opt"] == ["no-new-privileges:true"]
        assert all(port.startswith("127.0.0.1:") for port in service["ports"])
        assert "build" in service or re.fullmatch(r"[\w/]+:v?\d+\.\d+\.\d+", service["image"])
        assert "build" in service or service["healthcheck"]["test"][0] == "CMD"


def test_the_image_is_built_of_all_that_the_package_holds() -> None:
    project = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))
    wheel = project["tool"]["hatch"]["build"]["targets"]["wheel"]
    dockerfile = (ROOT / "Dockerfile").read_text(encoding="utf-8")
    there = {name for names in re.findall(r"(?m)^COPY (?!--)(.+) \S+$", dockerfile) for name in names.split()}
    let_in = set(re.findall(r"(?m)^!(.+)$", (ROOT / ".dockerignore").read_text(encoding="utf-8")))
    needed = {*wheel["packages"], *wheel["force-include"], project["project"]["readme"], "LICENSE", "pyproject.toml"}
    for found in (there, let_in):
        assert [name for name in needed if not {name, *map(str, Path(name).parents)} & found] == []


def test_services_name_each_other_as_they_are_called_and_listen(stack: Mapping[str, Any]) -> None:
    scraping = load(SCRAPING / "prometheus.yml")
    datasources = load(DASHBOARDS / "provisioning/datasources/configmgr.yaml")["datasources"]
    named = {
        *scraping["alerting"]["alertmanagers"][0]["static_configs"][0]["targets"],
        *(target for group in load(SCRAPING / "targets/exporters.yaml") for target in group["targets"]),
        *(source["url"].removeprefix("http://") for source in datasources),
    }
    listening = {f"{name}:{port.split(':')[1]}" for name, service in stack.items() for port in service["ports"]}
    assert named == listening - {"grafana:3000"}


def test_prometheus_and_alertmanager_start_with_the_options_of_the_stack(
    lab: Lab, tmp_path: Path, stack: Mapping[str, Any]
) -> None:
    def start(name: str) -> tuple[Path, list[str]]:
        options = [option.replace("/etc/configmgr", str(DASHBOARDS)) for option in stack[name]["command"]]
        return Path(options[0].partition("=")[2]), [o for o in options[1:] if not o.startswith("--storage.")]

    config, others = start("prometheus")
    with prometheus(lab, tmp_path, config, *others) as server:
        loaded = server.get("/api/v1/rules")["data"]["groups"]
    config, others = start("alertmanager")
    with alertmanager(lab, tmp_path, config, *others) as told:
        receivers = told.get("/api/v2/receivers")
    assert {group["file"] for group in loaded} == {
        str(path.resolve()) for path in (DASHBOARDS / "rules").glob("*.yaml")
    }
    assert len(receivers) == 9


def test_prometheus_keeps_what_the_error_budget_looks_back(stack: Mapping[str, Any]) -> None:
    (days,) = (
        re.fullmatch(r"--storage.tsdb.retention.time=(\d+)d", o) for o in stack["prometheus"]["command"] if "time" in o
    )
    assert days
    assert int(days[1]) > 30


def test_grafana_is_provisioned_with_every_dashboard_of_the_folder(stack: Mapping[str, Any]) -> None:
    (provider,) = load(DASHBOARDS / "provisioning/dashboards/configmgr.yaml")["providers"]
    datasources = load(DASHBOARDS / "provisioning/datasources/configmgr.yaml")
    folder = mounts(stack["grafana"])[provider["options"]["path"]]
    boards = [json.loads(path.read_text(encoding="utf-8")) for path in folder.rglob("*.json")]
    assert provider["type"] == "file"
    assert datasources["apiVersion"] == 1
    assert [source["uid"] for source in datasources["datasources"] if source.get("isDefault")] == ["prometheus"]
    assert {board["uid"] for board in boards} == {
        f"configmgr-{name}" for name in ("readiness", "network", "latency", "certificates", "exporter")
    }


# ---------------------------------------------------------------- Kubernetes

OURS: Final = {"app.kubernetes.io/name": "configmgr-endpoint-exporter"}


OF_THE_OPERATOR: Final = ("servicemonitor.yaml", "podmonitor.yaml", "prometheusrule.yaml")


def kustomization() -> Any:
    """The kustomization with what is switched off."""
    return yaml.safe_load(with_examples((KUBERNETES / "kustomization.yaml").read_text(encoding="utf-8")))


def manifests() -> list[Path]:
    """The files that the kustomization lists, and those that it shows in comments."""
    return [KUBERNETES / name for name in kustomization()["resources"]]


def manifest(name: str) -> Any:
    return load(KUBERNETES / name)


@pytest.fixture
def workload() -> Any:
    """What runs the pod."""
    return manifest("deployment.yaml")


@pytest.mark.parametrize("version", ["1.28", "1.37"])
def test_manifests_are_valid_with_and_without_what_is_switched_off(lab: Lab, tmp_path: Path, version: str) -> None:
    names = [str(path.relative_to(DASHBOARDS)) for path in manifests() if path.name not in OF_THE_OPERATOR]
    for change in (str, with_examples):
        paths = [copied(tmp_path, name, change) for name in names]
        done = lab.run(["kubernetes-validate", "--strict", f"--kubernetes-version={version}", *paths])
        assert done.returncode == 0, done.stdout + done.stderr
        assert done.stderr.count(" passed ") + done.stdout.count(" passed ") == len(paths) == 6


def test_kustomizations_list_every_file_that_there_is() -> None:
    there = {path for path in KUBERNETES.rglob("*.yaml") if path.name != "kustomization.yaml"}
    generated = {KUBERNETES / "exporter.yaml"}
    listed = manifest("kustomization.yaml")
    assert set(manifests()) == there - generated
    assert listed["configMapGenerator"] == [{"name": "configmgr-endpoint-exporter", "files": ["exporter.yaml"]}]
    assert listed["images"][0]["newTag"] == __version__
    assert kustomization()["configMapGenerator"][0]["files"] == ["exporter.yaml", "microsoft-roots.pem"]


def test_grafanas_sidecar_gets_every_dashboard_in_a_map_of_its_own() -> None:
    whole = load(DASHBOARDS / "kustomization.yaml")
    boards = sorted(path.name for path in DASHBOARDS.glob("*.json"))
    maps = {tuple(each["files"]): each["name"] for each in whole["configMapGenerator"]}
    assert maps == {(name,): f"configmgr-{name.removesuffix('.json')}" for name in boards}
    assert whole["generatorOptions"]["labels"] == {"grafana_dashboard": "1"}
    assert whole["resources"] == ["kubernetes"]
    assert whole["namespace"] == manifest("kustomization.yaml")["namespace"]
    # What `kubectl apply` remembers of an object beside it must be below 256 KiB.
    assert max((DASHBOARDS / name).stat().st_size for name in [*boards, "kubernetes/prometheusrule.yaml"]) < 240_000


@pytest.mark.parametrize("name", OF_THE_OPERATOR)
def test_the_operator_takes_its_objects(name: str) -> None:
    found = manifest(name)
    jsonschema.validate(found, SCHEMAS[found["kind"]])


def test_the_operator_gets_the_rules_that_prometheus_gets() -> None:
    shipped = [group for path in sorted((DASHBOARDS / "rules").glob("*.yaml")) for group in load(path)["groups"]]
    assert manifest("prometheusrule.yaml")["spec"]["groups"] == shipped


def test_kubectl_puts_together_what_is_in_the_folder_and_in_a_copy_with_other_addresses(tmp_path: Path) -> None:
    copy: list[str | Path] = [
        sys.executable,
        "dashboards/build.py",
        "--kubernetes-to",
        tmp_path,
        "--runbook-url",
        "https://wiki.example",
    ]
    subprocess.run(copy, cwd=ROOT, check=True)
    written = {path.relative_to(tmp_path): path.read_text(encoding="utf-8") for path in tmp_path.rglob("*.*")}
    assert {*written} >= {path.relative_to(DASHBOARDS) for path in (*DASHBOARDS.glob("*.json"), *manifests())}
    assert not [path for path, text in written.items() if "localhost:10965/runbooks" in text]
    if kubectl := shutil.which("kubectl"):
        for folder in (DASHBOARDS, tmp_path):
            done = subprocess.run([kubectl, "kustomize", folder], capture_output=True, check=True, text=True)
            kinds = [each["kind"] for each in yaml.safe_load_all(done.stdout)]
            assert (kinds.count("ConfigMap"), kinds.count("PrometheusRule"), kinds.count("Deployment")) == (6, 1, 1)


def test_a_fresh_cluster_gets_the_namespace_of_everything_else() -> None:
    namespace = manifest("namespace.yaml")
    assert manifest("kustomization.yaml")["resources"][0] == "namespace.yaml"
    assert (namespace["kind"], namespace["metadata"]["name"]) == (
        "Namespace",
        manifest("kustomization.yaml")["namespace"],
    )
    assert namespace["metadata"]["labels"] == {"pod-security.kubernetes.io/enforce": "restricted"}


def test_the_configuration_of_the_map_is_valid(lab: Lab, tmp_path: Path) -> None:
    secret = tmp_path / "password"
    secret.write_text("secret")

    def switched_on(text: str) -> str:
        here = with_examples(text).replace("/run/secrets/proxy/password", str(secret))
        return here.replace("/etc/configmgr/microsoft-roots.pem", str(lab.ca_file))

    for change in (str, switched_on):
        done = command(lab, "validate", "--config.file", copied(tmp_path, "kubernetes/exporter.yaml", change))
        assert done.returncode == 0, done.stderr


def test_a_pod_finds_what_it_is_told_of_and_is_found(workload: Any) -> None:
    template = workload["spec"]["template"]
    (container,) = template["spec"]["containers"]
    (mount,) = container["volumeMounts"]
    (volume,) = template["spec"]["volumes"]
    (port,) = container["ports"]
    service = manifest("service.yaml")["spec"]
    probes = {container[probe]["httpGet"]["path"] for probe in ("livenessProbe", "readinessProbe")}
    assert f"--config.file={mount['mountPath']}/exporter.yaml" in container["args"]
    assert volume == {"name": mount["name"], "configMap": {"name": "configmgr-endpoint-exporter"}}
    assert (service["ports"][0]["targetPort"], service["ports"][0]["port"]) == (port["name"], port["containerPort"])
    assert probes == {"/-/healthy", "/-/ready"}
    assert template["metadata"]["labels"].items() >= OURS.items()
    assert workload["spec"]["selector"]["matchLabels"] == service["selector"] == OURS
    assert manifest("networkpolicy.yaml")["spec"]["podSelector"]["matchLabels"] == OURS
    assert manifest("poddisruptionbudget.yaml")["spec"]["selector"]["matchLabels"] == OURS


def test_a_pod_may_do_no_more_than_the_strictest_profile_allows(workload: Any) -> None:
    pod = workload["spec"]["template"]["spec"]
    (container,) = pod["containers"]
    assert pod["automountServiceAccountToken"] is False
    assert pod["securityContext"]["runAsNonRoot"] is True
    assert f"USER {pod['securityContext']['runAsUser']}:" in (ROOT / "Dockerfile").read_text(encoding="utf-8")
    assert pod["securityContext"]["seccompProfile"] == {"type": "RuntimeDefault"}
    assert container["securityContext"] == {
        "allowPrivilegeEscalation": False,
        "readOnlyRootFilesystem": True,
        "capabilities": {"drop": ["ALL"]},
    }


def test_the_network_policy_lets_every_probe_out(tmp_path: Path) -> None:
    config = tmp_path / "exporter.yaml"
    config.write_text(
        """
site:
  clouds: [azure-public, azure-us-government]
  parameters:
    cloud_service_name: granitefalls
    azure_region: westus
    child_site_sup_fqdn: sup1.corp.example
    parent_site_sup_fqdn: sup0.corp.example
"""
    )
    needed = {check.key.target.port for check in deploy(Source(config)).plan.checks}
    rules = manifest("networkpolicy.yaml")["spec"]["egress"]
    everywhere = {port["port"] for rule in rules if "to" not in rule for port in rule["ports"]}
    assert needed | {53} == everywhere


def test_the_service_monitor_is_one_that_the_operator_takes() -> None:
    found = manifest("servicemonitor.yaml")
    (endpoint,) = found["spec"]["endpoints"]
    service = manifest("service.yaml")
    assert found["spec"]["selector"]["matchLabels"].items() <= service["metadata"]["labels"].items()
    assert endpoint["port"] == service["spec"]["ports"][0]["name"]


def test_what_asks_for_pods_finds_and_calls_them_as_what_asks_for_the_service(workload: Any) -> None:
    found = manifest("podmonitor.yaml")["spec"]
    (of_the_service,) = manifest("servicemonitor.yaml")["spec"]["endpoints"]
    assert found["podMetricsEndpoints"] == [of_the_service]
    assert found["selector"]["matchLabels"].items() <= workload["spec"]["template"]["metadata"]["labels"].items()


def test_people_reach_the_exporter_by_a_name_that_it_answers_to() -> None:
    (rule,) = manifest("ingress.yaml")["spec"]["rules"]
    service = manifest("service.yaml")
    shown = with_examples((KUBERNETES / "deployment.yaml").read_text(encoding="utf-8"))
    (container,) = yaml.safe_load(shown)["spec"]["template"]["spec"]["containers"]
    assert f"--web.allowed-hosts={rule['host']}" in container["args"]
    assert rule["http"]["paths"][0]["backend"]["service"] == {
        "name": service["metadata"]["name"],
        "port": {"name": service["spec"]["ports"][0]["name"]},
    }


def relabelled(lab: Lab, directory: Path, discovered: Mapping[str, str]) -> dict[str, str]:
    """The labels of a target that the ServiceMonitor leads to, by what was discovered of its pod."""
    (endpoint,) = manifest("servicemonitor.yaml")["spec"]["endpoints"]
    targets = directory / "targets.json"
    targets.write_text(json.dumps([{"targets": ["10.0.0.7:10965"], "labels": dict(discovered)}]))
    relabelings: Iterable[dict[str, Any]] = endpoint["relabelings"]
    scrape = {
        "job_name": "operator",
        "file_sd_configs": [{"files": [str(targets)]}],
        "relabel_configs": [
            {re.sub("[A-Z]", lambda upper: f"_{upper[0].lower()}", key): value for key, value in relabeling.items()}
            for relabeling in relabelings
        ],
    }
    config = directory / "prometheus.yml"
    config.write_text(yaml.safe_dump({"scrape_configs": [scrape]}))
    done = lab.run(["promtool", "check", "service-discovery", "--timeout=1s", config, "operator"])
    assert done.returncode == 0, done.stderr
    (found,) = json.loads(done.stdout)
    return {name: value for name, value in found["labels"].items() if not name.startswith("__")}


def test_a_pod_goes_on_under_the_name_of_the_one_before_it(lab: Lab, tmp_path: Path) -> None:
    discovered = {
        "job": "configmgr-endpoint-exporter",
        "endpoint": "http",
        "pod": "x-5d8f",
        "container": "exporter",
        "namespace": "configmgr",
        "__meta_kubernetes_pod_label_app_kubernetes_io_instance": "headquarters",
    }
    found = relabelled(lab, tmp_path, discovered)
    assert found == {"job": "configmgr", "instance": "headquarters", "namespace": "configmgr"}


# ---------------------------------------------------------------- systemd


def test_systemd_does_not_start_again_what_cannot_be_used() -> None:
    unit = configparser.ConfigParser(strict=False, interpolation=None)
    unit.read(ROOT / "config/systemd/configmgr-endpoint-exporter.service")
    burst, wait = int(unit["Unit"]["StartLimitBurst"]), int(unit["Service"]["RestartSec"].removesuffix("s"))
    assert unit["Service"]["RestartPreventExitStatus"] == str(BAD_INPUT)
    assert unit["Unit"]["StartLimitIntervalSec"] == "1h"
    assert burst * wait < 3600, "or the limit is never reached"
