"""A program under test as a process that is never waited for without end.   Spec: conformance, rule CNF-8.

One thread writes to the program, one reads what it writes, one its standard error; the thread that asks only ever waits at
queues, for so long. So nothing that a program does or leaves undone can stop the runner: a full pipe, a line without an end, a
deaf ear to signals. What is kept of its output is bounded.
"""

import contextlib
import os
import re
import signal
import subprocess
import time
from collections.abc import Sequence
from enum import StrEnum
from queue import Empty, Full, Queue, SimpleQueue
from threading import Thread
from typing import Final

from clip_ref.errors import PreconditionError

LINE_MAX: Final = 1 << 24
"""Bytes: no answer is longer than this."""

_CHUNK: Final = 1 << 16
_CHUNKS: Final = 64
_LAST_WORDS: Final = 4000

_TELLING: Final = re.compile(rb"\S.*(error|exception|panic)", re.IGNORECASE)
"""Programs that fail write where they were, some of them after what was wrong; that begins at the margin."""


class Wrong(StrEnum):
    """What a program can do instead of answering."""

    HUNG = "hung"
    DIED = "died"
    RUBBISH = "rubbish"
    ORDER = "out of order"


class Fault(Exception):
    """The program did something else than to answer."""

    def __init__(self, wrong: Wrong, detail: str) -> None:
        super().__init__(f"{wrong.value}: {detail}")
        self.wrong = wrong


class Program:
    """One life of a program: from its start to `finish` or `stop`."""

    def __init__(self, *, command: Sequence[str], timeout: float) -> None:
        """Start it. `PreconditionError` (CNF-11) if there is no such program; `timeout` is in seconds, for each answer."""
        try:
            self._process: Final = subprocess.Popen(
                list(command),
                stdin=subprocess.PIPE,
                stdout=subprocess.PIPE,
                stderr=subprocess.PIPE,
                bufsize=0,
                start_new_session=True,
            )
        except (OSError, ValueError) as error:
            detail = f"cannot start {command[0]}: {getattr(error, 'strerror', None) or error}"
            raise PreconditionError(rule="CNF-11", detail=detail) from None
        self._timeout: Final = timeout
        self._to_write: Final[SimpleQueue[bytes | None]] = SimpleQueue()
        self._read: Final[Queue[bytes]] = Queue(_CHUNKS)
        self._rest = bytearray()
        self._lines: list[bytearray] = []
        self._last_words = b""
        self._stopped = False
        self._threads: Final = [Thread(target=run, daemon=True) for run in (self._writes, self._reads, self._listens)]
        for thread in self._threads:
            thread.start()

    def send(self, data: bytes) -> None:
        """Put this on the program's standard input, when it takes it."""
        self._to_write.put(data)

    def line(self, *, timeout: float | None = None) -> bytearray:
        """The next line of its standard output; `Fault` if none comes in time."""
        timeout = self._timeout if timeout is None else timeout
        until = time.monotonic() + timeout
        while not self._lines:
            try:
                chunk = self._read.get(timeout=max(0.0, until - time.monotonic()))
            except Empty:
                raise Fault(Wrong.HUNG, f"no answer within {timeout:g} s{self._said()}") from None
            if not chunk:
                raise self._ended()
            self._rest += chunk
            if b"\n" in chunk:
                *lines, self._rest = self._rest.split(b"\n")
                self._lines = lines[::-1]
            if len(self._rest) > LINE_MAX:
                raise Fault(Wrong.RUBBISH, f"a line of more than {LINE_MAX} bytes")
        return self._lines.pop()

    def finish(self) -> None:
        """Close its standard input and see it end; `Fault` if it does not, or writes on."""
        self._to_write.put(None)
        try:
            line = self.line()
        except Fault as fault:
            if fault.wrong is not Wrong.DIED:
                raise Fault(fault.wrong, f"still runs {self._timeout:g} s after the end of its input") from None
        else:
            raise Fault(Wrong.RUBBISH, f"a line that nothing had asked for: {clipped(line)}")
        if self._rest:
            raise Fault(Wrong.RUBBISH, f"a line that nothing had asked for: {clipped(self._rest)}")
        with contextlib.suppress(subprocess.TimeoutExpired):
            self._process.wait(self._timeout)
            return
        raise Fault(Wrong.HUNG, f"still runs {self._timeout:g} s after the end of its input")

    def stop(self) -> None:
        """End it at once, and everything that it has started."""
        self._stopped = True
        if self._process.returncode is None and os.name == "posix":
            with contextlib.suppress(ProcessLookupError, PermissionError):
                os.killpg(self._process.pid, signal.SIGKILL)
        self._process.kill()
        self._process.wait()
        self._to_write.put(None)
        for thread in self._threads:
            thread.join(1.0)
        for thread, stream in zip(
            self._threads, (self._process.stdin, self._process.stdout, self._process.stderr), strict=True
        ):
            if stream is not None and not thread.is_alive():
                stream.close()

    def _writes(self) -> None:
        assert self._process.stdin is not None
        with contextlib.suppress(OSError):
            while (data := self._to_write.get()) is not None:
                left = memoryview(data)
                while left:
                    left = left[os.write(self._process.stdin.fileno(), left) :]
        with contextlib.suppress(OSError):
            self._process.stdin.close()

    def _reads(self) -> None:
        assert self._process.stdout is not None
        chunk = b"begin"
        while chunk and not self._stopped:
            chunk = os.read(self._process.stdout.fileno(), _CHUNK)
            while not self._stopped:
                with contextlib.suppress(Full):
                    self._read.put(chunk, timeout=0.2)
                    break

    def _listens(self) -> None:
        assert self._process.stderr is not None
        while chunk := os.read(self._process.stderr.fileno(), _CHUNK):
            self._last_words = (self._last_words + chunk)[-_LAST_WORDS:]

    def _ended(self) -> Fault:
        try:
            code = self._process.wait(1.0)
        except subprocess.TimeoutExpired:
            return Fault(Wrong.DIED, "closed its standard output")
        self._threads[2].join(1.0)
        how = f"ended with exit code {code}" if code >= 0 else f"ended by signal {-code}"
        return Fault(Wrong.DIED, how + self._said())

    def _said(self) -> str:
        """What its standard error ends with: the last line that tells of an error, or else the last one."""
        lines = [line for line in self._last_words.splitlines() if line.strip()]
        telling = [line for line in lines if _TELLING.match(line)]
        return f"; its last words: {clipped((telling or lines)[-1])}" if lines else ""


def clipped(data: bytes | bytearray | str, most: int = 160) -> str:
    """What a program wrote, fit to be shown: one line, printable, not too long."""
    text = data.decode("utf-8", "replace") if not isinstance(data, str) else data
    shown = "".join(c if c.isprintable() else "�" for c in text[: most + 1])
    return shown if len(shown) <= most else shown[: most - 1] + "…"
