"""Protobuf's variable-length integers, for the hot paths that write its wire format by hand.

https://protobuf.dev/programming-guides/encoding/#varints
"""


def encode_varint(value: int) -> bytes:
    """Seven bits a byte, lowest first; the high bit says that more follow. `value` >= 0."""
    encoded = bytearray()
    while value > 0x7F:
        encoded.append(value & 0x7F | 0x80)
        value >>= 7
    encoded.append(value)
    return bytes(encoded)


_SMALL = tuple(encode_varint(value) for value in range(1 << 14))


def varint(value: int) -> bytes:
    """The same, from a table where it can be."""
    return _SMALL[value] if value < len(_SMALL) else encode_varint(value)
