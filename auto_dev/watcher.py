"""The watcher of one process tree: a small process of its own between the daemon and a command.

Run as ``python -I -S watcher.py FD``; FD is a socket to the daemon. It makes itself the reaper of every orphan below
it, starts the command in a session of its own, and ends every descendant when the command has ended, when it is told
to, or when the socket closes because the daemon is gone, however that died.

It imports nothing that costs: 7.5 ms from start to command, where ``signal`` (for its enums) adds 4 ms and ``ctypes``
3 ms. PDEATHSIG from the daemon to the watcher is left out on purpose: it is bound to the thread that spawned, and the
socket already tells. From the watcher (one thread) to the command it is set, should a command kill its watcher.

Daemon to watcher: a frame (4 bytes of length, marshal of [argv, cwd, env, confinement or None]), then lines
``T<seconds>`` (SIGTERM, so long to comply, then SIGKILL) or ``K`` (SIGKILL now). Watcher to daemon: ``started PID``;
then ``failed exec|cwd|limits ERRNO``, or ``exited WAITSTATUS done|told``, ``left N`` if N processes could not be
ended, ``unboxed`` if bubblewrap failed before the command, ``limit processes|memory`` if that is why it was ended.
"""

from __future__ import annotations

import _signal as signal  # type: ignore[import-not-found]
import marshal
import os
import select
import sys
import time

LINUX = sys.platform == "linux"
_PR_SET_PDEATHSIG, _PR_SET_CHILD_SUBREAPER = 1, 36
_LEFTOVER_GRACE_S = 0.3  # for children that outlive their command: time to flush, not to stay
_SIGTERM_GRACE_S = 2.0
_LOOK_S = 0.25  # between two looks at the size of a tree whose limits no cgroup holds
_MOST_FILE_BYTES = 1 << 36
_HOPELESS_S = 10.0  # survivors that stay the same for so long cannot be ended (another user's, or stuck in the kernel)


Stat = tuple[int, int, int, bool]


def stat_of(pid: int) -> Stat | None:
    """Parent, session, start time (clock ticks since boot) and "is a zombie" of a process; None when there is none."""
    try:
        fd = os.open(f"/proc/{pid}/stat", os.O_RDONLY)
    except OSError:
        return None
    try:
        data = os.read(fd, 4096)
    except OSError:
        return None
    finally:
        os.close(fd)
    fields = data[data.rfind(b")") + 2 :].split()  # the name may hold blanks and parentheses
    return (int(fields[1]), int(fields[3]), int(fields[19]), fields[0] == b"Z") if len(fields) > 19 else None


def processes() -> dict[int, Stat]:
    """All processes: pid to ``stat_of``."""
    names = os.listdir("/proc")  # noqa: PTH208 (pathlib costs 5 ms)
    found = ((int(name), stat_of(int(name))) for name in names if name.isdigit())
    return {pid: stat for pid, stat in found if stat}


def descendants(root: int) -> list[tuple[int, int]]:
    """Every process below ``root``, parents before their children, each with its start time."""
    children: dict[int, list[tuple[int, int]]] = {}
    for pid, (parent, _, started, _) in processes().items():
        children.setdefault(parent, []).append((pid, started))
    order = [(root, 0)]
    for pid, _ in order:
        order.extend(children.get(pid, ()))
    return order[1:]


def kill_identified(pid: int, started: int, number: int) -> bool:
    """Signal the process ``pid`` only if it is the one that began at ``started``. Raises PermissionError.

    The handle is taken before the check, so that a recycled number cannot slip in between.
    """
    try:
        handle = os.pidfd_open(pid)
    except OSError:
        return False
    try:
        stat = stat_of(pid)
        if stat is None or stat[2] != started:
            return False
        signal.pidfd_send_signal(handle, number)
    except ProcessLookupError:
        return False
    finally:
        os.close(handle)
    return True


def kill_below(root: int, number: int) -> list[tuple[int, int]]:
    """Signal every descendant of ``root`` once; return all that were there."""
    found = descendants(root)
    for pid, started in found:
        try:
            kill_identified(pid, started, number)
        except PermissionError:  # another user's: whoever waits for its end sees that it stays
            continue
    return found


def prctl(option: int, value: int) -> None:
    """prctl(2), through the part of ctypes that costs 0.4 ms instead of 3."""
    try:
        import _ctypes

        function = _ctypes.dlsym(_ctypes.dlopen(None, 0), "prctl")  # type: ignore[arg-type]
        result = _ctypes.call_function(function, (option, value, 0, 0, 0))
    except (ImportError, AttributeError):
        import ctypes

        result = ctypes.CDLL(None).prctl(option, value, 0, 0, 0)
    if result != 0:
        raise OSError(f"prctl({option}) failed")


