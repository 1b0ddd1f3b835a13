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


class _Table(dict[int, bytes]):
    """Small values are looked up; others are encoded again each time, so that the table does not grow."""

    def __missing__(self, value: int) -> bytes:
        return encode_varint(value)


varint = _Table({value: encode_varint(value) for value in range(1 << 14)}).__getitem__
"""The same as encode_varint, from a table where it can be."""
