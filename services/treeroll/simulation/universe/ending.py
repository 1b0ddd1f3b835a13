"""What must hold of a universe when all is done: of what is in its store, against what its clients were told."""

from dataclasses import replace
from typing import TYPE_CHECKING

from treeroll.coordinator.audit import audit
from treeroll.core.model.budget import Budget
from treeroll.simulation.event_queue import EventQueue
from treeroll.simulation.universe import oracles, usurper
from treeroll.simulation.universe.faults import Faults
from treeroll.simulation.universe.oracles import Broken
from treeroll.simulation.universe.surroundings import VOCABULARY
from treeroll.simulation.universe.undisturbed import Undisturbed
from treeroll.simulation.universe.virtual_loop import VirtualLoop
from treeroll.simulation.world import fingerprint

if TYPE_CHECKING:
    from treeroll.simulation.universe.universe import Universe


def check(world: "Universe") -> list[Broken]:
    """Every promise that was not kept."""
    run_id, trees, store = world.spec.run_id, world.trees(), world.store
    feed = store._feeds.get(run_id, [])
    broken = [
        *_audited(world),
        *oracles.check_feed(run_id, feed, world.submitter.accepted, {*world.wanted}),
        *oracles.check_credit(trees, world.spec),
        *world.deliveries.check_rewards(trees, world.spec.scorer or ""),
        *oracles.check_versions(trees if store.lost_at is None else {}),
        *oracles.check_models(trees, usurper.NAME),
        *world.reporter.check(trees),
        *(world.rewinder.check(feed, world.deliveries.lent_again) if world.rewinder else ()),
        *oracles.check_losses(trees, world.succession.lives + sum(server.incarnation for server in world.servers)),
        *(world.ranks.check(len(feed)) if world.ranks else ()),
    ]
    if world.work.exact and not world.faults.failing_scorers:
        difference = oracles.first_difference(oracles.rows(trees, "exact"), _undisturbed(world))
        broken += [difference] if difference is not None else []
    return broken


def _audited(world: "Universe") -> list[Broken]:
    """What `treeroll audit` finds."""
    world.store.faults, world.store.down_until = Faults(), world.events.now
    queue = EventQueue()
    loop = VirtualLoop(queue, 0.0, world.wall)  # type: ignore[abstract]
    task = loop.start(audit(world.store, VOCABULARY))
    while not task.done():
        queue.run(1)
    return [Broken(invariant, detail) for invariant, detail in task.result().violations]


def _undisturbed(world: "Universe") -> list[tuple[object, ...]]:
    """The same trees in a world in which nothing goes wrong, and nobody is waited for."""
    same = Undisturbed(
        seed=world.seed, replicas=world.replicas, slots=world.slots, end_share=world.end_share, recipe=world.recipe,
        leaves=world.leaves, max_depth=world.max_depth, overrides=world.overrides, pools=world.pools,
        tasks=world.tasks, epochs=world.epochs,
    )  # fmt: skip
    filters = replace(world.spec.delivery, ahead=None, window=None)
    same.spec = replace(world.spec, delivery=filters, budget=Budget())
    same.run()
    return fingerprint(same)