class Confinement:
    """What a command in a box needs from outside: descriptors for bubblewrap, and limits on the whole tree.

    ``given`` (all optional but ``files``): ``files``, name to content, become descriptors whose numbers replace
    ``{name}`` in argv; ``cgroups``, [folder, [[file, value], …]] each, made here and removed at the end;
    ``processes`` and ``memory`` are held by this process where no cgroup holds them, ``nproc`` by RLIMIT_NPROC too.
    """

    def __init__(self, given: dict) -> None:  # type: ignore[type-arg]
        self.given = given
        self.inner = 0  # pid 1 of the box, which leads the session and the group of the command
        self.executed = False
        self.limit = ""
        self.said = b""
        self.guards = bool(given.get("processes") or given.get("memory"))
        self.next_look = time.monotonic() + _LOOK_S
        self.status, self.status_write = os.pipe()
        self.hold, self.go = os.pipe()
        os.set_blocking(self.status, False)
        self.theirs = [self.status_write, self.hold]

    def descriptors(self, argv: list[bytes]) -> list[bytes]:
        numbers = {b"{status}": self.status_write, b"{hold}": self.hold}
        for name, given in self.given["files"].items():
            content = given
            for known, number in numbers.items() if name == "args" else ():  # it comes last, and names the others
                content = content.replace(b"\0%s\0" % known, b"\0%d\0" % number)
            fd = os.memfd_create(name)
            view = memoryview(content)
            while view:
                view = view[os.write(fd, view) :]
            os.lseek(fd, 0, os.SEEK_SET)
            numbers[b"{%s}" % name.encode()] = fd
            self.theirs.append(fd)
        return [b"%d" % numbers[part] if part in numbers else part for part in argv]

    def enter(self) -> None:
        """In the forked child: take on the limits."""
        import resource

        for folder, values in self.given.get("cgroups", ()):
            os.mkdir(folder)  # noqa: PTH102 (pathlib costs 5 ms)
            for file, value in (*values, ("cgroup.procs", "0")):
                _put(f"{folder}/{file}", value)
        resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
        most = resource.getrlimit(resource.RLIMIT_FSIZE)[1]
        size = _MOST_FILE_BYTES if most == resource.RLIM_INFINITY else min(most, _MOST_FILE_BYTES)
        resource.setrlimit(resource.RLIMIT_FSIZE, (size, size))
        for fd in self.theirs:
            os.set_inheritable(fd, True)

    def listen(self) -> bool:
        """Take in what bubblewrap says about itself; False when it will say no more."""
        try:
            chunk = os.read(self.status, 4096)
        except BlockingIOError:
            return True
        self.said += chunk
        self.executed = self.executed or b'"exit-code"' in self.said
        if not self.inner and b'"child-pid"' in self.said and (line := self.said.split(b'"child-pid"')[1]):
            digits = line.lstrip(b": ").split(b",")[0].split(b"}")[0].strip()
            if digits.isdigit() and (b"," in line or b"}" in line):
                self.inner = int(digits)
                self.release()
        return bool(chunk)

    def release(self) -> None:
        """The box is made and the command is not there yet: the last moment for a limit that counts inside alone."""
        if self.given.get("nproc"):
            import resource

            most = self.given["processes"]
            try:
                resource.prlimit(self.inner, resource.RLIMIT_NPROC, (most, most))
            except (OSError, ValueError):  # an older kernel, or a smaller limit outside: the look at the tree remains
                self.given["nproc"] = False
        os.write(self.go, b"x")

    def beyond(self) -> bool:
        """Whether the tree is beyond a limit; looks at it now and then."""
        if time.monotonic() >= self.next_look:
            self.limit = self.look()
            self.next_look = time.monotonic() + _LOOK_S
        return bool(self.limit)

    def look(self) -> str:
        """Which limit the tree is beyond; "" for none. Costs one read unless the machine is that full."""
        most, memory = self.given.get("processes"), self.given.get("memory")
        with open("/proc/loadavg", "rb") as file:  # noqa: PTH123 (pathlib costs 5 ms)
            everywhere = int(file.read().split()[3].split(b"/")[1])
        many = most is not None and everywhere > most
        if not many and memory is None:
            return ""
        below = [pid for pid, _ in descendants(os.getpid())]
        if most is not None and many and sum(_number(pid, "status", b"Threads:") for pid in below) > most:
            return "processes"
        if memory is None or sum(_number(pid, "status", b"VmRSS:") for pid in below) * 1024 <= memory:
            return ""
        # Shared pages count in each process there; the exact sum is slow to get.
        exact = sum(_number(pid, "smaps_rollup", b"Pss:") for pid in below) * 1024
        return "memory" if exact > memory else ""

    def close(self) -> None:
        """Remove the cgroups, and tell whether memory was what ended the tree."""
        for folder, _ in self.given.get("cgroups", ()):
            for file, word in (("memory.events", b"oom_kill "), ("memory.oom_control", b"oom_kill ")):
                if not self.limit and _value(f"{folder}/{file}", word):
                    self.limit = "memory"
            for _ in range(100):
                try:
                    os.rmdir(folder)  # noqa: PTH106
                except FileNotFoundError:
                    break
                except OSError:  # still busy: the kernel has not forgotten the last of them yet
                    time.sleep(0.005)
                else:
                    break


