"""Run a program that is terminated when its parent process ends, on Linux.

`python parent_watch.py PARENT PROGRAM ARGUMENT…` replaces itself by the program. Other systems cannot tie a process to
its parent: there, the program runs without it.
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
