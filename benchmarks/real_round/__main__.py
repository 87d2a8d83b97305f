"""`python -m real_round`: play the scenes, hold the simulator against them, keep what was found."""

import argparse
import json
import os
import signal
import sys
from collections.abc import Sequence
from pathlib import Path
from types import FrameType
from typing import Final

from real_round import host
from real_round.parties import PartyFailed
from real_round.report import TOLERANCE, figures, lines, machine, worst
from real_round.scene import DEADLINE, PLAIN, SCENES, SILENT
from real_round.stage import SEAT, play

RESULT: Final = Path(__file__).parent.parent / "results" / "real_round.json"

USUAL: Final = (PLAIN.name, PLAIN.name, PLAIN.name, DEADLINE.name, SILENT.name)
"""What is played if nothing is asked for."""


def _ended(number: int, frame: FrameType | None) -> None:
    raise SystemExit(128 + number)  # so that what was made is removed, as after an interrupt


def main(arguments: Sequence[str] | None = None) -> int:
    parser = argparse.ArgumentParser(prog="real_round", description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--scene", choices=SCENES, action="append", help=f"again for more; default: {', '.join(USUAL)}")
    parser.add_argument("--out", type=Path, default=RESULT, help="where the figures go; default: %(default)s")
    chosen = parser.parse_args(arguments)
    reason = host.why_not()
    if reason is not None:
        print(f"no real run here: {reason}", file=sys.stderr)
        return 2
    for number in (signal.SIGINT, signal.SIGTERM):  # also where they were ignored, as in the background of a shell
        signal.signal(number, _ended)
    sittings = []
    for name in chosen.scene or USUAL:
        try:
            sittings.append(figures(play(SCENES[name])))
        except (PartyFailed, host.NotPermitted) as error:
            print(f"{name}: {error}", file=sys.stderr)
            return 2
        print(lines(sittings[-1]), flush=True)
    found = {"machine": machine(), "tolerance": TOLERANCE, "sittings": sittings}
    chosen.out.parent.mkdir(parents=True, exist_ok=True)
    partial = chosen.out.with_name(f"{chosen.out.name}.part")
    partial.write_text(json.dumps(found, indent=1) + "\n", "utf-8")
    partial.replace(chosen.out)
    furthest = max(worst(sitting) for sitting in sittings)
    print(f"furthest off, calibrated {SEAT}: {100 * furthest:.1f} %, at most {100 * TOLERANCE:.0f} % is allowed")
    return 0 if furthest <= TOLERANCE and all(sitting["sums_exact"] for sitting in sittings) else 1


if __name__ == "__main__":
    os.environ.setdefault("OMP_NUM_THREADS", "1")
    sys.exit(main())
