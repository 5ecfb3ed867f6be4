"""`python -m exporter.proxies.engine`: run a PAC file, which is somebody else's code, in a process of its own.

JSON on stdin: `script`, `asked` (URL and host of each target), `seconds` of the processor and `bytes` of memory at
most. JSON on stdout: `answers`, in that order; or `failed`, the number of what failed (-1: the file itself). What the
engine says of an error is on stderr.
"""

from __future__ import annotations

import json
import os
import socket
import sys
from typing import Final

# What the engine's own functions get wrong: names are looked up again and again, `dnsResolve` gives IPv6 as well, which
# no `isInNet` understands; `isInNetEx` is true of names, and `weekdayRange` knows no weekend that begins on a Friday.
PRELUDE: Final = """\
(function (global) {
  "use strict";
  var native = global.dnsResolveEx, known = {};
  var days = ["SUN", "MON", "TUE", "WED", "THU", "FRI", "SAT"];

  function bits(address) {
    var v4 = /^\\d{1,3}(\\.\\d{1,3}){3}$/.test(address), groups;
    if (v4) {
      groups = address.split(".").map(Number);
    } else if (address.indexOf(":") >= 0) {
      var halves = address.split("%")[0].split("::").map(function (half) { return half ? half.split(":") : []; });
      var missing = 8 - halves[0].length - (halves[1] || []).length;
      groups = halves[0].concat(new Array(Math.max(0, missing)).fill("0"), halves[1] || []);
      groups = groups.map(function (group) { return parseInt(group, 16); });
    } else {
      return null;
    }
    return groups.map(function (group) { return group.toString(2).padStart(v4 ? 8 : 16, "0"); }).join("");
  }

  global.dnsResolveEx = function (host) {
    var key = "=" + host;
    if (!(key in known)) known[key] = native(host);
    return known[key];
  };
  global.dnsResolve = function (host) {
    var all = String(global.dnsResolveEx(host) || "").split(";");
    var v4 = all.filter(function (one) { return /^[\\d.]+$/.test(one); });
    return v4.length ? v4[0] : null;
  };
  global.isResolvable = function (host) { return global.dnsResolve(host) !== null; };
  global.isInNetEx = function (host, prefix) {
    var parts = String(prefix).split("/"), net = bits(parts[0]), length = Number(parts[1]);
    if (net === null || !(length <= net.length)) return false;
    var all = bits(String(host)) === null ? global.dnsResolveEx(host) : host;
    return String(all || "").split(";").some(function (one) {
      var its = bits(one);
      return its !== null && its.length === net.length && its.slice(0, length) === net.slice(0, length);
    });
  };
  global.weekdayRange = function (first, last, zone) {
    var gmt = last === "GMT" || zone === "GMT", now = new Date(), today = gmt ? now.getUTCDay() : now.getDay();
    var from = days.indexOf(first), to = last === undefined || last === "GMT" ? from : days.indexOf(last);
    if (from < 0 || to < 0) return false;
    return from <= to ? from <= today && today <= to : from <= today || today <= to;
  };
})(this);
"""
_ELSEWHERE: Final = ((socket.AF_INET, "192.0.2.1"), (socket.AF_INET6, "2001:db8::1"))  # RFC 5737, RFC 3849


def main() -> None:
    """Answer one request."""
    order = json.loads(sys.stdin.buffer.read())
    said = os.fdopen(os.dup(1), "w", encoding="ascii")
    os.dup2(2, 1)  # what a script prints is no answer
    limit(order["seconds"], order["bytes"])
    json.dump(_answers(order["script"], order["asked"]), said)
    said.flush()
    os._exit(0)  # nothing of the engine's own end matters


def _answers(script: str, asked: list[tuple[str, str]]) -> dict[str, object]:
    import pacparser  # type: ignore[import-untyped] # noqa: PLC0415 - under the limits

    found: list[str] = []
    failed = -1
    try:
        if address := own_address():
            pacparser.setmyip(address)
        pacparser.init()
        pacparser.parse_pac_string(PRELUDE)
        pacparser.parse_pac_string(script)
        for failed, (url, host) in enumerate(asked):  # noqa: B007 - the message names where it stopped
            found.append(pacparser.find_proxy(url, host))
    except Exception as error:  # noqa: BLE001 - whatever the engine raises is the file's fault
        sys.stderr.write(f"\n{error}\n")
        return {"failed": failed}
    return {"answers": found}


def own_address() -> str | None:
    """The address by which this machine goes to others, for `myIpAddress`: no packet is sent to find it.

    The engine would look up the machine's name, which leads to 127.0.1.1 on many.
    """
    for family, address in _ELSEWHERE:
        try:
            with socket.socket(family, socket.SOCK_DGRAM) as connection:
                connection.connect((address, 9))
                return str(connection.getsockname()[0])
        except OSError:
            continue
    return None


if sys.platform == "win32":
    import ctypes
    from ctypes import wintypes

    class _Basic(ctypes.Structure):
        _fields_ = (
            ("process_time", ctypes.c_int64),  # in units of 100 ns
            ("job_time", ctypes.c_int64),
            ("flags", wintypes.DWORD),
            ("least_working_set", ctypes.c_size_t),
            ("most_working_set", ctypes.c_size_t),
            ("processes", wintypes.DWORD),
            ("affinity", ctypes.c_size_t),
            ("priority", wintypes.DWORD),
            ("scheduling", wintypes.DWORD),
        )

    class _Extended(ctypes.Structure):  # JOBOBJECT_EXTENDED_LIMIT_INFORMATION
        _fields_ = (
            ("basic", _Basic),
            ("io", ctypes.c_uint64 * 6),
            ("process_memory", ctypes.c_size_t),
            ("job_memory", ctypes.c_size_t),
            ("peak_process_memory", ctypes.c_size_t),
            ("peak_job_memory", ctypes.c_size_t),
        )

    _PROCESS_TIME, _ACTIVE_PROCESS, _PROCESS_MEMORY = 0x2, 0x8, 0x100
    _EXTENDED_LIMITS = 9

    def limit(seconds: int, most: int) -> None:
        """Let this process have no more time of the processor and no more memory, and start no other: a job object."""
        kernel = ctypes.WinDLL("kernel32")
        kernel.CreateJobObjectW.restype = kernel.GetCurrentProcess.restype = wintypes.HANDLE
        job = wintypes.HANDLE(kernel.CreateJobObjectW(None, None))
        limits = _Extended(process_memory=most)
        limits.basic.flags = _PROCESS_TIME | _ACTIVE_PROCESS | _PROCESS_MEMORY
        limits.basic.process_time = seconds * 10_000_000
        limits.basic.processes = 1
        kernel.SetInformationJobObject(job, _EXTENDED_LIMITS, ctypes.byref(limits), ctypes.sizeof(limits))
        kernel.AssignProcessToJobObject(job, wintypes.HANDLE(kernel.GetCurrentProcess()))

else:
    import resource

    def limit(seconds: int, most: int) -> None:
        """Let this process have no more time of the processor and no more memory, and start no other."""
        resource.setrlimit(resource.RLIMIT_CPU, (seconds, seconds))
        resource.setrlimit(resource.RLIMIT_AS, (most, most))
        resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
        resource.setrlimit(resource.RLIMIT_FSIZE, (0, 0))  # pipes are no files


if __name__ == "__main__":
    main()
