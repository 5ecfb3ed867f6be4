"""Do in a console of Windows what this is told, and tell what came of it. For the Python of the bundle.

usage: python windows_console.py ORDERS RESULTS, two files of JSON. An order is an object with `page`, the code page of
the console, and `argv`; with `until`, a URL, and `key`, `c` or `break`, that is pressed with Ctrl when the URL answers;
with `shown`, its stdout is the console, where a line with the code page stands above it. A result has `status`, `out`
and `err`, the bytes in hexadecimal.
"""

import ctypes
import json
import signal
import subprocess
import sys
import time
import urllib.request
from pathlib import Path

_PATIENCE = 300.0  # seconds
_CTRL_C_EVENT, _CTRL_BREAK_EVENT = 0, 1  # <wincon.h>
_PROCESS_ALL_ACCESS = 0x1FFFFF


def carry_out(order: dict[str, object]) -> dict[str, object]:
    """One order."""
    kernel = ctypes.WinDLL("kernel32")  # type: ignore[attr-defined] # of Windows
    if not kernel.SetConsoleOutputCP(order["page"]):
        sys.exit(f"no code page {order['page']}")
    if order.get("shown"):
        sys.stdout.write(f"code page {order['page']}\n")
        sys.stdout.flush()
    program = subprocess.Popen(
        order["argv"],  # type: ignore[call-overload] # as it is told
        stdin=subprocess.DEVNULL,
        stdout=None if order.get("shown") else subprocess.PIPE,
        stderr=subprocess.PIPE,
    )
    if "until" in order:
        _wait_for(str(order["until"]))
        _press(str(order["key"]), kernel, program)
    out, err = program.communicate(timeout=_PATIENCE)
    return {"status": program.returncode, "out": (out or b"").hex(), "err": err.hex()}


def _press(key: str, kernel: ctypes.CDLL, program: subprocess.Popen[bytes]) -> None:
    """Ctrl+C on the console, for all its programs, us among them; or Ctrl+Break, which wine's console does not know.

    That is brought to the one program as Windows brings it: by a thread in it that runs kernelbase's CtrlRoutine.
    """
    if key == "c":
        signal.signal(signal.SIGINT, signal.SIG_IGN)
        pressed = kernel.GenerateConsoleCtrlEvent(_CTRL_C_EVENT, 0)
    else:
        for function in (kernel.OpenProcess, kernel.GetModuleHandleW, kernel.GetProcAddress, kernel.CreateRemoteThread):
            function.restype = ctypes.c_void_p
        process = ctypes.c_void_p(kernel.OpenProcess(_PROCESS_ALL_ACCESS, 0, program.pid))
        module = ctypes.c_void_p(kernel.GetModuleHandleW("kernelbase.dll"))
        routine = ctypes.c_void_p(kernel.GetProcAddress(module, b"CtrlRoutine"))
        pressed = kernel.CreateRemoteThread(process, None, 0, routine, ctypes.c_void_p(_CTRL_BREAK_EVENT), 0, None)
    if not pressed:
        sys.exit(f"Ctrl+{key}: {ctypes.FormatError()}")  # type: ignore[attr-defined] # of Windows


def _wait_for(url: str) -> None:
    until = time.monotonic() + _PATIENCE
    while time.monotonic() < until:
        try:
            urllib.request.urlopen(url, timeout=5).close()  # noqa: S310 - ours
        except OSError:
            time.sleep(0.2)
        else:
            return
    sys.exit(f"{url} does not answer")


if __name__ == "__main__":
    orders, results = map(Path, sys.argv[1:])
    told = [carry_out(order) for order in json.loads(orders.read_text(encoding="utf-8"))]
    results.write_text(json.dumps(told), encoding="utf-8")
