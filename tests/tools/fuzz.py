"""Feed what strangers may send to the code that reads it: answers, the proxy's dialogue, certificates, configurations.

Run by `make fuzz`. Inputs are mutations of real ones, from a seed, so that a run can be repeated; each must end in one
of our own results, never in an exception that is not ours.
"""

from __future__ import annotations

import argparse
import random
import ssl
import sys
import tempfile
import time
from collections.abc import Awaitable, Callable, Iterator
from contextlib import suppress
from functools import partial
from pathlib import Path
from typing import Final, cast

import anyio
import httpx

from exporter.config import catalogue
from exporter.config import settings as config
from exporter.config.authorities import load_authorities
from exporter.config.documents import DocumentError
from exporter.config.fingerprints import load_marks
from exporter.model.vocabulary import Answer, Auth, Phase, Proxy, Reason, Target
from exporter.probe.classify import Signs, Way, classify, judge
from exporter.probe.errors import PeerClosed
from exporter.probe.net import Route, Trace, Transport
from exporter.probe.net.certificates import Shown, facts
from exporter.probe.net.streams import Stream
from exporter.probe.net.transport import Origin
from exporter.probe.unverified import failure_of
from tests.issuing import issue, rsa_key

ROOT: Final = Path(__file__).parents[2]
PAGES: Final = [path.read_bytes() for path in sorted((ROOT / "tests/data/truth").glob("*/*.http"))]
ANSWERS: Final = [
    *PAGES,
    b"HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n",
    b"HTTP/1.1 103 Hints\r\nLink: </a>\r\n\r\nHTTP/1.1 404 No\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n",
    (
        b'HTTP/1.1 407 No\r\nProxy-Authenticate: Negotiate, NTLM\r\nProxy-Authenticate: Basic realm="a, b"\r\n'
        b"Content-Length: 5\r\n\r\npage!HTTP/1.1 200 Connection established\r\n\r\n"
    ),
    (
        b"HTTP/1.1 302 Found\r\nLocation: http://[::1\r\nContent-Type: text/html\r\n\r\n"
        b"<meta http-equiv=refresh content='0;url=//x'>"
    ),
]
TOKENS: Final = [
    b"\x00",
    b"\t",
    b"\r\n",
    b"HTTP/1.1 ",
    b": ",
    b"\xff",
    b"407",
    b'"',
    b"{",
    b"- ",
    b"&a ",
    b"*a",
    b"9" * 40,
]


def mutated(chance: random.Random, seeds: list[bytes]) -> bytes:
    """A seed with some of its bytes changed, dropped, doubled, or swapped for a part of another."""
    data = bytearray(chance.choice(seeds))
    for _ in range(chance.randint(0, 6)):
        at = chance.randint(0, len(data))
        match chance.randrange(5):
            case 0:
                data[at : at + 1] = chance.randbytes(1)
            case 1:
                del data[at : at + chance.randint(1, 20)]
            case 2:
                data[at:at] = data[at : at + chance.randint(1, 40)]
            case 3:
                data[at:at] = chance.choice(TOKENS)
            case _:
                other = chance.choice(seeds)
                start = chance.randint(0, len(other))
                data[at : at + 10] = other[start : start + 30]
    return bytes(data)


# ---------------------------------------------------------------- answers, and the proxy's dialogue


class Canned:
    """A peer that says one thing, in small pieces, and hangs up."""

    pending = 0

    def __init__(self, said: bytes, piece: int) -> None:
        self._rest = said
        self._piece = piece

    async def read(self, most: int) -> bytes:  # noqa: ARG002
        if not self._rest:
            raise PeerClosed("the connection was closed before the answer")
        said, self._rest = self._rest[: self._piece], self._rest[self._piece :]
        return said

    async def write(self, data: bytes) -> None:
        pass


class CannedTransport(Transport):
    """The real transport, but for where its connections lead."""

    def __init__(self, route: Route, trace: Trace, said: bytes, piece: int) -> None:
        super().__init__(route, trace)
        self._said = partial(Canned, said, piece)

    async def _dial(self, origin: Origin) -> Stream:  # noqa: ARG002
        self._trace.enter(Phase.CONNECT)
        return self._said()


CONTEXT: Final = ssl.create_default_context()
PROXY: Final = Proxy("fuzz", "http://proxy.example:3128", "user", "secret", auth=Auth.AUTO)
VOCABULARY: Final = catalogue.shipped() / "vocabulary"
AUTHORITIES: Final = load_authorities(VOCABULARY / "authorities.yaml")
FINGERPRINTS: Final = load_marks(VOCABULARY / "fingerprints.yaml").fingerprints
SIGNS: Final = Signs(FINGERPRINTS, frozenset({"a.example"}))


