"""One wrong implementation, as a program: `python -m clip_ref.oracle.zoo NAME`."""

import sys

from clip_ref.oracle.adapter import reference, serve
from clip_ref.oracle.zoo import DEFECTS

if __name__ == "__main__":
    DEFECTS[sys.argv[1]].install()
    serve(reference)
