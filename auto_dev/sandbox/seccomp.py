"""The system calls that a box does without: a filter for the kernel, as classic BPF.

Namespaces leave some doors open that have nothing to do with files or networks: kernel keyrings, the kernel's log,
vsock sockets to the host of a virtual machine, terminals, and io_uring, which goes around every such filter.
Everything else stays as it is, debuggers and test runners included.
"""

from __future__ import annotations

import errno
import os
import struct
from dataclasses import dataclass
from typing import Final

_LOAD, _JUMP_EQUAL, _JUMP_GREATER_EQUAL, _JUMP_SET, _RETURN = 0x20, 0x15, 0x35, 0x45, 0x06
_ALLOW: Final = 0x7FFF0000
_ERRNO: Final = 0x00050000
_NUMBER, _ARCH = 0, 4  # offsets in struct seccomp_data
_ARGUMENT = (16, 24)  # the lower halves of the first two arguments, on little endian machines
_CLONE_NEWUSER: Final = 0x10000000
_X32: Final = 0x40000000

# Local use, the network namespace of the box, and what `ip` and getifaddrs read it with.
_SOCKET_FAMILIES: Final = (1, 2, 10, 16)  # AF_UNIX, AF_INET, AF_INET6, AF_NETLINK
_TERMINAL_INPUT: Final = (0x5412, 0x541C)  # TIOCSTI, TIOCLINUX


@dataclass(frozen=True, slots=True)
class Machine:
    """Numbers of one kind of machine."""

    arch: int
    refused: tuple[int, ...]  # EPERM
    absent: tuple[int, ...]  # ENOSYS: programs have a second way
    socket: int
    ioctl: int
    unshare: int
    clone: int


# keyctl add_key request_key bpf perf_event_open userfaultfd syslog setns mount umount2 pivot_root open_tree move_mount
# fsopen fsconfig fsmount fspick mount_setattr swapon swapoff reboot kexec_load kexec_file_load init_module
# finit_module delete_module open_by_handle_at acct quotactl
_X86_64 = Machine(
    0xC000003E,
    (250, 248, 249, 321, 298, 323, 103, 308, 165, 166, 155, 428, 429, 430, 431, 432, 433, 442, 167, 168, 169, 246, 320,
     175, 313, 176, 304, 163, 179),
    (425, 426, 427, 435),  # io_uring_setup, _enter, _register, clone3 (whose flags a filter cannot read)
    socket=41, ioctl=16, unshare=272, clone=56,
)  # fmt: skip
_AARCH64 = Machine(
    0xC00000B7,
    (219, 217, 218, 280, 241, 282, 116, 268, 40, 39, 41, 428, 429, 430, 431, 432, 433, 442, 224, 225, 142, 104, 294,
     105, 273, 106, 265, 89, 60),
    (425, 426, 427, 435),
    socket=198, ioctl=29, unshare=97, clone=220,
)  # fmt: skip
_MACHINES: Final = {"x86_64": _X86_64, "aarch64": _AARCH64}


def program(machine: str | None = None) -> bytes | None:
    """The filter for this kind of machine (as ``uname -m`` says), None where its numbers are not known."""
    known = _MACHINES.get(machine or os.uname().machine)
    return None if known is None else b"".join(_rows(known))


def _rows(machine: Machine) -> list[bytes]:
    # Another architecture's calls have other numbers: programs for 32 bits get no call at all.
    rows = [_row(_LOAD, _ARCH), _row(_JUMP_EQUAL, machine.arch, 1, 0), _refuse(errno.ENOSYS), _row(_LOAD, _NUMBER)]
    if machine is _X86_64:
        rows += [_row(_JUMP_GREATER_EQUAL, _X32, 0, 1), _refuse(errno.ENOSYS)]
    for numbers, error in ((machine.refused, errno.EPERM), (machine.absent, errno.ENOSYS)):
        for number in numbers:
            rows += [_row(_JUMP_EQUAL, number, 0, 1), _refuse(error)]
    for number in (machine.unshare, machine.clone):
        rows += _when(number, 0, [_row(_JUMP_SET, _CLONE_NEWUSER, 0, 1), _refuse(errno.EPERM)])
    inner = [row for request in _TERMINAL_INPUT for row in (_row(_JUMP_EQUAL, request, 0, 1), _refuse(errno.EPERM))]
    rows += _when(machine.ioctl, 1, inner)
    inner = [row for family in _SOCKET_FAMILIES for row in (_row(_JUMP_EQUAL, family, 0, 1), _row(_RETURN, _ALLOW))]
    rows += _when(machine.socket, 0, [*inner, _refuse(errno.EAFNOSUPPORT)])
    return [*rows, _row(_RETURN, _ALLOW)]


def _when(number: int, argument: int, then: list[bytes]) -> list[bytes]:
    """``then`` on an argument of one call; behind it the call's number is loaded again."""
    body = [_row(_LOAD, _ARGUMENT[argument]), *then, _row(_LOAD, _NUMBER)]
    return [_row(_JUMP_EQUAL, number, 0, len(body)), *body]


def _refuse(error: int) -> bytes:
    return _row(_RETURN, _ERRNO | error)


def _row(code: int, value: int, if_true: int = 0, if_false: int = 0) -> bytes:
    return struct.pack("=HBBI", code, if_true, if_false, value)
