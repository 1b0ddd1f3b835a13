"""Running one replica in this process: its name, what it shows to the service, signals."""

import os
import socket
from pathlib import Path

from treeroll.addresses import check_addresses, is_local
from treeroll.channels import Pass
from treeroll.cli.console import note
from treeroll.cli.interrupts import Interrupts
from treeroll.cli.serving import die, heed_signals, log_to_stderr, say_stopping
from treeroll.cli.settings import Sections
from treeroll.client.channel import CA_VARIABLE, token_of_environment
from treeroll.config import parse
from treeroll.errors import InvalidInput, cause_of
from treeroll.generator.config import GeneratorConfig, with_tracing
from treeroll.generator.standalone import Place, run_replica
from treeroll.tracing.config import TracingConfig


def run(sections: Sections, addresses: str, name: str | None, pool: str, ready_file: Path | None) -> None:
    """Run until a signal. `ready_file` is there from when it has joined. Raises what the replica raises."""
    heed_signals()
    if ready_file is not None:
        ready_file.unlink(missing_ok=True)  # of the process before, in the same container
    config = generator_settings(sections)
    place = Place(name or socket.gethostname(), addresses, pool, shown_to(addresses))
    log_to_stderr()
    import uvloop

    try:
        uvloop.run(_run(config, place, ready_file))
    except BaseExceptionGroup as group:
        raise cause_of(group) from None


async def _run(config: GeneratorConfig, place: Place, ready_file: Path | None) -> None:
    def on_joined(incarnation: int) -> None:
        if ready_file is not None:
            ready_file.touch()
        print(f"replica {place.name} works for {place.addresses}, incarnation {incarnation}", flush=True)

    with Interrupts(die, on_first=say_stopping) as interrupts:
        await run_replica(config, place, on_joined, interrupts.asked)
        if not interrupts.asked.is_set():
            note(f"replica {place.name} was drained by the service")


def generator_settings(sections: Sections) -> GeneratorConfig:
    """Those of engines that are not the service's own, but have its file."""
    config = parse(GeneratorConfig, sections.get("generator", {}), "section 'generator'")
    return with_tracing(config, parse(TracingConfig, sections.get("tracing", {}), "section 'tracing'"))


def shown_to(addresses: str) -> Pass:
    """What the environment has for the service. InvalidInput for a token that would travel unencrypted."""
    token, roots = token_of_environment(), os.environ.get(CA_VARIABLE, "")
    if token and not roots and not all(map(is_local, check_addresses(addresses))):
        raise InvalidInput(f"the token for {addresses} would travel unencrypted; set {CA_VARIABLE} as well")
    # A fleet's replicas have other working directories.
    return Pass(token, tls=bool(roots), roots=roots and os.path.abspath(roots))
