"""Which operating-system user is at the other end of a loopback connection, from the kernel's own table of connections."""

import os
import socket
import sys
from collections.abc import Iterable
from pathlib import Path

_LOOKS = 5
"""The kernel hands its table out page by page: a connection can be missed while others come and go."""


def is_own_user(client: tuple[str, int], server: tuple[str, int]) -> bool:
    """Whether the loopback connection's other end belongs to this process's operating-system user, as the kernel tells it.

    Where the kernel keeps no such table (macOS, Windows) every user of this machine counts as its own.
    """
    if not Path("/proc/net/tcp").exists():
        return True
    for _ in range(_LOOKS):
        lines = [line for table in ("/proc/net/tcp", "/proc/net/tcp6") if Path(table).exists() for line in Path(table).read_text().splitlines()[1:]]
        owner = user_of(client, server, lines)
        if owner is not None:
            return owner == os.getuid()
    return False


def user_of(client: tuple[str, int], server: tuple[str, int], lines: Iterable[str]) -> int | None:
    """The user that owns the client's end of a connection, from the lines of ``/proc/net/tcp``; None if it is not there."""
    wanted = {_kernel_address(client), _kernel_address(client, mapped=True)}
    peers = {_kernel_address(server), _kernel_address(server, mapped=True)}
    for line in lines:
        fields = line.split()
        if len(fields) > 7 and fields[1] in wanted and fields[2] in peers:
            return int(fields[7])
    return None


def _kernel_address(address: tuple[str, int], mapped: bool = False) -> str:
    """An address as the kernel's table writes it: each 32-bit word in the machine's byte order, in hexadecimal."""
    host, port = address
    if ":" in host:
        packed = socket.inet_pton(socket.AF_INET6, host)
    else:
        packed = (b"\0" * 10 + b"\xff\xff" if mapped else b"") + socket.inet_pton(socket.AF_INET, host)
    words = [int.from_bytes(packed[start : start + 4], sys.byteorder) for start in range(0, len(packed), 4)]
    return "".join(f"{word:08X}" for word in words) + f":{port:04X}"
