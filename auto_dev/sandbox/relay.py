"""Inside a box: TCP ports on 127.0.0.1 that lead to unix sockets, and the command beside them.

Run as ``python -I -S relay.py PORT=SOCKET,… COMMAND ARG…``. The ports listen before the command starts. Signals go to
the command's group, its end is the relay's. No module that costs is imported: 9 ms from start to command, where
``socket`` and ``signal`` (for their enums) would add 10 ms.
"""

from __future__ import annotations

import _signal as signal  # type: ignore[import-not-found]
import errno
import os
import select
import sys
from _socket import AF_INET, AF_UNIX, IPPROTO_TCP, SHUT_WR, SO_REUSEADDR, SOCK_STREAM, SOL_SOCKET, TCP_NODELAY, socket

_CHUNK = 65536
_MOST_WAITING = 4 * _CHUNK  # bytes that one side may be behind before the other is no longer read
_AGAIN_S = 0.005
_IN, _OUT = select.EPOLLIN, select.EPOLLOUT
_PASSED = (signal.SIGTERM, signal.SIGINT, signal.SIGHUP, signal.SIGQUIT, signal.SIGUSR1, signal.SIGUSR2)


class Side:
    """One end of a connection. ``waiting`` is what is still to be written to it."""

    def __init__(self, sock: socket) -> None:
        self.sock = sock
        self.fd = sock.fileno()
        self.peer: Side = self
        self.waiting = bytearray()
        self.ended = False  # it will send no more
        self.shut = False  # it was told that no more comes
        self.dead = False  # it takes no more
        self.interest = 0


class Relay:
    def __init__(self, ports: dict[int, str]) -> None:
        self.poll = select.epoll()
        self.listeners: dict[int, tuple[socket, str]] = {}
        self.sides: dict[int, Side] = {}
        self.pending: list[tuple[socket, str]] = []  # accepted, but the other side's queue was full
        for port, path in ports.items():
            listener = socket(AF_INET, SOCK_STREAM)
            listener.setsockopt(SOL_SOCKET, SO_REUSEADDR, 1)
            listener.bind(("127.0.0.1", port))
            listener.listen(4096)
            listener.setblocking(False)
            self.listeners[listener.fileno()] = listener, path
            self.poll.register(listener.fileno(), _IN)

    def turn(self, ready: list[tuple[int, int]]) -> None:
        for fd, events in ready:
            if fd in self.listeners:
                self.accept(*self.listeners[fd])
            elif (side := self.sides.get(fd)) is not None:
                self.serve(side, events)
        again, self.pending = self.pending, []
        for client, path in again:
            self.connect(client, path)

    def accept(self, listener: socket, path: str) -> None:
        for _ in range(64):
            try:
                fd, _ = listener._accept()  # type: ignore[attr-defined]  # noqa: SLF001 (what socket.accept does)
            except OSError:  # none left, or no descriptor left: the others go on, this one is asked again
                return
            client = socket(AF_INET, SOCK_STREAM, 0, fd)
            client.setblocking(False)
            client.setsockopt(IPPROTO_TCP, TCP_NODELAY, 1)
            self.connect(client, path)

    def connect(self, client: socket, path: str) -> None:
        try:
            server = socket(AF_UNIX, SOCK_STREAM)
        except OSError:
            client.close()
            return
        server.setblocking(False)
        try:
            server.connect(path)
        except BlockingIOError:
            server.close()
            self.pending.append((client, path))
            return
        except OSError:
            server.close()
            client.close()
            return
        one, other = Side(client), Side(server)
        one.peer, other.peer = other, one
        for side in (one, other):
            self.sides[side.fd] = side
            side.interest = _IN
            self.poll.register(side.fd, _IN)

    def serve(self, side: Side, events: int) -> None:
        try:
            if events & _OUT:
                self.flush(side)
            if events & ~_OUT and not side.ended:
                self.read(side)
            elif events & select.EPOLLHUP:
                self.bury(side)
                self.settle(side)
        except OSError:
            self.close(side)

    def read(self, side: Side) -> None:
        try:
            data = side.sock.recv(_CHUNK)
        except BlockingIOError:
            return
        peer = side.peer
        if not data:
            side.ended = True
        elif not peer.waiting and not peer.dead:
            try:
                data = data[peer.sock.send(data) :]
            except BlockingIOError:
                pass
            except OSError:  # the reader is gone; what it said before may still be under way
                self.bury(peer)
        if not peer.dead:
            peer.waiting += data
        self.settle(side)

    def bury(self, side: Side) -> None:
        side.dead = True
        side.waiting.clear()

    def flush(self, side: Side) -> None:
        while side.waiting:
            try:
                done = side.sock.send(side.waiting[:_CHUNK])
            except BlockingIOError:
                break
            del side.waiting[:done]
        self.settle(side)

    def settle(self, side: Side) -> None:
        """After a step: pass an end of input on, close what is over, ask for the right events."""
        both = (side, side.peer)
        for one in both:
            if one.peer.ended and not (one.waiting or one.shut or one.dead):
                one.shut = True
                try:
                    one.sock.shutdown(SHUT_WR)
                except OSError:
                    self.bury(one)
        over = all(one.ended for one in both) or any(one.ended and one.dead for one in both)
        if over and not any(one.waiting for one in both):
            self.close(side)
            return
        for one in both:
            reads = not one.ended and len(one.peer.waiting) < _MOST_WAITING
            interest = (_IN if reads else 0) | (_OUT if one.waiting else 0)
            if interest != one.interest:
                # One that asks for nothing must not be watched: EPOLLHUP would be told for ever.
                if not interest:
                    self.poll.unregister(one.fd)
                elif not one.interest:
                    self.poll.register(one.fd, interest)
                else:
                    self.poll.modify(one.fd, interest)
                one.interest = interest

    def close(self, side: Side) -> None:
        for one in (side, side.peer):
            if self.sides.pop(one.fd, None) is not None:
                if one.interest:
                    self.poll.unregister(one.fd)
                one.sock.close()


