"""The coordinator: whether it is reached, by which certificate and token, and which version it is."""

import asyncio
from collections.abc import AsyncIterator
from datetime import UTC, datetime, timedelta

from cryptography import x509

from treeroll import __version__
from treeroll.access.tls import Certificate, certificate_at, names_of
from treeroll.addresses import check_addresses, split
from treeroll.client import connect_async
from treeroll.doctor.finding import Finding, not_checked, ok, wrong
from treeroll.doctor.ground import Ground
from treeroll.errors import NotAllowed, StandsBy, TreerollError
from treeroll.generator.reached import why_unreached
from treeroll.versions import work_together

SOON = timedelta(days=7)
ANSWER_S = 10.0


async def reached(ground: Ground) -> AsyncIterator[Finding]:
    """Somebody answers at the addresses that replicas and clients are told, and has a version that fits."""
    if not ground.addresses:
        yield not_checked("coordinator.port is 0, so its address is known when it runs: give it with --address")
        return
    for address in check_addresses(ground.addresses):
        if why := await why_unreached(address, ground.shown):
            free = not ground.named and "Connection refused" in why
            yield not_checked(f"nobody serves at {address} yet") if free else wrong(why)
        else:
            ground.reached = True
            yield ok(f"somebody answers at {address}")
    if ground.reached:
        async for finding in _asked(ground):
            yield finding


async def _asked(ground: Ground) -> AsyncIterator[Finding]:
    shown = ground.shown
    try:
        tls = shown.roots or shown.tls
        async with await connect_async(
            ground.addresses, token=shown.token, tls=tls, timeout_s=ANSWER_S, connect_s=ANSWER_S
        ) as client:
            status = ground.status = await client.status()
    except StandsBy as error:
        ground.refusal = error
        yield ok(str(error))
        return
    except TreerollError as error:
        ground.refusal = error  # told by the check of the token
        return
    if work_together(status.version, __version__):
        yield ok(f"treeroll {status.version}, epoch {status.epoch}, {len(status.replicas)} replicas")
    else:
        yield wrong(
            f"the service is treeroll {status.version}, and this is {__version__}: install {status.version} here"
        )


async def token(ground: Ground) -> AsyncIterator[Finding]:
    """The token of this environment is one, and what it is for."""
    status, refusal = ground.status, ground.refusal
    if isinstance(refusal, NotAllowed):  # it is one, and not for looking
        yield ok(f"it is taken: {refusal}")
    elif refusal is not None and not isinstance(refusal, StandsBy):
        yield wrong(str(refusal))
    elif status is None:
        yield not_checked("nobody who would take one was reached")
    elif status.role:
        yield ok(f"it is that of '{status.caller}', with role {status.role}")
    else:
        yield ok("the service asks for none")


async def certificate(ground: Ground) -> AsyncIterator[Finding]:
    """The certificate in the files of the settings, and the one that is shown at the address."""
    access = ground.config.access
    if access.certificate is not None and access.key is not None:
        yield _in_force(str(access.certificate), Certificate(access.certificate, access.key).leaf())
    if not ground.shown.tls:
        if access.certificate is None:
            yield not_checked("neither access.certificate nor TREEROLL_CA is set: there is no TLS")
        return
    for address in check_addresses(ground.addresses) if ground.reached else ():
        host, port = split(address)
        leaf = await asyncio.to_thread(certificate_at, host, port, ANSWER_S)
        yield _in_force(f"the one shown at {address}", leaf)


def _in_force(what: str, leaf: x509.Certificate) -> Finding:
    until = leaf.not_valid_after_utc
    said = f"{what} is for {', '.join(names_of(leaf))}, until {until:%Y-%m-%d %H:%M} UTC"
    if until - datetime.now(UTC) < SOON:
        return wrong(f"{said}: renew it now (`treeroll certs`, or whatever makes yours)")
    return ok(said)
