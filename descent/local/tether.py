"""Become another program, one that is asked to end when the process that started it is gone.

`python tether.py PARENT PROGRAM ARGUMENT…` replaces itself by the program. Where the system cannot tie a child to its
parent (everywhere but on Linux) it is the program, and nothing more.
"""

import ctypes
import os
import signal
import sys

_PR_SET_PDEATHSIG = 1


def main() -> None:
    parent, *command = sys.argv[1:]
    if sys.platform == "linux":
        ctypes.CDLL(None).prctl(_PR_SET_PDEATHSIG, signal.SIGTERM)
        if os.getppid() != int(parent):
            sys.exit("the parent ended before its child had started")
    os.execvp(command[0], command)  # noqa: S606


if __name__ == "__main__":
    main()
