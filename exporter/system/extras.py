"""What optional extras bring, and what is missing of it here."""

from __future__ import annotations

import sys
from collections.abc import Mapping
from importlib.util import find_spec
from types import MappingProxyType
from typing import Final

from exporter.model.vocabulary import Auth

NAMES: Final[Mapping[Auth, str]] = MappingProxyType(
    {Auth.NEGOTIATE: "Negotiate", Auth.NTLM: "NTLM", Auth.BASIC: "Basic"}
)
_SPNEGO: Final = ("spnego",) if sys.platform == "win32" else ("spnego", "gssapi", "krb5")
_MODULES: Final[Mapping[Auth, tuple[str, ...]]] = MappingProxyType({Auth.NTLM: ("spnego",), Auth.NEGOTIATE: _SPNEGO})


def missing_extra(auth: Auth) -> str | None:
    """What this way to sign in lacks, with the command that installs it; None: nothing. `auto` takes what there is."""
    missing = [module for module in _MODULES.get(auth, ()) if find_spec(module) is None]
    if not missing:
        return None
    install = "pip install 'configmgr-endpoint-exporter[negotiate]'"
    return f"{NAMES[auth]} needs {' and '.join(missing)}, which an optional extra brings: {install}"


def missing_reader() -> str | None:
    """What reading articles lacks, with the command that installs it; None: nothing."""
    if find_spec("lxml") is not None:
        return None
    return "needs lxml, which an optional extra brings: pip install 'configmgr-endpoint-exporter[articles]'"
