"""Memory for a process that makes and drops large buffers all the time: replies of the feed have megabytes."""

import ctypes

# glibc gives large blocks, and what is free at the top of the heap, back to the kernel at once. The next buffer then
# starts with a page fault every 4 KiB, which costs more than filling it. Kept instead, at most, in bytes:
KEPT_BYTES = 256 << 20
# Blocks up to this size come from the heap, in bytes; glibc allows no more.
LARGEST_BYTES = 32 << 20

_M_TRIM_THRESHOLD, _M_MMAP_THRESHOLD = -1, -3  # malloc.h


def tune_malloc() -> None:
    """Keep freed memory for the next buffer. No effect where the C library is not glibc."""
    mallopt = getattr(ctypes.CDLL(None), "mallopt", None)
    if mallopt is not None:
        mallopt(_M_TRIM_THRESHOLD, KEPT_BYTES)
        mallopt(_M_MMAP_THRESHOLD, LARGEST_BYTES)
