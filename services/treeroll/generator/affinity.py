"""Which CPU cores a replica may use, and with how many threads.

Engines on one machine that share cores slow each other down more than by half.
"""

import os
import re
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path

THREADS = "OMP_NUM_THREADS"
CGROUPS = Path("/sys/fs/cgroup")


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


def asked_threads(environment: Mapping[str, str]) -> int | None:
    """Threads that the operator allows each process; None: he has said nothing that can be read.

    To be asked in the service: Ray sets the variable of its workers where nobody has.
    """
    first = environment.get(THREADS, "").split(",")[0].strip()  # the others are for nested regions
    return int(first) if re.fullmatch(r"0*[1-9][0-9]{0,5}", first) else None


def cpu_quota(cgroups: Path = CGROUPS, own: Path = Path("/proc/self/cgroup")) -> float | None:
    """CPUs' worth of time that control groups grant this process, such as a container's limit; None: no limit."""
    quotas = [quota for folder in _own_groups(cgroups, own) if (quota := _quota(folder)) is not None]
    return min(quotas, default=None)


def threads_for(cores: int, replicas: int, asked: int | None, quota: float | None) -> int:
    """Threads of one of several equal replicas: for each of its cores one, but no more than it is asked or granted."""
    granted = int(quota / replicas) if quota is not None else cores
    return max(1, min(cores, asked or cores, granted))


def claim_cores(index: int, replicas: int, asked: int | None) -> None:
    """Keep this process, which will host an engine on CPU, and its future children to its share of this machine's
    cores, with a thread for each. Call it before torch is imported: that is when it counts its threads.

    `asked`: most threads that the operator wants, see asked_threads.
    """
    cores = cores_for(index, replicas, sorted(os.sched_getaffinity(0)))
    pin_process(cores)
    os.environ[THREADS] = str(threads_for(len(cores), replicas, asked, cpu_quota()))


def keep_to(threads: int) -> None:
    """So many threads for this process, on whatever cores, of a machine on which each has what it asked for. Call it
    before torch is imported."""
    os.environ[THREADS] = str(threads_for(max(1, threads), 1, None, cpu_quota()))


def _own_groups(cgroups: Path, own: Path) -> Iterator[Path]:
    """Folders of the groups of this process, with all above them, of both versions. In a container they may be the
    root of what is mounted.
    """
    try:
        lines = own.read_text().splitlines()
    except OSError:
        return
    for line in lines:
        _, controllers, path = line.split(":", 2)
        if not controllers or "cpu" in controllers.split(","):
            root = cgroups / controllers if controllers else cgroups
            group = root / path.lstrip("/")
            yield from (folder for folder in (group, *group.parents) if folder.is_relative_to(root))


def _quota(group: Path) -> float | None:
    try:
        if (group / "cpu.max").exists():
            most, period = (group / "cpu.max").read_text().split()
        else:
            most = (group / "cpu.cfs_quota_us").read_text()
            period = (group / "cpu.cfs_period_us").read_text()
        return None if most.strip() in ("max", "-1") else int(most) / int(period)
    except (OSError, ValueError):
        return None
