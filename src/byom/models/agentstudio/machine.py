"""Reads a pickle as data.

The format is a program for a small stack machine. This machine has the opcodes that carry data and those that name and
make objects, and where the real one would import and call, this one writes down what was asked for (`Named`, `Made`).
Opcodes that it does not have are refused, and so is every name that is not in the caller's table.
"""

from __future__ import annotations

import struct
from collections.abc import Callable
from typing import Any

from byom.models.agentstudio import opcodes as op
from byom.models.agentstudio.errors import WireError
from byom.models.agentstudio.names import Kind, Names

MAX_STEPS = 250_000
"""About 15,000 messages. Each step costs at most some hundred bytes and half a microsecond."""
_MAX_NAME = 200
_MAX_INTEGER_BYTES = 16
_PROTOCOLS = range(2, 6)


class Named:
    """A name in the stream: what the format calls a global."""

    __slots__ = ("kind",)

    def __init__(self, kind: Kind) -> None:
        self.kind = kind


class Made:
    """An object that the stream asks for: of what, from which arguments, and with which state."""

    __slots__ = ("args", "kind", "state")

    def __init__(self, kind: Kind, args: tuple[Any, ...]) -> None:
        self.kind = kind
        self.args = args
        self.state: Any = None


def read_pickle(data: bytes, names: Names, max_steps: int = MAX_STEPS) -> Any:
    """What the pickle says: None, bool, int, float, str, bytes, list, tuple, dict with text keys, `Named` and `Made`.

    Lists and dicts may contain themselves, and one value may stand in many places: whoever walks through the result
    bounds the way. Raises `WireError` for everything else.
    """
    try:
        return _Machine(data, names, max_steps).run()
    except UnicodeDecodeError as error:
        raise WireError("The pickle holds text that is not UTF-8.") from error
    except (IndexError, KeyError) as error:
        raise WireError("The pickle takes values that it has not put there.") from error


class _Machine:
    def __init__(self, data: bytes, names: Names, max_steps: int) -> None:
        self.data = data
        self.at = 0
        self.names = names
        self.max_steps = max_steps
        self.stack: list[Any] = []
        self.marked: list[list[Any]] = []
        self.memo: dict[int, Any] = {}

    def run(self) -> Any:
        if self.data[:1] != b"\x80":
            raise WireError("The messages are not a pickle of protocol 2 to 5.")
        for _ in range(self.max_steps):
            code = self.take(1)[0]
            if code == op.STOP:
                return self.end()
            step = _STEPS.get(code)
            if step is None:
                raise WireError(f"The pickle has the instruction 0x{code:02x}, which is not data.")
            step(self)
        raise WireError(f"The pickle has more than {self.max_steps} instructions.")

    def end(self) -> Any:
        if len(self.stack) != 1 or self.marked or self.at != len(self.data):
            raise WireError("The pickle does not end where it should.")
        return self.stack[0]

    def take(self, count: int) -> bytes:
        end = self.at + count
        if end > len(self.data):
            raise WireError("The pickle ends early.")
        taken = self.data[self.at : end]
        self.at = end
        return taken

    def number(self, size: int) -> int:
        return int.from_bytes(self.take(size), "little")

    def line(self) -> str:
        end = self.data.find(b"\n", self.at, self.at + _MAX_NAME)
        if end < 0:
            raise WireError("The pickle has a name that does not end.")
        text = self.data[self.at : end].decode("utf-8")
        self.at = end + 1
        return text

    def since_mark(self) -> list[Any]:
        values, self.stack = self.stack, self.marked.pop()
        return values

    def named(self, module: object, name: object) -> Named:
        if not isinstance(module, str) or not isinstance(name, str):
            raise WireError("The pickle has a name that is not text.")
        kind = self.names.get((module, name))
        if kind is None:
            raise WireError(_refused(module, name))
        return Named(kind)

    def made(self, *kinds: Kind) -> Made:
        args, maker = self.stack.pop(), self.stack.pop()
        if not isinstance(maker, Named) or not isinstance(args, tuple) or maker.kind not in kinds:
            raise WireError("The pickle makes an object of something that makes none.")
        return Made(maker.kind, args)


def _refused(module: str, name: str) -> str:
    shown = f"{module[:_MAX_NAME]}.{name[:_MAX_NAME]}".encode("ascii", "backslashreplace").decode("ascii")
    if module.split(".", 1)[0] == "PIL":
        return f"A message holds an image object ({shown}). Send numpy arrays (RGB, uint8), as AgentStudio does."
    return f"The pickle names {shown}, which is no part of a message. It was not imported."


# --- the steps, one for each opcode

_Step = Callable[[_Machine], None]


def _skip(size: int) -> _Step:
    def skip(machine: _Machine) -> None:
        machine.take(size)

    return skip


def _protocol(machine: _Machine) -> None:
    if machine.number(1) not in _PROTOCOLS:
        raise WireError("The pickle has a protocol other than 2 to 5.")


def _constant(value: bool | None) -> _Step:
    return lambda machine: machine.stack.append(value)


def _fixed(size: int, form: str) -> _Step:
    unpack = struct.Struct(form).unpack
    return lambda machine: machine.stack.append(unpack(machine.take(size))[0])


def _text(size: int) -> _Step:
    return lambda machine: machine.stack.append(machine.take(machine.number(size)).decode("utf-8"))


