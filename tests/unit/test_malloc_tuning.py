"""Large buffers, made and dropped again and again."""

import ctypes
import subprocess
import sys

import pytest

PROGRAM = """
from resource import RUSAGE_SELF, getrusage
from treeroll.coordinator.malloc_tuning import tune_malloc
tune_malloc()
def faults():
    before = getrusage(RUSAGE_SELF).ru_minflt
    bytearray(16 << 20)
    return getrusage(RUSAGE_SELF).ru_minflt - before
faults()  # the first one takes fresh memory
print(max(faults() for _ in range(3)))
"""


@pytest.mark.skipif(not hasattr(ctypes.CDLL(None), "mallopt"), reason="the C library is not glibc")
def test_a_buffer_takes_the_memory_of_the_one_before() -> None:
    # In a process of its own: the settings hold for all of it. Fresh memory would be 4096 faults.
    done = subprocess.run([sys.executable, "-c", PROGRAM], check=True, capture_output=True, text=True)
    assert int(done.stdout) < 400
