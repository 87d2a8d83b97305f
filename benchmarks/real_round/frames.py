"""Messages over TCP: each with its length before it, and when it came."""

import fcntl
import socket
import struct
import termios
import time
from contextlib import suppress
from typing import Final

import attrs

LONGEST: Final = 1 << 26
"""Bytes: what claims to be longer is refused."""

_LENGTH: Final = struct.Struct(">I")
_POLL: Final = 0.002


@attrs.frozen
class Received:
    """One message."""

    data: bytes = attrs.field(repr=False)
    """Its bytes."""

    first: float
    """When its first byte came, monotonic seconds."""

    last: float
    """When its last byte came."""


class Link:
    """One end of a connection. One thread may send while another receives."""

    def __init__(self, connected: socket.socket) -> None:
        connected.settimeout(None)  # the other end may be long at work
        connected.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        self._socket = connected

    def send(self, data: bytes) -> None:
        """Hand the system one message, and return when it has taken it all."""
        self._socket.sendall(_LENGTH.pack(len(data)) + data)

    def drain(self) -> float:
        """Wait until the other end has acknowledged everything that was sent; the time at which it had."""
        waiting = bytearray(4)
        while True:
            fcntl.ioctl(self._socket, termios.TIOCOUTQ, waiting)
            if not any(waiting):
                return time.monotonic()
            time.sleep(_POLL)

    def receive(self) -> Received:
        """The next message; `ConnectionError` if the other end closes, or means to send more than LONGEST."""
        head = bytearray(_LENGTH.size)
        self._fill(memoryview(head)[:1])
        first = time.monotonic()
        self._fill(memoryview(head)[1:])
        (length,) = _LENGTH.unpack(head)
        if length > LONGEST:
            raise ConnectionError(f"a message of {length} bytes")
        data = bytearray(length)
        self._fill(memoryview(data))
        return Received(bytes(data), first, time.monotonic())

    def _fill(self, view: memoryview) -> None:
        while view:
            count = self._socket.recv_into(view)
            if not count:
                raise ConnectionError("the other end has closed")
            view = view[count:]

    def close(self) -> None:
        """End it; whoever waits for a message on it, waits no longer."""
        with suppress(OSError):
            self._socket.shutdown(socket.SHUT_RDWR)
        self._socket.close()
