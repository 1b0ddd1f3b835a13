"""Which CPU cores a replica may use. Engines on one machine that share cores slow each other down more than by half."""

import os
from collections.abc import Sequence


def cores_for(index: int, replicas: int, available: Sequence[int]) -> list[int]:
    """Cores of one of several equal replicas: an even split, or one core shared in turn when there are too few."""
    if replicas >= len(available):
        return [available[index % len(available)]]
    return list(available[index * len(available) // replicas : (index + 1) * len(available) // replicas])


def pin_process(cores: Sequence[int]) -> None:
    """Bind all threads of this process, and with them its future children, to these cores."""
    for thread in os.listdir("/proc/self/task"):
        try:
            os.sched_setaffinity(int(thread), cores)
        except ProcessLookupError:  # it ended meanwhile
            continue


def claim_cores(index: int, replicas: int) -> None:
    """Keep this process, which will host an engine on CPU, and its future children to its share of this machine's
    cores, with a thread for each. Call it before torch is imported: that is when it counts its threads.
    """
    cores = cores_for(index, replicas, sorted(os.sched_getaffinity(0)))
    pin_process(cores)
    os.environ["OMP_NUM_THREADS"] = str(len(cores))
