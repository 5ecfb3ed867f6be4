"""Build what is loaded into Grafana, and copies of the rules and the dashboards with addresses of your own.

    python dashboards/build.py
    python dashboards/build.py --rules-to DIRECTORY [--runbook-url URL] [--exporter-url URL] [--grafana-url URL]
    python dashboards/build.py --dashboards-to DIRECTORY [--runbook-url URL]
    python dashboards/build.py --kubernetes-to DIRECTORY [--runbook-url URL] [--exporter-url URL] [--grafana-url URL]

The first writes dashboards, rules and runbooks beside this file. The others write what is shipped into another
directory, with links to your runbooks, your exporters and your Grafana instead of those of the compose stack. The
address of the exporters is a template of Prometheus, so that it can name the one that it concerns:
`http://{{ $labels.instance }}`. `--job`, `--objective`, `--many-sites` and `--many-share` change the rules beside their
links: a line of theirs that holds a threshold ends with the name of its option.
"""

from __future__ import annotations

import argparse
import json
import re
from collections.abc import Iterator, Mapping
from pathlib import Path
from textwrap import indent
from typing import Final

HERE: Final = Path(__file__).parent
EXPORTER: Final = "http://localhost:10965"  # as the rules are shipped
RUNBOOKS: Final = f"{EXPORTER}/runbooks"
GRAFANA: Final = "http://localhost:3000"
JOB: Final = "configmgr"
THRESHOLDS: Final[Mapping[str, tuple[str, str]]] = {  # as the rules are shipped, and what each is
    "objective": ("0.999", "for how much of the time a feature is to be ready"),
    "many-sites": ("3", "from how many sites on that share a cause it is one alert"),
    "many-share": ("0.5", "and from which share of the sites on"),
}


def built() -> Iterator[tuple[Path, str]]:
    """Every file that is built, and its text."""
    # Here, since only this needs Grafana's library, which is an extra: copies are made without it.
    from grafana_foundation_sdk.cog.encoder import JSONEncoder  # noqa: PLC0415

    from dashboards.alert_words import rules  # noqa: PLC0415
    from dashboards.grafana import DASHBOARDS  # noqa: PLC0415
    from dashboards.runbooks import pages  # noqa: PLC0415

    yield from ((HERE / "runbooks" / name, text) for name, text in pages().items())
    made = rules()
    yield from ((HERE / "rules" / name, text) for name, text in made.items())
    written = {path.name: path.read_text(encoding="utf-8") for path in (HERE / "rules").glob("*.yaml")}
    yield HERE / "kubernetes" / "prometheusrule.yaml", prometheus_rule({**written, **made})
    for name, dashboard in DASHBOARDS.items():
        text = json.dumps(dashboard().build(), cls=JSONEncoder, indent=2, sort_keys=True, ensure_ascii=False)
        yield HERE / f"{name}.json", f"{text}\n"


_RULE: Final = """\
# Made by dashboards/build.py of dashboards/rules: the same groups, for the Prometheus operator.
apiVersion: monitoring.coreos.com/v1
kind: PrometheusRule
metadata:
  name: configmgr-endpoint-exporter
  labels:
    app.kubernetes.io/name: configmgr-endpoint-exporter
    release: prometheus  # whatever the `ruleSelector` of your Prometheus asks for
spec:
  groups:
"""


def prometheus_rule(files: Mapping[str, str]) -> str:
    """The groups of all files of rules as one object of the Prometheus operator."""
    groups = (text.partition("\ngroups:\n")[2] for _, text in sorted(files.items()))
    return _RULE + indent("".join(groups), "  ")


def readdressed(runbooks: str, exporter: str, grafana: str, files: str = "rules/*.yaml") -> Mapping[str, str]:
    """The files of rules, or others, by name, with these base addresses in their links."""
    to = {RUNBOOKS: runbooks, EXPORTER: exporter, GRAFANA: grafana}
    bases = re.compile(f"({'|'.join(map(re.escape, to))})/")
    return {
        path.name: bases.sub(lambda base: f"{to[base[1]].rstrip('/')}/", path.read_text(encoding="utf-8"))
        for path in sorted(HERE.glob(files))
    }


