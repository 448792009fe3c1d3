"""A library after which no process can be watched any more, as where the kernel has no room for one more open file."""

import errno
import os


def refused(pid: int, flags: int = 0) -> int:
    raise OSError(errno.ENFILE, os.strerror(errno.ENFILE))


os.pidfd_open = refused
