"""A digest of token ids, by which a coordinator and a replica find out whether they speak of the same prefix."""

from hashlib import blake2b

DIGEST_BYTES = 8


def prefix_digest(ids: bytes) -> bytes:
    """Of ids, int32 little-endian."""
    return blake2b(ids, digest_size=DIGEST_BYTES).digest()
