"""What a real run asks of the machine: CPU quotas by control groups, shaped links between network namespaces. Linux, as root.

A namespace belongs to the process that it was made for and is gone with it, its links too; a group is removed at the end,
however that comes about, and one that a killed run left behind by the next.
"""

import ctypes
import os
import shutil
import subprocess
import sys
import time
from collections.abc import Sequence
from contextlib import suppress
from pathlib import Path
from types import TracebackType
from typing import Final, Self

import attrs

PERIOD: Final = 100_000
"""µs: a quota is so much CPU time in each period. Short against every activity that is compared, long against a tick."""

BURST: Final = 4096
"""Bytes that a link passes at once: two packets, so that all but the shortest messages go at its rate."""

BACKLOG: Final = 1 << 18
"""Bytes that wait before a link at most."""

_NAME: Final = "clip-real-round"
_TOOLS: Final = ("ip", "tc", "nsenter", "unshare")
_NEW_NETWORK: Final = 0x40000000
_DEATH_SIGNAL: Final = 1


class NotPermitted(Exception):
    """This machine does not let us; says what and why."""


@attrs.frozen
class Hierarchy:
    """Where CPU time is divided among groups."""

    root: Path
    """The directory in which groups are made."""

    version: int
    """1 or 2: the files have other names."""

    def limit(self, group: Path, *, share: float) -> None:
        """Let the group have `share` of one core at most."""
        quota = round(share * PERIOD)
        if self.version == 1:
            (group / "cpu.cfs_period_us").write_text(str(PERIOD))
            (group / "cpu.cfs_quota_us").write_text(str(quota))
        else:
            (group / "cpu.max").write_text(f"{quota} {PERIOD}")

    def prefer(self, group: Path) -> None:
        """Let the group go before whatever else the machine is busy with: the largest weight that there is."""
        if self.version == 1:
            (group / "cpu.shares").write_text("262144")
        else:
            (group / "cpu.weight").write_text("10000")

    def divide(self, group: Path) -> None:
        """Let the group have groups of its own."""
        if self.version == 2:
            (group / "cgroup.subtree_control").write_text("+cpu")


def hierarchy(mounts: str | None = None) -> Hierarchy | None:
    """The machine's, of version 1 if it has one, else of 2; None if CPU time is not divided by any."""
    table = Path("/proc/self/mounts").read_text() if mounts is None else mounts
    second = None
    for line in table.splitlines():
        _, place, kind, options, *_ = line.split()
        if kind == "cgroup" and "cpu" in options.split(","):
            return Hierarchy(Path(place), 1)
        controllers = Path(place) / "cgroup.controllers"
        if kind == "cgroup2" and controllers.exists() and "cpu" in controllers.read_text().split():
            second = Hierarchy(Path(place), 2)
    return second


class Groups:
    """A group that goes before others, and in it one for each party. Use it in a `with` statement."""

    def __init__(self, where: Hierarchy) -> None:
        self._where = where
        self._base = where.root / f"{_NAME}-{os.getpid()}"

    def __enter__(self) -> Self:
        for left in self._where.root.glob(f"{_NAME}-*"):
            if not Path("/proc", left.name.rsplit("-", 1)[1]).exists():
                _remove(left)
        try:
            self._where.divide(self._where.root)
            self._base.mkdir()
            self._where.prefer(self._base)
            self._where.divide(self._base)
        except OSError as error:
            _remove(self._base)
            raise NotPermitted(f"no control groups: {error}") from error
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        """Remove them. Their processes must have ended, and the system may need a moment to notice."""
        for _ in range(100):
            if _remove(self._base):
                return
            time.sleep(0.05)

    def put(self, pid: int, *, name: str, share: float | None) -> None:
        """Move a process into a group of its own, limited to `share` of a core, or not limited."""
        group = self._base / name
        group.mkdir(exist_ok=True)
        if share is not None:
            self._where.limit(group, share=share)
        (group / "cgroup.procs").write_text(str(pid))

    def throttled(self, name: str) -> tuple[int, int]:
        """In how many periods a group ran, and in how many of them it used up its quota."""
        stat = dict(line.split() for line in (self._base / name / "cpu.stat").read_text().splitlines())
        return int(stat["nr_periods"]), int(stat["nr_throttled"])


def _remove(base: Path) -> bool:
    """Whether it is gone. A group with processes in it stays: somebody is using it."""
    with suppress(OSError):
        for group in base.iterdir():
            if group.is_dir():
                with suppress(OSError):
                    group.rmdir()
        base.rmdir()
    return not base.exists()


def own_network() -> None:
    """Put this process, which must have one thread, into a network namespace of its own; `NotPermitted` if it must not."""
    if ctypes.CDLL(None, use_errno=True).unshare(_NEW_NETWORK):
        raise NotPermitted(f"no network namespace: {os.strerror(ctypes.get_errno())}")


def die_with_parent() -> None:
    """Let the system kill this process when the one that made it ends."""
    ctypes.CDLL(None).prctl(_DEATH_SIGNAL, 9)


def wire(*, server: int, client: int, number: int, up_mbit: float, down_mbit: float) -> str:
    """Join the namespaces of two processes by a link of their own, and shape it; returns the server's address on it."""
    ours, theirs = f"clip{number}s", f"clip{number}c"
    here, there = f"10.203.{number}.1", f"10.203.{number}.2"
    _run(
        "ip", "link", "add", ours, "netns", str(server), "type", "veth", "peer", "name", theirs, "netns", str(client)
    )  # fmt: skip
    for pid, name, address, rate in ((server, ours, here, down_mbit), (client, theirs, there, up_mbit)):
        inside = ("nsenter", "-t", str(pid), "-n")
        _run(*inside, "ip", "address", "add", f"{address}/30", "dev", name)
        _run(*inside, "ip", "link", "set", name, "up")
        _run(*inside, *_shape(name, rate))
    return here


def _shape(name: str, mbit: float) -> tuple[str, ...]:
    rate = f"{round(mbit * 1000)}kbit"
    return ("tc", "qdisc", "add", "dev", name, "root", "tbf", "rate", rate, "burst", str(BURST), "limit", str(BACKLOG))


def _run(*command: str) -> None:
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    if done.returncode:
        raise NotPermitted(f"`{' '.join(command)}`: {done.stderr.strip()}")


def why_not() -> str | None:
    """Why no real run is possible here, having tried; None if it is."""
    if sys.platform != "linux":
        return "quotas and shaped links are made the Linux way"
    if os.geteuid():
        return "quotas and network namespaces take root"
    missing = [tool for tool in _TOOLS if shutil.which(tool) is None]
    if missing:
        return f"not installed: {', '.join(missing)} (.ci/packages installs them)"
    where = hierarchy()
    if where is None:
        return "no control groups that divide CPU time are mounted"
    link = ("ip", "link", "add", "clip0s", "type", "veth", "peer", "name", "clip0c")
    steps: Sequence[tuple[str, ...]] = (link, _shape("clip0s", 8))
    try:
        _run("unshare", "--net", "sh", "-ec", "; ".join(" ".join(step) for step in steps))
        with Groups(where) as groups:
            idle = subprocess.Popen(["sleep", "60"])
            try:
                groups.put(idle.pid, name="trial", share=0.1)
            finally:
                idle.kill()
                idle.wait()
    except (NotPermitted, OSError) as error:
        return str(error)
    return None
