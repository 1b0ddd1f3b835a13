"""The lines of the table of faults: what is promised of each, and what covers it beside the rows that are measured."""

from collections.abc import Sequence
from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Line:
    """One line of the table of faults. Rows of its number measure it; `elsewhere` says what else does, or why none."""

    number: int
    fault: str
    target: str
    elsewhere: str = ""


LINES: Sequence[Line] = (
    Line(
        1,
        "everything at once, in virtual time",
        "1,000 seeds <= 180 s, 0 violations, one seed twice equal",
        "`scripts/simulate --seeds 1000`, [results](results/README.md)",
    ),
    Line(
        2,
        "`kill -9` of a replica",
        "its branches granted again <= 12 s; <= 1 s if a supervisor saw it die",
        "the supervisor: `tests/fault/test_replica_kill.py`",
    ),
    Line(
        3,
        "an engine that is dead, or fails every request",
        "quarantine after 3 errors, 0 tasks fail while another works",
        "a dead engine: `tests/integration/test_supervisor.py`",
    ),
    Line(
        4,
        "SIGSTOP of a replica; one that is mute",
        "engines kept; of a mute one granted again <= 45 s",
    ),
    Line(
        5,
        "`kill -9` of the coordinator",
        "<= 5 s, by takeover <= 8 s; nothing acknowledged lost, accounts exact, nothing decoded again where "
        "replicas live",
        "at every failpoint: `scripts/chaos --kills 200`, [results](results/chaos.txt)",
    ),
    Line(
        6,
        "two coordinators",
        "0 writes of the old one, which ends <= 2 s",
        "`tests/fault/test_owner.py`, `tests/fault/test_standby.py`: chaos has one service at a time",
    ),
    Line(
        7,
        "the answer to a call is lost",
        "one effect; the same leases again",
        "`tests/contract/test_client.py`, `tests/fault/test_outlasting.py`: a TCP proxy cannot tell answers apart",
    ),
    Line(
        8,
        "SIGSTOP of the coordinator",
        "recovery <= 1 s, 0 re-grants, 0 lost",
    ),
    Line(
        9,
        "Redis silent",
        "a pause; recovery <= 1 s, 0 re-grants",
    ),
    Line(
        10,
        "`kill -9` of Redis, or all its connections cut",
        "as 9; the embedded one is started again",
        "the embedded one: `tests/fault/test_store_outage.py`",
    ),
    Line(
        11,
        "Redis out of memory, read-only, its disk full",
        "as 9, and RESOURCE_EXHAUSTED for who submits",
        "who submits: `tests/fault/test_store_outage.py`",
    ),
    Line(
        12,
        "the store emptied, or an older one",
        "found <= 2 s, named, goes on",
        "`tests/fault/test_lost_work.py`: a run of chaos would end with it",
    ),
    Line(
        13,
        "Redis 0.1, 3, 6 s away, each way",
        "slower only",
    ),
    Line(
        14,
        "a replica's network resets, is cut, or is deaf one way",
        "branches granted again <= 12 s, engines kept",
    ),
    Line(
        15,
        "a trainer dies, stops, or loses its connections",
        "its trees come again, each acknowledged once",
    ),
    Line(
        16,
        "Redis' wall clock jumps by an hour",
        "no lease lost, none stays",
        "`tests/fault/test_wall_clock.py`, which builds the library that makes a clock wrong",
    ),
    Line(
        17,
        "rewards late, twice, NaN, in another's name",
        "typed; the run's own scorer is the service's",
        "`tests/integration/test_reward_write_back.py`, `tests/security/test_ownership.py`",
    ),
    Line(
        18,
        "budgets",
        "exact over deaths",
        "`tests/simulation/test_recovery.py`, and the accounts in every run of chaos",
    ),
    Line(
        19,
        "bad input of clients",
        "refused, others go on",
        "`tests/security/test_requests.py`; `scripts/hostile messages`, [results](results/hostile.txt)",
    ),
    Line(
        20,
        "bad input of replicas",
        "quarantine, 0 crashes",
        "`tests/fault/test_hostile_reports.py`, `tests/simulation/test_hostile_replica.py`; "
        "`scripts/hostile messages`, [results](results/hostile.txt)",
    ),
    Line(
        21,
        "thousands of idle and dripping connections",
        "others' p99 x 1.2",
        "`scripts/hostile connections`, [results](results/hostile.txt): attackers share the two cores, and are in the "
        "ratios",
    ),
    Line(
        22,
        "2,000 calls of LeaseTrees wait",
        "others' p99 x 1.2",
        "as 21; `tests/unit/test_crowds.py`",
    ),
    Line(
        23,
        "credentials: none, bad, expired, another's",
        "every method refuses every one",
        "`tests/security/test_tokens.py`, `tests/security/test_tls.py`, by the descriptors of all methods",
    ),
    Line(
        24,
        "Redis as a user of least rights",
        "the file is shipped, and does",
        "`tests/security/test_redis_users.py`",
    ),
    Line(
        25,
        "scorers that import, or fetch, what they should not",
        "lists of what is allowed; none waits for another's",
        "`tests/security/test_foreign_scorers.py`, `tests/integration/test_scorer_pool.py`",
    ),
    Line(
        26,
        "hostile text",
        "escaped everywhere",
        "`tests/security/test_hostile_text.py`",
    ),
    Line(
        27,
        "bombs as files",
        "one sentence",
        "`tests/security/test_hostile_text.py`, `tests/unit/test_parquet_bombs.py`",
    ),
    Line(
        28,
        "SIGTERM; two versions on one store",
        "drain <= 30 s; a newer store is refused by name",
        "`tests/integration/test_drain.py`, `tests/contract/test_redis_store.py`. That a version and the next one "
        "share a store is not shown: there has been one",
    ),
    Line(
        29,
        "a soak of 15 minutes",
        "0 violations, throughput >= 0.9 x, nothing grows",
        "`scripts/chaos --minutes 15 --every 30`, [results](results/chaos.txt)",
    ),
    Line(
        30,
        "power loss",
        "`always`: 0 lost",
        "`tests/fault/test_power_loss.py`, which drops what Redis had not had synced",
    ),
)