def _put(path: str, value: str) -> None:
    fd = os.open(path, os.O_WRONLY)
    try:
        os.write(fd, value.encode())
    finally:
        os.close(fd)


def _value(path: str, word: bytes) -> int:
    """The number after ``word`` at the beginning of a line of a file; 0 when there is none."""
    try:
        with open(path, "rb") as file:  # noqa: PTH123
            for row in file:
                if row.startswith(word):
                    return int(row[len(word) :].split()[0])
    except OSError:
        pass
    return 0


def _number(pid: int, file: str, word: bytes) -> int:
    return _value(f"/proc/{pid}/{file}", word)


class Watcher:
    def __init__(self, control: int) -> None:
        self.control = control
        self.main = 0
        self.status: int | None = None  # wait status of the command, once it has ended
        self.told = False
        self.deadline: float | None = None
        self.confinement: Confinement | None = None
        self.wake, wake_write = os.pipe()
        os.set_blocking(self.wake, False)
        os.set_blocking(wake_write, False)
        signal.set_wakeup_fd(wake_write, warn_on_full_buffer=False)
        for number in (signal.SIGCHLD, signal.SIGTERM):
            signal.signal(number, lambda *_: None)  # only the wake-up counts
        for number in (signal.SIGINT, signal.SIGHUP, signal.SIGQUIT):
            signal.signal(number, signal.SIG_IGN)

    def say(self, line: str) -> None:
        try:
            os.write(self.control, line.encode() + b"\n")
        except OSError:  # the daemon is gone: nobody to tell, and the tree is ended anyway
            self.deadline = 0.0

    def start(self, argv: list[bytes], cwd: bytes, env: dict[bytes, bytes]) -> bool:
        """Start the command in its own session; False (and said so) when it cannot be executed."""
        read, write = os.pipe()  # closed by a successful exec
        hold, go = os.pipe()
        if self.confinement is not None:
            argv = self.confinement.descriptors(argv)
        self.main = os.fork()
        if self.main == 0:
            os.close(go)
            os.read(hold, 1)  # until the daemon has been told: a command may kill its watcher at once
            _become(argv, cwd, env, write, self.confinement)
        for fd in self.confinement.theirs if self.confinement is not None else ():
            os.close(fd)
        os.close(write)
        os.close(hold)
        self.say(f"started {self.main}")
        os.close(go)
        failure = os.read(read, 64).decode()
        os.close(read)
        null = os.open(os.devnull, os.O_RDWR)
        for fd in (0, 1, 2):
            os.dup2(null, fd)
        if failure:
            self.say(f"failed {failure}")
        return not failure

    def run(self) -> None:
        """Wait for the end of the command, an order, or the end of the daemon."""
        poll = select.poll()
        poll.register(self.control, select.POLLIN)
        poll.register(self.wake, select.POLLIN)
        box = self.confinement
        if box is not None:
            poll.register(box.status, select.POLLIN)
        while not self.reap() and self.status is None:
            until = self.deadline
            if box is not None and box.guards:
                if box.beyond():
                    return
                until = box.next_look if until is None else min(until, box.next_look)
            left = None if until is None else (until - time.monotonic()) * 1000
            if self.deadline is not None and self.deadline <= time.monotonic():
                return
            left = None if left is None else max(left, 0)
            for fd, _ in poll.poll(left):
                if fd == self.wake:
                    if signal.SIGTERM in os.read(self.wake, 512):
                        self.order(b"T%g" % _SIGTERM_GRACE_S)
                elif box is not None and fd == box.status:
                    if not box.listen():
                        poll.unregister(fd)
                else:
                    self.listen()

    def listen(self) -> None:
        try:
            data = os.read(self.control, 512)
        except OSError:
            data = b""
        for order in data.split() or [b"K"]:  # end of file: the daemon is gone
            self.order(order)

    def order(self, order: bytes) -> None:
        self.told = True
        grace = float(order[1:]) if order[:1] == b"T" else 0.0
        wanted = time.monotonic() + grace
        self.deadline = wanted if self.deadline is None else min(self.deadline, wanted)
        if self.confinement is not None and not self.confinement.inner:
            self.deadline = time.monotonic()  # the command is not there yet: nobody to leave time
        elif grace and self.status is None:  # not reaped yet, so the group is certainly ours
            self.kill_group(signal.SIGTERM)
            self.kill_group(signal.SIGCONT)

    def kill_group(self, number: int) -> None:
        inner = self.confinement.inner if self.confinement is not None and number != signal.SIGKILL else 0
        try:
            os.killpg(inner or self.main, number)
        except (ProcessLookupError, PermissionError):  # gone, or it changed its user: the sweep below it decides
            return

    def reap(self) -> bool:
        """Collect the dead; True when no child is left, hence no descendant."""
        while True:
            try:
                pid, status = os.waitpid(-1, os.WNOHANG)
            except ChildProcessError:
                return True
            if pid == 0:
                return False
            if pid == self.main:
                self.status = status

    def end(self) -> int:
        """End every descendant; the number of those that could not be ended.

        SIGKILL at once, parents first, round after round: a killed process forks no more than a frozen one, and
        needs no second signal. The command's group goes first because a group signal is atomic against fork(2).
        """
        if self.status is not None and not self.reap():
            self.leave_time()
        before: list[tuple[int, int]] = []
        since, pause = time.monotonic(), 1.0
        while not self.reap():
            if self.status is None or not LINUX:
                self.kill_group(signal.SIGKILL)
            now = kill_below(os.getpid(), signal.SIGKILL) if LINUX else [(self.main, 0)]
            if now != before:
                before, since, pause = now, time.monotonic(), 1.0
            elif time.monotonic() - since > _HOPELESS_S:
                return len(now)
            self.nap(pause)
            pause = min(pause * 2, 50.0)
        return 0

    def leave_time(self) -> None:
        """The command has ended, children of it have not: SIGTERM and a moment before SIGKILL."""
        if LINUX:
            kill_below(os.getpid(), signal.SIGTERM)
        until = min(time.monotonic() + _LEFTOVER_GRACE_S, self.deadline or float("inf"))
        while not self.reap() and time.monotonic() < until:
            self.nap(20.0)

    def nap(self, milliseconds: float) -> None:
        """Sleep until a child ends, at most so long."""
        poll = select.poll()
        poll.register(self.wake, select.POLLIN)
        if poll.poll(milliseconds):
            os.read(self.wake, 512)


