"""Programs under test that behave in many ways: each answers `{"k": K}` by K, but for what its mode says."""

import contextlib
import os
import sys
from pathlib import Path

from clip_ref.oracle.case import Case

PROGRAM = r"""
import json, os, signal, subprocess, sys, time
mode, at = sys.argv[1], int(sys.argv[2])
if mode == "deaf":
    signal.signal(signal.SIGTERM, signal.SIG_IGN)
out = sys.stdout.buffer
held = b""
def say(data):
    out.write(data); out.flush()
def lines():
    if mode == "first of a chunk":
        while chunk := os.read(0, 1 << 16):
            yield chunk.split(b"\n")[0]
    elif mode == "all at once":
        yield from sys.stdin.buffer.readlines()
    else:
        yield from iter(sys.stdin.buffer.readline, b"")
for line in lines():
    request = json.loads(line)
    number = request["inputs"].get("k")
    told = {"output": number}
    if number is None:
        if mode == "no start":
            sys.exit("cannot find my configuration")
        told = {"output": {"name": "an example", "wire_version": 2 if mode == "other version" else 1}}
        if mode == "no hello":
            told = {"unsupported": True}
    elif number == at or at < 0:
        if mode in ("hang", "deaf"):
            time.sleep(1000)
        if mode == "die":
            print("ouch", file=sys.stderr)
            os._exit(3)
        if mode == "die with a trace":
            print("x.js:1\nTypeError: no such thing\n    at new WireError (x.js:1)\n\nNode.js v20", file=sys.stderr)
            os._exit(1)
        if mode == "die with a child":
            subprocess.Popen(["sleep", sys.argv[3]])
            os._exit(3)
        if mode == "hang with a child":
            subprocess.Popen(["sleep", sys.argv[3]])
            time.sleep(1000)
        if mode == "close":
            os.close(1)
            time.sleep(1000)
        if mode == "print":
            say(b"debug: here I am\n")
        if mode == "blank":
            say(b"\n")
        if mode == "not a number":
            say(b'{"id": %d, "output": NaN}\n' % request["id"]); continue
        if mode == "deep":
            say(b"[" * 100000 + b"\n")
        if mode == "list":
            say(b"[1]\n")
        if mode == "no id":
            say(b'{"output": 1}\n')
        if mode == "twice":
            say(json.dumps({"id": request["id"], **told}).encode() + b"\n")
        if mode == "huge":
            for _ in range(300):
                say(b"x" * (1 << 16))
        if mode == "flood":
            while True:
                say(b"x\n" * (1 << 15))
        if mode == "noise":
            for _ in range(300):
                print("y" * (1 << 16), file=sys.stderr)
        if mode == "swap":
            held = json.dumps({"id": request["id"], **told}).encode() + b"\n"
            continue
        if mode == "wrong":
            told = {"output": number + 1}
        if mode == "unsupported":
            told = {"unsupported": True}
        if mode == "two members":
            told = {"output": number, "error": {"kind": "argument"}}
        if mode == "remark":
            told = {"output": number, "comment": "as I said"}
        if mode == "true":
            told = {"output": bool(number)}
    say(json.dumps({"id": request["id"], **told}).encode() + b"\n" + held)
    held = b""
if mode == "linger":
    time.sleep(1000)
if mode == "last word":
    say(b"bye\n")
if mode == "last letter":
    say(b"b")
"""


CHILD = f"1000.{os.getpid()}"
"""Seconds that a child of the program sleeps, by which it is known."""


def command(mode: str, at: int = -2) -> list[str]:
    """The program in this mode, with the case that it concerns; -1 for all."""
    return [sys.executable, "-I", "-c", PROGRAM, mode, str(at), CHILD]


def cases(count: int = 20, *, size: int = 0, operation: str = "shamir.split") -> list[Case]:
    """What to ask it."""
    return [
        Case(f"shamir-{k:03}", operation, ("SHM-1",), "valid", (), "a case", {"k": k, "x": "x" * size}, {"output": k})
        for k in range(count)
    ]


def children() -> int:
    """How many children of programs are running."""
    found = 0
    for entry in Path("/proc").glob("[0-9]*/cmdline"):
        with contextlib.suppress(OSError):
            found += entry.read_bytes().split(b"\0")[:2] == [b"sleep", CHILD.encode()]
    return found
