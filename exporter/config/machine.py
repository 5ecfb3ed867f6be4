"""What a configuration needs of the machine that it runs on: a document -> what is read there, and what is missing."""

from __future__ import annotations

import ssl
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from exporter.config.documents import A_FOLDER, Document, TooLarge, decoded, peek, read_bytes, reason
from exporter.config.fields import found
from exporter.model.vocabulary import Auth
from exporter.system.extras import missing_extra
from exporter.system.waiting import BY_SELECT, PROBES, SOCKETS

_LONGEST_SECRET: Final = 1 << 12  # bytes
GIVE_FILE: Final = "put it there, where the exporter may read it, or correct the path, which is relative to this file"


def why_unread(error: OSError) -> str:
    """Why a file cannot be read that a configuration names, and what to do about it."""
    why = reason(error)
    return why if why == A_FOLDER else f"{why}; {GIVE_FILE}"


@dataclass(frozen=True, slots=True)
class Held:
    """What the files hold that a configuration names."""

    ca_file: Path | None  # one that holds certificates
    passwords: Mapping[str, str]  # by the name of the proxy


def look_up(main: Document, directory: Path) -> Held:
    """Read the files that a configuration names for trust and for passwords, and see what this machine lacks for it.

    Paths are relative to `directory`. What is wrong with a file joins the document's mistakes; what only this machine
    lacks does so as a mistake that is `local`. Whatever else is wrong with the document is not looked at.
    """
    _look_for_extras(main)
    _count_sockets(main)
    return Held(_trusted(main, directory), dict(_passwords(main, directory)))


def _look_for_extras(main: Document) -> None:
    for name in _proxies(main):
        place = ("proxies", name, "auth")
        auth = main.at(place)
        if isinstance(auth, str) and auth in set(Auth) and (missing := missing_extra(Auth(auth))):
            main.add_error(place, missing, local=True)


def _count_sockets(main: Document) -> None:
    place = ("probe", "concurrency")
    concurrency = main.at(place)
    if BY_SELECT and isinstance(concurrency, int) and concurrency > PROBES:
        main.add_error(
            place,
            f"expected a number from 1 to {PROBES}, because on Windows a program can wait for {SOCKETS} sockets at a "
            f"time, found {concurrency}; for more targets make probe.interval longer, or narrow exporters by role or "
            "feature",
            local=True,
        )


def _trusted(main: Document, directory: Path) -> Path | None:
    """The file of certificates that are trusted, where it holds one at least."""
    place = ("tls", "ca_file")
    file = main.at(place)
    if not isinstance(file, str) or not file.strip():
        return None
    trust = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    try:
        trust.load_verify_locations(directory / file)
    except ssl.SSLError:
        main.add_error(place, f"{found(file)} holds no certificate in PEM; {_TO_PEM.format(name=Path(file).stem)}")
    except OSError as error:
        main.add_error(place, f"{found(file)} cannot be read: {why_unread(error)}", local=True)
    except ValueError as error:
        main.add_error(place, f"{found(file)} cannot be read: {error}")
    else:
        if trust.cert_store_stats()["x509"]:
            return directory / file
        main.add_error(place, f"{found(file)} holds no certificate; add one in PEM")
    return None


_TO_PEM: Final = (
    "convert it: `certutil -encode {name}.cer {name}.pem` on Windows, "
    "`openssl x509 -inform der -in {name}.cer -out {name}.pem` elsewhere"
)


def _passwords(main: Document, directory: Path) -> Iterator[tuple[str, str]]:
    for name in _proxies(main):
        place = ("proxies", name, "password_file")
        file = main.at(place)
        if not isinstance(file, str) or main.at(("proxies", name, "username")) is None:
            continue
        try:
            yield name, _password(directory / file)
        except OSError as error:
            main.add_error(place, f"the file cannot be read: {why_unread(error)}", local=True)
        except ValueError as error:
            main.add_error(place, str(error))


def _password(path: Path) -> str:
    """What a password file holds, without its last line end. Raises OSError and ValueError.

    The messages show neither its text nor its path: some give the password for the path.
    """
    try:
        text = decoded(read_bytes(path, _LONGEST_SECRET)).removesuffix("\n").removesuffix("\r")
    except TooLarge as error:
        raise ValueError(f"the file cannot be read: {error}; write the password alone into it") from None
    except UnicodeDecodeError:
        raise ValueError("the file is not UTF-8; save it in UTF-8") from None
    except ValueError as error:  # a path that no system has
        raise ValueError(f"the file cannot be read: {error}") from None
    if not text:
        raise ValueError("the file is empty; write the password into it")
    if not text.isprintable():
        raise ValueError("the file holds more than one line, or control characters; write the password alone into it")
    return text


def _proxies(main: Document) -> Iterator[str]:
    for proxies in peek(main.value, "proxies"):
        if isinstance(proxies, dict):
            yield from (name for name in proxies if isinstance(name, str))