async def an_answer(chance: random.Random) -> None:
    """Read one answer, direct, relayed, or to CONNECT, and judge it."""
    way = chance.choice(list(Way))
    target = Target("https://a.example/" if way is Way.TUNNEL else "http://a.example/")
    trace = Trace()
    route = Route(CONTEXT, None if way is Way.DIRECT else PROXY)
    said, piece = mutated(chance, ANSWERS), chance.choice([1, 7, 100, 65536])
    try:
        async with CannedTransport(route, trace, said, piece) as transport:
            await transport.handle_async_request(httpx.Request("GET", target.url))
        judge(target, cast(Answer, trace.seen.answer), SIGNS, way, forgeable=True)
    except Exception as error:
        failure = classify(trace.phase, error, way)
        if failure.reason is Reason.INTERNAL_ERROR:
            raise


# ---------------------------------------------------------------- certificates and configurations

_ROOT: Final = issue("Fuzz Root", ca=True)
_ISSUING: Final = issue("Fuzz CA", _ROOT, ca=True)
_LEAF: Final = issue("a.example", _ISSUING, aia="http://a.example/ca.crt", key=rsa_key(2048))
CHAIN: Final = [_LEAF.der, _ISSUING.der, _ROOT.der]
VERIFY_CODES: Final = [*range(100), 0x800B0101, 0x800B0109, 0x800B010A, 0x800B010F]


async def a_chain(chance: random.Random) -> None:
    """Read the facts of a chain, some of it broken, and name why it does not verify."""
    odd = [mutated(chance, CHAIN) for _ in range(chance.randint(0, 3))]
    sound = CHAIN[: chance.randint(0, 3)]
    presented = (*odd, *sound) if chance.random() < 0.5 else (*sound, *odd)
    path = tuple(chance.sample(presented, chance.randint(0, len(presented))))
    verified = chance.choice([False, True])
    seen = facts(Shown(presented, chance.choice([None, "TLSv1.3"]), path, verified, (_ROOT.der,), AUTHORITIES))
    if [one.size for one in seen.chain] != list(map(len, presented)) and (presented or path):
        raise AssertionError("a certificate hides another")
    failure = failure_of(chance.choice(VERIFY_CODES), "words", None if verified else seen)
    if failure.reason is Reason.INTERNAL_ERROR:
        raise AssertionError(failure)


EXAMPLE: Final = (ROOT / "config" / "exporter.yaml").read_bytes()
CONFIGURATIONS: Final = [EXAMPLE, EXAMPLE.replace(b"\n# ", b"\n"), EXAMPLE.replace(b"{}", b"").replace(b"\n#", b"\n")]
KNOWN: Final = catalogue.load()


def configuration_reader(directory: Path) -> Callable[[random.Random], Awaitable[None]]:
    """Loads mutated configurations from a file in the directory."""
    path = directory / "exporter.yaml"

    async def a_configuration(chance: random.Random) -> None:
        path.write_bytes(mutated(chance, CONFIGURATIONS))
        with suppress(DocumentError):
            config.load(path, KNOWN)

    return a_configuration


async def run(inputs: int, seed: int, directory: Path) -> Iterator[str]:
    """Half of the inputs are answers, a quarter each certificates and configurations."""
    told = []
    for name, one, share in (
        ("answers", an_answer, 2),
        ("certificates", a_chain, 1),
        ("configurations", configuration_reader(directory), 1),
    ):
        chance, count, begun = random.Random(f"{seed} {name}"), inputs * share // 4, time.monotonic()  # noqa: S311 - chance, no secret
        for _ in range(count):
            await one(chance)
        told.append(f"{name}: {count} inputs, no exception that is not ours ({time.monotonic() - begun:.0f} s)")
    return iter(told)


def main() -> int:
    """Fuzz and tell."""
    parser = argparse.ArgumentParser(prog="make fuzz", description=__doc__)
    parser.add_argument("--inputs", type=int, default=100_000)
    parser.add_argument("--seed", type=int, default=0)
    given = parser.parse_args()
    with tempfile.TemporaryDirectory() as directory:
        for line in anyio.run(run, given.inputs, given.seed, Path(directory)):
            sys.stdout.write(f"{line}\n")
    return 0


if __name__ == "__main__":
    sys.exit(main())
