"""Protocol Buffers on the wire, as far as execution traces need them (protobuf.dev/programming-guides/encoding).

A message is a run of fields, each a varint key (number * 8 + type) and a value: a varint (type 0), 8 bytes (1), a length and
that many bytes (2), or 4 bytes (5). Files of many messages put each message's length before it as a varint.
"""

import struct
from collections.abc import Iterator

VARINT, FIXED64, BYTES, FIXED32 = 0, 1, 2, 5
_MORE, _LOW = 0x80, 0x7F


class WireError(ValueError):
    """The bytes are no such message; ``at`` is the offset."""

    def __init__(self, message: str, at: int) -> None:
        super().__init__(f"{message} at byte {at}")
        self.at = at


def read_varint(data: bytes, at: int) -> tuple[int, int]:
    """Return the unsigned number at an offset, and the offset behind it. Raises WireError."""
    if at < len(data) and data[at] < _MORE:  # most are of one byte
        return data[at], at + 1
    value = shift = 0
    for place in range(at, min(at + 10, len(data))):
        byte = data[place]
        value |= (byte & _LOW) << shift
        if byte < _MORE:
            return value, place + 1
        shift += 7
    raise WireError("a number must end", at)


def fields(data: bytes) -> Iterator[tuple[int, int, int | bytes]]:
    """Yield (number, type, value) of each field of a message: an int for types 0, 1 and 5, else bytes. Raises WireError."""
    at, end = 0, len(data)
    while at < end:
        begin = at
        key, at = (data[at], at + 1) if data[at] < _MORE else read_varint(data, at)
        number, kind = key >> 3, key & 7
        if kind == VARINT:
            value: int | bytes
            value, at = read_varint(data, at)
        else:
            size, at = read_varint(data, at) if kind == BYTES else _fixed(kind, at, begin)
            stop = at + size
            if stop > end:
                raise WireError(f"field {number} must have {size} bytes, but the message ends", begin)
            value = data[at:stop] if kind == BYTES else int.from_bytes(data[at:stop], "little")
            at = stop
        yield number, kind, value


def _fixed(kind: int, at: int, begin: int) -> tuple[int, int]:
    if kind not in (FIXED64, FIXED32):
        raise WireError(f"a field must be of type 0, 1, 2 or 5, but is of {kind}", begin)
    return (8 if kind == FIXED64 else 4), at


def messages(data: bytes) -> Iterator[bytes]:
    """Yield the messages of a file in which each stands behind its length. Raises WireError."""
    at = 0
    while at < len(data):
        begin = at
        size, at = read_varint(data, at)
        if at + size > len(data):
            raise WireError(f"a message of {size} bytes must be whole, but the file ends", begin)
        yield data[at : at + size]
        at += size


def signed(value: int) -> int:
    """Return a varint as int64."""
    return value - 2**64 if value >= 2**63 else value


def double(value: int) -> float:
    """Return the 8 bytes of a field as a float."""
    return float(struct.unpack("<d", value.to_bytes(8, "little"))[0])


def single(value: int) -> float:
    """Return the 4 bytes of a field as a float."""
    return float(struct.unpack("<f", value.to_bytes(4, "little"))[0])


def varint(value: int) -> bytes:
    """Return a number as varint, a negative one as int64."""
    value &= 2**64 - 1
    made = bytearray()
    while value >= _MORE:
        made.append(value & _LOW | _MORE)
        value >>= 7
    made.append(value)
    return bytes(made)


def field(number: int, value: "int | float | str | bytes") -> bytes:
    """Return a field: int as varint, float as 8 bytes, text and bytes behind their length."""
    if isinstance(value, float):
        return varint(number << 3 | FIXED64) + struct.pack("<d", value)
    if isinstance(value, int):
        return varint(number << 3 | VARINT) + varint(value)
    raw = value.encode() if isinstance(value, str) else value
    return varint(number << 3 | BYTES) + varint(len(raw)) + raw


def delimited(message: bytes) -> bytes:
    """Return a message behind its length."""
    return varint(len(message)) + message
