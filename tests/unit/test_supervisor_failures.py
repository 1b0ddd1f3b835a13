"""How often a replica may fail before it is given up."""

import ray
from ray.core.generated.common_pb2 import ActorDiedErrorContext, NodeDeathInfo

from treeroll.generator.cause import as_cause
from treeroll.generator.failures import MAX_FAILED_STARTS, MAX_SHORT_LIVES, Failures


def test_starts_that_fail_in_a_row_give_a_replica_up_before_short_lives_do() -> None:
    assert MAX_FAILED_STARTS < MAX_SHORT_LIVES
    for started, most in ((False, MAX_FAILED_STARTS), (True, MAX_SHORT_LIVES)):
        failures = Failures()
        for count in range(1, most + 1):
            assert not failures.too_many
            failures.add(f"cause {count}", started)
        assert failures.too_many
        assert failures.first_cause == "cause 1"


def test_a_life_between_failed_starts_ends_their_row() -> None:
    failures = Failures()
    for started in (False, False, True, False, False):
        failures.add("cause", started)
        assert not failures.too_many


def test_a_process_that_went_with_its_node_has_not_failed() -> None:
    context = ActorDiedErrorContext(actor_id=b"a" * 16, error_message="The actor died. exit detail: it vanished.")
    cause = as_cause(ray.exceptions.ActorDiedError(context))
    assert (cause.sentence, cause.preempted, cause.lasting) == ("its process died (it vanished)", False, False)
    context.node_death_info.reason = NodeDeathInfo.Reason.AUTOSCALER_DRAIN_PREEMPTED
    context.reason = ActorDiedErrorContext.Reason.NODE_DIED
    cause = as_cause(ray.exceptions.ActorDiedError(context))
    assert (cause.sentence, cause.preempted, cause.lasting) == ("its node was taken away", True, False)
