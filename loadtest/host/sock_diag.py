"""How many connections the kernel has at a port, asked by netlink.

/proc/net/tcp prints a line of text for every socket of the machine: with both ends of 100,000
connections that is 30 MB, written by the kernel and read by us each second, on a machine that has
other things to do. sock_diag(7), which `ss` asks too, takes a filter, so the kernel tells of one
end only, in binary, and we count.
"""

import os
import socket
import struct

NETLINK_SOCK_DIAG = 4
SOCK_DIAG_BY_FAMILY = 20
REQUEST, DUMP = 0x1, 0x300
ERROR, DONE = 2, 3
ESTABLISHED = 1 << 1
# The filter is a program of the kernel's own little machine, in the attribute of this number:
# "source port at least", "source port at most", each followed by the port.
BYTECODE = 1
AT_LEAST, AT_MOST = 2, 3
PATIENCE = 10.0
ROOM = 1 << 18

_HEADER = struct.Struct("=IHHII")  # struct nlmsghdr
_REQUEST = struct.Struct("=BBBxI48x")  # struct inet_diag_req_v2, of no socket in particular
_OPERATION = struct.Struct("=BBH")  # struct inet_diag_bc_op
_ATTRIBUTE = struct.Struct("=HH")


def established(port: int) -> int:
    """Established IPv4 connections with this port at the local end, of our network namespace.

    An OSError says that the kernel does not tell.
    """
    with socket.socket(socket.AF_NETLINK, socket.SOCK_RAW, NETLINK_SOCK_DIAG) as sock:
        sock.settimeout(PATIENCE)
        sock.sendto(_request(port), (0, 0))
        total, done = 0, False
        while not done:
            count, done = _count(sock.recv(ROOM))
            total += count
    return total


def _request(port: int) -> bytes:
    program = _filter(port)
    body = _REQUEST.pack(socket.AF_INET, socket.IPPROTO_TCP, 0, ESTABLISHED)
    body += _ATTRIBUTE.pack(_ATTRIBUTE.size + len(program), BYTECODE) + program
    size = _HEADER.size + len(body)
    return _HEADER.pack(size, SOCK_DIAG_BY_FAMILY, REQUEST | DUMP, 0, 0) + body


def _filter(port: int) -> bytes:
    """Each operation says how far to go on if it holds, and if not; just past the end is no."""
    step = 2 * _OPERATION.size
    number = _OPERATION.pack(0, 0, port)
    first = _OPERATION.pack(AT_LEAST, step, 2 * step + _OPERATION.size) + number
    second = _OPERATION.pack(AT_MOST, step, step + _OPERATION.size) + number
    return first + second


def _count(data: bytes) -> tuple[int, bool]:
    """The sockets that a part of the answer tells of, and whether it is the last."""
    count = offset = 0
    while offset + _HEADER.size <= len(data):
        length, kind, *_ = _HEADER.unpack_from(data, offset)
        if kind == DONE:
            return count, True
        if kind == ERROR:
            (number,) = struct.unpack_from("=i", data, offset + _HEADER.size)
            raise OSError(-number, os.strerror(-number))
        count += kind == SOCK_DIAG_BY_FAMILY
        offset += (length + 3) & ~3
    return count, False
