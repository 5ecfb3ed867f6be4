"""`make unit`: the systemd unit under a real systemd, which boots in a container, and what is true of it there.

The container holds Debian, systemd and the exporter of the image that `make image` builds, and has no network.
"""

from __future__ import annotations

import re
import sys
import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import Final

from tests.running import ROOT, eventually
from tests.stack import with_examples
from tests.tools.image import IMAGE, LIMITS, Fact, build, container, own_base, podman, shown

NAME: Final = "configmgr-endpoint-exporter"
CHECK: Final = "configmgr-endpoint-check"
UNITS: Final = ROOT / "config/systemd"
COLLECTED: Final = "/var/lib/prometheus/node-exporter"
EXPOSED: Final = 1.5  # of 10: what systemd-analyze calls OK ends at 2
BOOTS: Final = "localhost/configmgr-systemd"
# Credentials are mounted for one service, and arrive there only if mounts are shared, as outside of containers.
INIT: Final = ("sh", "-c", "mount --make-rshared / && exec /lib/systemd/systemd")

RECIPE: Final = f"""
ARG BASE
FROM {IMAGE} AS exporter
FROM ${{BASE}}
RUN apt-get --quiet update && apt-get --quiet --yes install --no-install-recommends dbus procps systemd >/dev/null
COPY --from=exporter /opt/exporter /opt/exporter
RUN ln -s exporter /opt/{NAME}
COPY exporter.yaml proxy-password /etc/{NAME}/
RUN chmod 600 /etc/{NAME}/proxy-password
COPY watchdog.conf /etc/systemd/system/{NAME}.service.d/
COPY *.service *.timer /etc/systemd/system/
RUN mkdir -p {COLLECTED}
"""

PASSWORD: Final = f"/run/credentials/{NAME}.service/proxy-password"
CONFIGURATION: Final = f"""
proxies:
  corporate:
    url: http://proxy.corp.example:3128
    username: svc
    password_file: {PASSWORD}
via: {{client: corporate}}
"""


def installed(base: str) -> None:
    """An image with the unit and all that it can switch on installed, and a watchdog that does not wait long."""
    with tempfile.TemporaryDirectory() as directory:
        files = {
            "Dockerfile": RECIPE,
            "exporter.yaml": CONFIGURATION,
            "proxy-password": "hunter2",
            "watchdog.conf": "[Service]\nWatchdogSec=2s\nRestartSec=100ms\n",
            **{path.name: with_examples(path.read_text(encoding="utf-8")) for path in UNITS.iterdir()},
        }
        for name, text in files.items():
            (Path(directory) / name).write_text(text, encoding="utf-8")
        podman("build", "--quiet", "--network=host", *LIMITS, f"--build-arg=BASE={base}", f"--tag={BOOTS}", directory)


def facts() -> Iterator[Fact]:
    """Boot, start, look, reload, hang, stop."""
    with container("--privileged", "--systemd=always", BOOTS, *INIT) as machine:

        def systemctl(*words: str) -> str:
            return podman("exec", machine, "systemctl", *words, check=False)

        def shows(what: str) -> str:
            return systemctl("show", f"--property={what}", "--value", NAME)

        def logged(words: str) -> bool:
            return words in podman("exec", machine, "journalctl", "--quiet", "--unit", NAME)

        booted = eventually("systemd boots", lambda: systemctl("is-system-running") == "running", within=60)
        systemctl("start", NAME)
        yield Fact("started, as it says itself", shows("ActiveState"), booted and shows("ActiveState") == "active")
        status = eventually(
            "it tells its state", lambda: re.fullmatch(r".* targets up", shows("StatusText")), within=60
        )
        yield Fact("status", status[0], good=True)
        process = podman("exec", machine, "cat", f"/proc/{shows('MainPID')}/status")
        seen = dict(re.findall(r"(?m)^(\w+):\s*(.+)$", process))
        uid = seen["Uid"].split()[0]
        yield Fact("user, made for it", uid, 61184 <= int(uid) <= 65519)  # systemd's range for dynamic users
        able = {seen[name] for name in ("CapInh", "CapPrm", "CapEff", "CapBnd", "CapAmb")}
        yield Fact("capabilities, of all five sets", ", ".join(able), able == {"0" * 16})
        yield Fact("system calls filtered", seen["Seccomp"], seen["Seccomp"] == "2")
        exposure = podman("exec", machine, "systemd-analyze", "--no-pager", "security", NAME).rpartition(": ")[2]
        yield Fact("exposure, of 10", exposure, float(exposure.split()[0]) <= EXPOSED)
        systemctl("reload", NAME)
        reloaded = eventually("it reloads", lambda: logged("configuration reloaded"))
        yield Fact("reloaded, with the proxy's password", shows("ActiveState"), reloaded)
        systemctl("kill", "--signal=SIGSTOP", NAME)
        hung = eventually("the watchdog bites", lambda: shows("NRestarts") == "1", within=30)
        back = eventually("it is back", lambda: shows("ActiveState") == "active", within=30)
        yield Fact("restarted when it hangs", shows("NRestarts"), hung and back)
        # A check is root and reads the password where root keeps it.
        podman("exec", machine, "sed", "--in-place", f"s#{PASSWORD}#proxy-password#", f"/etc/{NAME}/exporter.yaml")
        systemctl("start", CHECK)
        lines = podman("exec", machine, "grep", "--count", "^configmgr_", f"{COLLECTED}/configmgr.prom", check=False)
        yield Fact("series that a check leaves behind", lines or "none", int(lines or 0) > 1000)
        systemctl("stop", NAME)
        ended = (shows("ActiveState"), shows("Result"), shows("ExecMainStatus"))
        yield Fact("stopped", ", ".join(ended), ended == ("inactive", "success", "0"))


def main() -> int:
    """Build the image and show what is true of the unit in it."""
    base = own_base()
    build(base)
    installed(base)
    return shown(f"{NAME}.service", list(facts()))


if __name__ == "__main__":
    sys.exit(main())
