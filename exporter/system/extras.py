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
    return f"{NAMES[auth]} needs {' and '.join(missing)}, which an optional extra brings: {_install('negotiate')}"


def missing_reader() -> str | None:
    """What reading articles lacks, with the command that installs it; None: nothing."""
    if find_spec("lxml") is not None:
        return None
    return f"needs lxml, which an optional extra brings: {_install('articles')}"


def _install(extra: str) -> str:
    """From the folder of the exporter's source: an index of packages may have its name from somebody else."""
    return f"pip install -c constraints.txt '.[{extra}]', in the folder that the exporter was installed from"