def _become(
    argv: list[bytes], cwd: bytes, env: dict[bytes, bytes], failed: int, confinement: Confinement | None
) -> None:
    """In the forked child: become the command, or write why not."""
    step = "exec"
    try:
        os.setsid()
        if confinement is not None:
            step = "limits"
            confinement.enter()
        if LINUX:
            prctl(_PR_SET_PDEATHSIG, signal.SIGKILL)
        signal.set_wakeup_fd(-1)
        for number in signal.valid_signals() - {signal.SIGKILL, signal.SIGSTOP}:
            if signal.getsignal(number) is not signal.SIG_DFL:
                signal.signal(number, signal.SIG_DFL)
        signal.pthread_sigmask(signal.SIG_SETMASK, ())
        step = "cwd"
        os.chdir(cwd)
        step = "exec"
        os.execvpe(argv[0], argv, env)  # noqa: S606
    except OSError as error:
        os.write(failed, f"{step} {error.errno}".encode())
    finally:
        os._exit(127)


def _receive(control: int, size: int) -> bytes:
    """Exactly so many bytes, for an order may follow at once; fewer when the daemon closed the socket instead."""
    data = b""
    while len(data) < size and (chunk := os.read(control, size - len(data))):
        data += chunk
    return data


def main(control: int) -> int:
    os.set_inheritable(control, False)
    watcher = Watcher(control)
    if LINUX:
        prctl(_PR_SET_CHILD_SUBREAPER, 1)
        with open("/proc/self/comm", "w") as name:  # noqa: PTH123 (pathlib costs 5 ms): "pkill python" must not hit it
            name.write("auto-dev-watch")
    size = int.from_bytes(_receive(control, 4), "big")
    frame = _receive(control, size)
    if not size or len(frame) < size:
        return 0
    argv, cwd, env, confinement = marshal.loads(frame)  # noqa: S302 (from the daemon alone)
    if confinement is not None:
        watcher.confinement = Confinement(confinement)
    try:
        if not watcher.start(argv, cwd, env):
            return 0
        watcher.run()
    finally:
        left = watcher.end()
        box = watcher.confinement
        if box is not None:
            box.listen()
            box.close()
            if not box.executed and watcher.status is not None and os.WIFEXITED(watcher.status):
                watcher.say("unboxed")
            if box.limit:
                watcher.say(f"limit {box.limit}")
    watcher.say(f"exited {watcher.status if watcher.status is not None else 9} {'told' if watcher.told else 'done'}")
    if left:
        watcher.say(f"left {left}")
    return 0


if __name__ == "__main__":
    sys.exit(main(int(sys.argv[1])))