def _bytes(size: int) -> _Step:
    return lambda machine: machine.stack.append(machine.take(machine.number(size)))


def _integer(machine: _Machine) -> None:
    size = machine.number(1)
    if size > _MAX_INTEGER_BYTES:
        raise WireError("The pickle holds a number that is too large.")
    machine.stack.append(int.from_bytes(machine.take(size), "little", signed=True))


def _mark(machine: _Machine) -> None:
    machine.marked.append(machine.stack)
    machine.stack = []


def _pop(machine: _Machine) -> None:
    if machine.stack:
        machine.stack.pop()
    else:
        machine.since_mark()


def _pop_mark(machine: _Machine) -> None:
    machine.since_mark()


def _empty_list(machine: _Machine) -> None:
    machine.stack.append([])


def _empty_dict(machine: _Machine) -> None:
    machine.stack.append({})


def _append(machine: _Machine) -> None:
    value = machine.stack.pop()
    _extend(machine, [value])


def _appends(machine: _Machine) -> None:
    _extend(machine, machine.since_mark())


def _extend(machine: _Machine, values: list[Any]) -> None:
    target = machine.stack[-1]
    if not isinstance(target, list):
        raise WireError("The pickle appends to something that is not a list.")
    target.extend(values)


def _setitem(machine: _Machine) -> None:
    value, key = machine.stack.pop(), machine.stack.pop()
    _update(machine, [key, value])


def _setitems(machine: _Machine) -> None:
    _update(machine, machine.since_mark())


def _update(machine: _Machine, values: list[Any]) -> None:
    target = machine.stack[-1]
    if not isinstance(target, dict) or len(values) % 2:
        raise WireError("The pickle sets items of something that is not a dict.")
    # Text alone: to hash a tuple walks all of it, and tuples that share their parts are large beyond measure.
    if not all(isinstance(key, str) for key in values[::2]):
        raise WireError("The pickle has a dict whose keys are not text.")
    target.update(zip(values[::2], values[1::2], strict=True))


def _tuple(machine: _Machine) -> None:
    values = machine.since_mark()
    machine.stack.append(tuple(values))


def _tuple_of(count: int) -> _Step:
    def make(machine: _Machine) -> None:
        stack = machine.stack
        if len(stack) < count:
            raise IndexError
        values = tuple(stack[len(stack) - count :])
        del stack[len(stack) - count :]
        stack.append(values)

    return make


def _put(size: int) -> _Step:
    def put(machine: _Machine) -> None:
        machine.memo[machine.number(size)] = machine.stack[-1]

    return put


def _get(size: int) -> _Step:
    return lambda machine: machine.stack.append(machine.memo[machine.number(size)])


def _memoize(machine: _Machine) -> None:
    machine.memo[len(machine.memo)] = machine.stack[-1]


def _global(machine: _Machine) -> None:
    module = machine.line()
    machine.stack.append(machine.named(module, machine.line()))


def _stack_global(machine: _Machine) -> None:
    name, module = machine.stack.pop(), machine.stack.pop()
    machine.stack.append(machine.named(module, name))


def _reduce(machine: _Machine) -> None:
    machine.stack.append(machine.made(Kind.RECONSTRUCT, Kind.FROMBUFFER, Kind.DTYPE, Kind.ENCODE, Kind.PATH))


def _newobj(machine: _Machine) -> None:
    machine.stack.append(machine.made(Kind.MESSAGE))


def _build(machine: _Machine) -> None:
    state, target = machine.stack.pop(), machine.stack[-1]
    if not isinstance(target, Made) or target.state is not None:
        raise WireError("The pickle gives a state to something that takes none.")
    target.state = state


_STEPS: dict[int, _Step] = {
    op.PROTO: _protocol,
    op.FRAME: _skip(8),
    op.MARK: _mark,
    op.POP: _pop,
    op.POP_MARK: _pop_mark,
    op.NONE: _constant(None),
    op.TRUE: _constant(value=True),
    op.FALSE: _constant(value=False),
    op.INT4: _fixed(4, "<i"),
    op.INT1: _fixed(1, "<B"),
    op.INT2: _fixed(2, "<H"),
    op.FLOAT: _fixed(8, ">d"),
    op.LONG1: _integer,
    op.TEXT1: _text(1),
    op.TEXT4: _text(4),
    op.TEXT8: _text(8),
    op.BYTES1: _bytes(1),
    op.BYTES4: _bytes(4),
    op.BYTES8: _bytes(8),
    op.BYTEARRAY8: _bytes(8),
    op.EMPTY_LIST: _empty_list,
    op.APPEND: _append,
    op.APPENDS: _appends,
    op.EMPTY_DICT: _empty_dict,
    op.SETITEM: _setitem,
    op.SETITEMS: _setitems,
    op.EMPTY_TUPLE: _tuple_of(0),
    op.TUPLE: _tuple,
    op.TUPLE1: _tuple_of(1),
    op.TUPLE2: _tuple_of(2),
    op.TUPLE3: _tuple_of(3),
    op.PUT1: _put(1),
    op.PUT4: _put(4),
    op.MEMOIZE: _memoize,
    op.GET1: _get(1),
    op.GET4: _get(4),
    op.GLOBAL: _global,
    op.STACK_GLOBAL: _stack_global,
    op.REDUCE: _reduce,
    op.NEWOBJ: _newobj,
    op.BUILD: _build,
}
