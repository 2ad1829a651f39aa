"""Protobuf's wire format, as far as `span_encoding` writes it by itself.

A message is a row of fields. A field is its tag, which has the field's number and the kind of its value, and its value;
a text or a message has its length before it.
"""

from typing import Any, Final


def _varint(number: int) -> bytes:
    found = bytearray()
    while number > 0x7F:
        found.append(number & 0x7F | 0x80)
        number >>= 7
    found.append(number)
    return bytes(found)


# Most lengths and counts are among them.
_SMALL: Final = [_varint(number) for number in range(512)]


def varint(number: int) -> bytes:
    """A number of 0 or more: seven bits a byte, the lowest first; the eighth bit says that more follow."""
    return _SMALL[number] if number < 512 else _varint(number)


def sized(value: bytes) -> bytes:
    """A text or a message, with its length."""
    length = len(value)
    return (_SMALL[length] if length < 512 else _varint(length)) + value


def tag(message: Any, name: str) -> bytes:
    """The tag of a field, from the class of its message."""
    field = message.DESCRIPTOR.fields_by_name[name]
    if field.type in (field.TYPE_DOUBLE, field.TYPE_FIXED64):
        wire_type = 1
    elif field.type in (field.TYPE_STRING, field.TYPE_BYTES, field.TYPE_MESSAGE):
        wire_type = 2
    else:
        wire_type = 5 if field.type == field.TYPE_FIXED32 else 0
    return varint(field.number << 3 | wire_type)
