"""Running a fleet in this process: what it shows to the service, signals."""

import os
import re

from treeroll.cli.console import note
from treeroll.cli.interrupts import Interrupts
from treeroll.cli.replica_process import generator_settings, shown_to
from treeroll.cli.serving import FAILED, die, heed_signals, log_to_stderr, say_stopping
from treeroll.cli.settings import Sections
from treeroll.config import CoordinatorConfig, parse
from treeroll.errors import InvalidInput, cause_of
from treeroll.generator.config import GeneratorConfig
from treeroll.generator.ray_config import HeadGone, RayConfig
from treeroll.generator.ray_fleet import FleetPlace, run_fleet

NAME = re.compile(r"[A-Za-z0-9._-]{0,24}")


def run(sections: Sections, addresses: str, name: str) -> None:
    """Run until a signal. Raises what the fleet raises."""
    heed_signals()
    config = generator_settings(sections)
    ray = parse(RayConfig, sections.get("ray", {}), "section 'ray'")
    ray.check(os.environ)
    if not NAME.fullmatch(name):
        raise InvalidInput(f"--name {name!r} must be up to 24 of letters, digits, '.', '_' and '-'")
    temp_dir = parse(CoordinatorConfig, sections.get("coordinator", {}), "section 'coordinator'").temp_dir
    place = FleetPlace(addresses, name, shown_to(addresses), temp_dir)
    log_to_stderr()
    import uvloop

    try:
        uvloop.run(_run(config, ray, place))
    except BaseExceptionGroup as group:
        raise cause_of(group) from None
    except HeadGone as gone:
        note(f"error: {gone}")
        os._exit(FAILED)


async def _run(config: GeneratorConfig, ray: RayConfig, place: FleetPlace) -> None:
    def on_ready() -> None:
        how_many = "all" if config.ready_replicas is None else config.ready_replicas
        print(f"the fleet works for {place.addresses}: {how_many} replicas are ready", flush=True)

    with Interrupts(die, on_first=say_stopping) as interrupts:
        await run_fleet(config, ray, place, on_ready, interrupts.asked)
