"""Cores and threads of replicas on CPU: never more than the operator said, nor than the process may really use."""

from pathlib import Path

import pytest

from treeroll.generator.affinity import asked_threads, cores_for, cpu_quota, threads_for


def test_cores_are_split_evenly_and_shared_only_when_they_are_too_few() -> None:
    assert [cores_for(i, 2, [0, 1, 2, 3]) for i in range(2)] == [[0, 1], [2, 3]]
    assert [cores_for(i, 3, [0, 1, 2, 3, 4, 5, 6]) for i in range(3)] == [[0, 1], [2, 3], [4, 5, 6]]
    assert [cores_for(i, 3, [4, 7]) for i in range(3)] == [[4], [7], [4]]
    assert cores_for(0, 1, [0, 1]) == [0, 1]


@pytest.mark.parametrize(
    ("said", "threads"),
    [("1", 1), (" 4 ", 4), ("4,3,2", 4), ("", None), ("0", None), ("-2", None), ("many", None), ("2.5", None)],
)
def test_the_operators_threads_are_read_as_openmp_reads_them(said: str, threads: int | None) -> None:
    assert asked_threads({"OMP_NUM_THREADS": said}) == threads
    assert asked_threads({}) is None


@pytest.mark.parametrize(
    ("cores", "replicas", "asked", "quota", "threads"),
    [
        (8, 1, None, None, 8),
        (8, 1, 2, None, 2),
        (2, 1, 8, None, 2),
        (64, 1, None, 2.0, 2),
        (32, 2, None, 3.0, 1),
        (64, 1, None, 0.5, 1),
        (64, 1, 1, 8.0, 1),
    ],
)
def test_threads_are_the_least_of_cores_wish_and_quota(
    cores: int, replicas: int, asked: int | None, quota: float | None, threads: int
) -> None:
    assert threads_for(cores, replicas, asked, quota) == threads


def groups(root: Path, own: str, **files: str) -> tuple[Path, Path]:
    """A tree of control groups; a file's name has "__" for "/"."""
    for name, text in files.items():
        path = root / name.replace("__", "/").replace("cpu_max", "cpu.max").replace("cfs_", "cpu.cfs_")
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text)
    (root / "self").write_text(own)
    return root, root / "self"


def test_the_tightest_quota_of_all_groups_above_counts(tmp_path: Path) -> None:
    files = {"pod__cpu_max": "150000 100000\n", "pod__box__cpu_max": "max 100000\n", "cpu_max": "400000 100000\n"}
    assert cpu_quota(*groups(tmp_path, "0::/pod/box\n", **files)) == 1.5


def test_a_container_sees_its_own_group_as_the_root(tmp_path: Path) -> None:
    assert cpu_quota(*groups(tmp_path, "0::/../elsewhere\n", cpu_max="200000 100000\n")) == 2.0


def test_the_first_version_of_control_groups_is_read_too(tmp_path: Path) -> None:
    files = {"cpu,cpuacct__box__cfs_quota_us": "50000\n", "cpu,cpuacct__box__cfs_period_us": "100000\n"}
    assert cpu_quota(*groups(tmp_path, "4:cpu,cpuacct:/box\n0::/\n", **files)) == 0.5


@pytest.mark.parametrize("own", ["0::/\n", "4:cpu,cpuacct:/\n", ""])
def test_without_a_quota_there_is_none(tmp_path: Path, own: str) -> None:
    assert cpu_quota(*groups(tmp_path, own)) is None
    assert cpu_quota(tmp_path, tmp_path / "none") is None