def start(argv: list[str], files: tuple[int, int] | None) -> int:
    """Start the command in a session of its own; its pid."""
    pid = os.fork()
    if pid:
        return pid
    try:
        os.setsid()
        signal.set_wakeup_fd(-1)
        for number in (*_PASSED, signal.SIGCHLD, signal.SIGPIPE, signal.SIGXFSZ):
            signal.signal(number, signal.SIG_DFL)
        if files is not None:
            import resource

            resource.setrlimit(resource.RLIMIT_NOFILE, files)
        os.execvp(argv[0], argv)  # noqa: S606
    except OSError as error:
        os.write(2, f"auto-dev: cannot execute {argv[0]}: {error.strerror}\n".encode())
        os._exit(127 if error.errno == errno.ENOENT else 126)
    finally:
        os._exit(126)


def more_files() -> tuple[int, int] | None:
    """Allow this process as many descriptors as it may have; the former limits, for the command."""
    import resource

    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    if soft == hard:
        return None
    resource.setrlimit(resource.RLIMIT_NOFILE, (hard, hard))
    return soft, hard


def end(status: int) -> None:
    """End as the command did."""
    if os.WIFSIGNALED(status):
        number = os.WTERMSIG(status)
        if number != signal.SIGKILL:
            signal.signal(number, signal.SIG_DFL)
        os.kill(os.getpid(), number)
        os._exit(128 + number)
    os._exit(os.WEXITSTATUS(status))


def main(ports: dict[int, str], argv: list[str]) -> None:
    wake, wake_write = os.pipe()
    os.set_blocking(wake, False)
    os.set_blocking(wake_write, False)
    signal.set_wakeup_fd(wake_write, warn_on_full_buffer=False)
    for number in (*_PASSED, signal.SIGCHLD):
        signal.signal(number, lambda *_: None)  # only the wake-up counts
    relay = Relay(ports)
    pid = start(argv, more_files())
    null = os.open(os.devnull, os.O_RDWR)
    for fd in (0, 1, 2):
        os.dup2(null, fd)
    relay.poll.register(wake, _IN)
    while True:
        ready = relay.poll.poll(_AGAIN_S if relay.pending else -1)
        for fd, _ in ready:
            if fd != wake:
                continue
            for number in os.read(wake, 512):
                if number in _PASSED:
                    try:
                        os.killpg(pid, number)
                    except ProcessLookupError:  # between its start and its setsid, or gone
                        os.kill(pid, number)
            done, status = os.waitpid(pid, os.WNOHANG)
            if done:
                end(status)
        relay.turn(ready)


if __name__ == "__main__":
    main({int(item.partition("=")[0]): item.partition("=")[2] for item in sys.argv[1].split(",")}, sys.argv[2:])
