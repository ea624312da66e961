"""The opcodes of the pickle format that carry data, protocols 2 to 5."""

from __future__ import annotations

from typing import Final

PROTO: Final = 0x80
FRAME: Final = 0x95
STOP: Final = 0x2E
MARK: Final = 0x28
POP: Final = 0x30
POP_MARK: Final = 0x31

NONE: Final = 0x4E
TRUE: Final = 0x88
FALSE: Final = 0x89
INT4: Final = 0x4A
INT1: Final = 0x4B
INT2: Final = 0x4D
LONG1: Final = 0x8A
FLOAT: Final = 0x47
TEXT1: Final = 0x8C
TEXT4: Final = 0x58
TEXT8: Final = 0x8D
BYTES1: Final = 0x43
BYTES4: Final = 0x42
BYTES8: Final = 0x8E
BYTEARRAY8: Final = 0x96

EMPTY_LIST: Final = 0x5D
APPEND: Final = 0x61
APPENDS: Final = 0x65
EMPTY_DICT: Final = 0x7D
SETITEM: Final = 0x73
SETITEMS: Final = 0x75
EMPTY_TUPLE: Final = 0x29
TUPLE: Final = 0x74
TUPLE1: Final = 0x85
TUPLE2: Final = 0x86
TUPLE3: Final = 0x87

PUT1: Final = 0x71
PUT4: Final = 0x72
MEMOIZE: Final = 0x94
GET1: Final = 0x68
GET4: Final = 0x6A

GLOBAL: Final = 0x63
STACK_GLOBAL: Final = 0x93
REDUCE: Final = 0x52
NEWOBJ: Final = 0x81
BUILD: Final = 0x62