def with_values(text: str, job: str, thresholds: Mapping[str, str]) -> str:
    """The rules for a scrape job of this name, and with these thresholds: a line ends with the name of its option."""
    for name, value in thresholds.items():
        shipped = re.compile(rf"(?m)(?<![\w.]){re.escape(THRESHOLDS[name][0])}(?![\w.])(?=.* # --{name}$)")
        text = shipped.sub(value, text)
    return text.replace(f'job="{JOB}"', f'job="{job}"').replace(f"var-job={JOB}\n", f"var-job={job}\n")


def _name(text: str) -> str:
    if re.fullmatch(r"[\w.:/-]+", text) is None:
        raise argparse.ArgumentTypeError(
            f"{text!r} is no name of a scrape job: it may have letters, digits and . : / _ -"
        )
    return text


def _number(text: str) -> str:
    if re.fullmatch(r"\d+(\.\d+)?", text) is None:
        raise argparse.ArgumentTypeError(f"{text!r} is no number: give one such as 3 or 0.999")
    return text


def with_runbooks(runbooks: str) -> Mapping[str, str]:
    """The dashboards by the names of their files, with links to the runbooks at this address."""
    return {
        path.name: path.read_text(encoding="utf-8").replace(f'"{RUNBOOKS}"', json.dumps(runbooks.rstrip("/")))
        for path in sorted(HERE.glob("*.json"))
    }


def main() -> None:
    """Write what the command line asks for."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--rules-to", type=Path, metavar="DIRECTORY", help="write the rules there")
    parser.add_argument("--dashboards-to", type=Path, metavar="DIRECTORY", help="write the dashboards there")
    parser.add_argument("--kubernetes-to", type=Path, metavar="DIRECTORY", help="write manifests of both there")
    parser.add_argument("--runbook-url", default=RUNBOOKS, metavar="URL", help="where your runbooks are: %(default)s")
    parser.add_argument("--exporter-url", default=EXPORTER, metavar="URL", help="where an exporter is: %(default)s")
    parser.add_argument("--grafana-url", default=GRAFANA, metavar="URL", help="where your Grafana is: %(default)s")
    parser.add_argument("--job", type=_name, default=JOB, metavar="NAME", help="your scrape job: %(default)s")
    for name, (shipped, meaning) in THRESHOLDS.items():
        help_ = f"{meaning}: %(default)s"
        parser.add_argument(f"--{name}", type=_number, default=shipped, metavar="NUMBER", help=help_)
    asked = parser.parse_args()
    thresholds = {name: getattr(asked, name.replace("-", "_")) for name in THRESHOLDS}

    def yours(texts: Mapping[str, str]) -> Mapping[str, str]:
        return {name: with_values(text, asked.job, thresholds) for name, text in texts.items()}

    files: dict[Path, str] = {}
    addresses = (asked.runbook_url, asked.exporter_url, asked.grafana_url)
    boards = with_runbooks(asked.runbook_url)
    if asked.rules_to is not None:
        files |= {asked.rules_to / name: text for name, text in yours(readdressed(*addresses)).items()}
    if asked.dashboards_to is not None:
        files |= {asked.dashboards_to / name: text for name, text in boards.items()}
    if asked.kubernetes_to is not None:
        manifests = yours(readdressed(*addresses, "kubernetes/*.yaml"))
        files |= {asked.kubernetes_to / "kubernetes" / name: text for name, text in manifests.items()}
        whole = readdressed(*addresses, "kustomization.yaml")
        files |= {asked.kubernetes_to / name: text for name, text in {**whole, **boards}.items()}
    if not files:
        files |= built()
    for path, text in files.items():
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text, encoding="utf-8", newline="\n")


if __name__ == "__main__":
    main()
