"""What a hostile agent tries from inside its box, each attempt proven by a control run outside where that is safe.

An attempt is a script that ends with 0 when it succeeded. Nothing outside is ever changed: files of the kernel are only
opened, foreign processes only asked whether they are there.
"""

from __future__ import annotations

import asyncio
import ctypes
import json
import os
import shutil
import socket
import subprocess
import sys
from collections.abc import AsyncIterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

from auto_dev.processes import Finished, RunTree, run_tree
from auto_dev.sandbox.base import Box
from auto_dev.sandbox.bubblewrap import Bubblewrap
from auto_dev.sandbox.probe import Problem, find

pytestmark = pytest.mark.integration
ROOT = os.name == "posix" and os.geteuid() == 0
CANARY = "canary-4711"

PRELUDE = """
import ctypes, errno, fcntl, json, os, resource, socket, stat, struct, subprocess, sys, time
from pathlib import Path
W = json.loads(os.environ["WORLD"])
libc = ctypes.CDLL(None, use_errno=True)
ESCAPED, HELD = 0, 3
def reads(path): sys.exit(ESCAPED if b"canary" in open(path, "rb").read() else HELD)
def connects(family, address, kind=socket.SOCK_STREAM):
    with socket.socket(family, kind) as s:
        s.settimeout(3)
        s.connect(address)
    sys.exit(ESCAPED)
def call(number, *args):
    if libc.syscall(number, *args) == -1:
        raise OSError(ctypes.get_errno(), os.strerror(ctypes.get_errno()))
    sys.exit(ESCAPED)
def opens(path, flags=os.O_WRONLY): os.close(os.open(path, flags)); sys.exit(ESCAPED)
"""


@dataclass(frozen=True)
class Try:
    """``control``: whether it succeeds outside: "yes", "root" (for root alone), "ipv6", "cores" (where there are any),
    "no" (it would do harm there, or may not work there either)."""

    script: str
    control: str = "yes"


X86 = os.uname().machine == "x86_64"
ATTEMPTS = {
    "read the user's ssh key": Try("reads(W['home'] + '/.ssh/id_ed25519')"),
    "read another home": Try("reads(W['other_home'] + '/.netrc')"),
    "read /etc/shadow": Try("opens('/etc/shadow', os.O_RDONLY)", "root"),
    "read the daemon's state": Try("reads(W['state'] + '/secret')"),
    "read another run's worktree": Try("reads(W['state'] + '/worktrees/other/file')"),
    "read another run's temporary files": Try("reads(W['tmp_file'])"),
    "read the daemon's environment": Try("""
for pid in os.listdir("/proc"):
    if pid.isdigit() and int(pid) not in (os.getpid(), os.getppid()):
        try: found = W["canary_env"].encode() in open(f"/proc/{pid}/environ", "rb").read()
        except OSError: continue
        if found: sys.exit(ESCAPED)
sys.exit(HELD)"""),
    "set the handler of core dumps": Try("opens('/proc/sys/kernel/core_pattern')", "root"),
    "write any file of the kernel": Try(
        """
for top in ("/proc/sys", "/proc/irq", "/proc/bus", "/proc/fs", "/proc/acpi", "/sys"):
    for above, _, names in os.walk(top):
        for name in names:
            try: fd = os.open(os.path.join(above, name), os.O_WRONLY)
            except OSError: continue
            print(above, name); sys.exit(ESCAPED)
for name in os.listdir("/proc"):
    path = "/proc/" + name
    if not name.isdigit() and not os.path.isdir(path):
        try: fd = os.open(path, os.O_WRONLY)
        except OSError: continue
        print(path); sys.exit(ESCAPED)
sys.exit(HELD)""",
        "root",
    ),
    "read the kernel's own files": Try(
        """
for name in ("kcore", "kmsg", "kpageflags", "kpagecount", "slabinfo", "vmallocinfo", "timer_list"):
    try: fd = os.open("/proc/" + name, os.O_RDONLY | os.O_NONBLOCK)
    except OSError: continue
    print(name); sys.exit(ESCAPED)
sys.exit(HELD)""",
        "root",
    ),
    "read the kernel's log": Try("call(103 if W['x86'] else 116, 10, None, 0)", "root"),
    "use the ssh agent's socket": Try("connects(socket.AF_UNIX, W['agent_socket'])"),
    "use an abstract socket": Try("connects(socket.AF_UNIX, '\\0' + W['abstract'])"),
    "reach a service on the host's loopback": Try("connects(socket.AF_INET, ('127.0.0.1', W['port']))"),
    "reach a service on the host's IPv6 loopback": Try("connects(socket.AF_INET6, ('::1', W['port6']))", "ipv6"),
    "ask a name server": Try("connects(socket.AF_INET, ('1.1.1.1', 53), socket.SOCK_DGRAM)", "no"),
    "ask the cloud's metadata service": Try("connects(socket.AF_INET, ('169.254.169.254', 80))", "no"),
    "open a raw socket": Try("socket.socket(socket.AF_INET, socket.SOCK_RAW, 1); sys.exit(ESCAPED)", "root"),
    "open a packet socket": Try("socket.socket(17, socket.SOCK_RAW, 0); sys.exit(ESCAPED)", "root"),
    "open a socket to the virtual machine's host": Try("socket.socket(40, 1); sys.exit(ESCAPED)", "no"),
    "open a kernel crypto socket": Try("socket.socket(38, socket.SOCK_SEQPACKET); sys.exit(ESCAPED)", "no"),
    "write into the mirror": Try("open(W['objects'] + '/new', 'w'); sys.exit(ESCAPED)"),
    "change a mirror's object": Try("open(W['objects'] + '/pack', 'a').write('x'); sys.exit(ESCAPED)"),
    "change a mode in the mirror": Try("os.chmod(W['objects'] + '/pack', 0o777); sys.exit(ESCAPED)"),
    "delete from the mirror": Try("os.unlink(W['objects'] + '/pack'); sys.exit(ESCAPED)"),
    "link a foreign file into the worktree": Try("os.link(W['objects'] + '/pack', 'hard'); sys.exit(ESCAPED)"),
    "read through a link of its own": Try(
        "s = f'{W[\"wt\"]}/soft{os.getpid()}'; os.symlink(W['home'] + '/.ssh/id_ed25519', s); reads(s)"
    ),
    "overwrite the gitfile": Try("open(W['wt'] + '/.git', 'w').write('gitdir: /evil'); sys.exit(ESCAPED)"),
    "delete the gitfile": Try("os.unlink(W['wt'] + '/.git'); sys.exit(ESCAPED)"),
    "move the gitfile away": Try("os.rename(W['wt'] + '/.git', W['wt'] + '/x'); sys.exit(ESCAPED)"),
    "put a file over the gitfile": Try(
        "open(W['wt'] + '/evil', 'w'); os.rename(W['wt'] + '/evil', W['wt'] + '/.git'); sys.exit(ESCAPED)"
    ),
    "put a link over the gitfile": Try(
        "l = f'{W[\"wt\"]}/l{os.getpid()}'; os.symlink('/evil', l); os.rename(l, W['wt'] + '/.git'); sys.exit(ESCAPED)"
    ),
    "move the worktree away": Try("os.rename(W['wt'], W['wt'] + '-moved'); sys.exit(ESCAPED)"),
    "move a folder above a protected file": Try("os.rename(W['wt'] + '/a', W['wt'] + '/moved'); sys.exit(ESCAPED)"),
    "move the folder of a protected file": Try("os.rename(W['wt'] + '/a/b', W['wt'] + '/a/x'); sys.exit(ESCAPED)"),
    "write the system's programs": Try("open('/usr/bin/auto-dev-evil', 'w'); sys.exit(ESCAPED)", "no"),
    "write beside its folders": Try("os.mkdir('/evil'); sys.exit(ESCAPED)", "no"),
    "mount": Try(
        "libc.mount(b'none', W['wt'].encode(), b'tmpfs', 0, None) == 0 and sys.exit(ESCAPED); sys.exit(HELD)", "no"
    ),
    "make /usr writable again": Try(
        "libc.mount(b'none', b'/usr', None, 4096 | 32, None) == 0 and sys.exit(ESCAPED); sys.exit(HELD)", "no"
    ),
    "unmount a cover": Try("libc.umount2(b'/proc/sys', 2) == 0 and sys.exit(ESCAPED); sys.exit(HELD)", "no"),
    "make a user namespace": Try("libc.unshare(0x10000000) == 0 and sys.exit(ESCAPED); sys.exit(HELD)", "root"),
    "make a user namespace by clone": Try(
        "call(56 if W['x86'] else 220, 0x10000000 | 17, None, None, None, None)", "root"
    ),
    "enter another namespace": Try(
        "libc.setns(os.open('/proc/1/ns/mnt', os.O_RDONLY), 0) == 0 and sys.exit(ESCAPED); sys.exit(HELD)", "no"
    ),
    "signal a process outside": Try("os.kill(W['pid'], 0); sys.exit(ESCAPED)"),
    "see a process outside": Try(
        "sys.exit(ESCAPED if any(p.isdigit() and b'auto-dev-' b'canary' in Path('/proc', p, 'cmdline').read_bytes() "
        "for p in os.listdir('/proc')) else HELD)"
    ),
    "gain rights by a set-uid program": Try(
        "s = open('/proc/self/status').read(); "
        "sys.exit(HELD if 'NoNewPrivs:\\t1' in s and 'CapEff:\\t0000000000000000' in s "
        "and 'CapBnd:\\t0000000000000000' in s else ESCAPED)"
    ),
    "type into a terminal": Try(
        """
a, b = os.openpty()
fcntl.ioctl(b, 0x5412, b"x")
sys.exit(ESCAPED)""",
        "root",
    ),
    "have a controlling terminal": Try("os.close(os.open('/dev/tty', os.O_RDWR)); sys.exit(ESCAPED)", "no"),
    "read kernel keyrings": Try("call(250 if W['x86'] else 219, 0, -3, 1)"),
    "load a program into the kernel": Try(
        "call(321 if W['x86'] else 280, 0, struct.pack('16I', 2, 4, 8, 1, *[0] * 12), 64)", "root"
    ),
    "go around the filter by io_uring": Try("call(425, 4, ctypes.create_string_buffer(240))", "no"),
    "read the machine's memory or disks": Try(
        """
for name in os.listdir("/dev"):
    mode = os.stat("/dev/" + name).st_mode
    if stat.S_ISBLK(mode) or name in ("mem", "kmem", "kmsg", "port", "kvm", "fuse", "loop-control"): sys.exit(ESCAPED)
sys.exit(HELD)""",
        "root",
    ),
    "make a device": Try("os.mknod('dev', 0o666 | stat.S_IFBLK, os.makedev(8, 0)); sys.exit(ESCAPED)", "root"),
    "dump core": Try("sys.exit(HELD if resource.getrlimit(resource.RLIMIT_CORE) == (0, 0) else ESCAPED)", "cores"),
    "use an inherited descriptor": Try(
        "sys.exit(ESCAPED if set(map(int, os.listdir('/proc/self/fd'))) - {0, 1, 2, 3} else HELD)", "no"
    ),
    "join another cgroup": Try(
        "sys.exit(ESCAPED if os.path.exists('/sys/fs/cgroup/pids') or "
        "os.path.exists('/sys/fs/cgroup/cgroup.procs') else HELD)",
        "no",
    ),
    "use shared memory of the host": Try("sys.exit(HELD if libc.shmget(W['shm'], 0, 0) == -1 else ESCAPED)"),
    "rename the machine": Try("socket.sethostname('evil'); sys.exit(ESCAPED)", "no"),
    "know the machine's name": Try("sys.exit(ESCAPED if socket.gethostname() != 'box' else HELD)"),
}  # fmt: skip


@dataclass
class World:
    """A daemon's surroundings with something to steal in each corner."""

    paths: dict[str, Any]
    box: Box
    sandbox: Bubblewrap

    async def attempt(self, script: str, run: RunTree) -> tuple[Finished, str]:
        output = Path(self.paths["state"]) / "output"
        env = {"PATH": os.environ["PATH"], "WORLD": json.dumps(self.paths), "LANG": "C.UTF-8"}
        python = shutil.which("python3", path="/usr/local/bin:/usr/bin:/bin") or sys.executable
        argv = [python, "-I", "-S", "-c", PRELUDE + script]
        done = await run(argv, cwd=Path(self.paths["wt"]), env=env, output=output, timeout_s=30)
        return done, output.read_text("utf-8", "replace")


@pytest.fixture(scope="module")
def sandbox() -> Bubblewrap:
    found = find(os.environ)
    if isinstance(found, Problem):
        pytest.skip(f"{found.what}. {found.mend}")
    return found


@pytest.fixture
async def world(sandbox: Bubblewrap, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> AsyncIterator[World]:
    home, state, other = Path.home(), tmp_path / "state", tmp_path / "other"
    wt = state / "worktrees" / "mine"
    objects = state / "mirror" / "objects"
    for folder in (home / ".ssh", other, wt / "a" / "b", state / "worktrees" / "other", objects, state / "home"):
        folder.mkdir(parents=True)
    temporary = Path("/tmp") / f"auto-dev-canary-{os.getpid()}"
    for file in (
        home / ".ssh" / "id_ed25519", other / ".netrc", state / "secret", state / "worktrees" / "other" / "file",
        objects / "pack", temporary,
    ):  # fmt: skip
        file.write_text(CANARY)
    (wt / ".git").write_text(f"gitdir: {state}/private\n")
    (wt / "a" / "b" / "kept").write_text("kept")
    abstract, agent = f"auto-dev-{os.getpid()}", tmp_path / "s"
    tcp, tcp6 = socket.create_server(("127.0.0.1", 0)), None
    with_ipv6 = socket.has_ipv6
    try:
        tcp6 = socket.create_server(("::1", 0), family=socket.AF_INET6)
    except OSError:
        with_ipv6 = False
    unix = [socket.socket(socket.AF_UNIX), socket.socket(socket.AF_UNIX)]
    monkeypatch.chdir(tmp_path)
    unix[0].bind("s")  # a long path does not fit
    unix[1].bind(f"\0{abstract}")
    for each in unix:
        each.listen()
    environment = {"CANARY_ENV": CANARY, "PATH": os.environ["PATH"]}
    target = await asyncio.create_subprocess_exec("auto-dev-canary", "600", executable="sleep", env=environment)
    libc = ctypes.CDLL(None, use_errno=True)
    shared = libc.shmget(os.getpid(), 4096, 0o1600)
    paths: dict[str, Any] = {
        "home": str(home), "other_home": str(other), "state": str(state), "wt": str(wt), "objects": str(objects),
        "tmp_file": str(temporary), "agent_socket": os.path.relpath(agent, wt), "abstract": abstract,
        "port": tcp.getsockname()[1], "port6": tcp6.getsockname()[1] if tcp6 else 0, "pid": target.pid,
        "canary_env": f"CANARY_ENV={CANARY}", "x86": X86, "shm": os.getpid(), "ipv6": with_ipv6,
    }  # fmt: skip
    box = Box(state / "home", (wt,), (objects,), (wt / ".git", wt / "a" / "b" / "kept"))
    try:
        yield World(paths, box, sandbox)
    finally:
        target.kill()
        await target.wait()
        libc.shmctl(shared, 0, None)
        temporary.unlink(missing_ok=True)
        for each in (tcp, *unix, *([tcp6] if tcp6 else [])):
            each.close()


@pytest.mark.parametrize("name", ATTEMPTS)
async def test_an_agent_cannot(world: World, name: str) -> None:
    attempt = ATTEMPTS[name]
    done, said = await world.attempt(attempt.script, world.sandbox.enter(world.box))
    assert done.exit_code not in (0, None), f"escaped: {said}"
    held = done.exit_code == 3 or any(word in said for word in ("OSError", "Error: [Errno", "timed out"))
    assert held, f"the attempt itself is broken: {said}"
    wanted = {"yes": True, "root": ROOT, "ipv6": world.paths["ipv6"], "no": False, "cores": core_limit() != (0, 0)}
    if wanted[attempt.control]:
        done, said = await world.attempt(attempt.script, run_tree)
        assert done.exit_code == 0, f"the control run outside the box must succeed: {said}"


def core_limit() -> tuple[int, int]:
    import resource

    return resource.getrlimit(resource.RLIMIT_CORE)


async def test_what_belongs_to_the_box_works(world: World) -> None:
    """The control of all the others: a box in which nothing works would hold everything."""
    script = """
assert open(W["objects"] + "/pack").read() == "canary-4711"
open(W["wt"] + "/new", "w").write("written")
open(W["wt"] + "/a/b/new", "w").write("written")
open(os.environ["HOME"] + "/cache", "w").write("written")
for place in ("/tmp", "/var/tmp", "/dev/shm", "/run"): open(place + "/auto-dev-only-inside", "w").write("x")
assert open(W["wt"] + "/.git").read().startswith("gitdir")
assert subprocess.run(["sh", "-c", "exit 5"]).returncode == 5
a, b = os.openpty()
with socket.create_server(("127.0.0.1", 0)) as s: socket.create_connection(s.getsockname()).close()
open("/proc/self/oom_score_adj", "w").write("500")
assert os.cpu_count() > 0 and os.getloadavg() and socket.gethostbyname("localhost") == "127.0.0.1"
print("all good")
"""
    done, said = await world.attempt(script, world.sandbox.enter(world.box))
    assert (done.exit_code, said.strip()) == (0, "all good"), said
    assert (Path(world.paths["wt"]) / "new").read_text() == "written"
    assert not Path("/tmp/auto-dev-only-inside").exists()


AS_USER = """
import asyncio, json, os, sys
from pathlib import Path
sys.path.insert(0, sys.argv[1])
from auto_dev.sandbox.base import Box
from auto_dev.sandbox.probe import Problem, find

async def main():
    place = Path(sys.argv[2])
    sandbox = find(os.environ)
    if isinstance(sandbox, Problem):
        print(json.dumps({"problem": sandbox.what})); return
    box = Box(place / "home", (place / "wt",), (), (place / "wt" / ".git",), processes=64)
    results = {}
    for name, script in json.loads(sys.argv[3]).items():
        done = await sandbox.enter(box)(["sh", "-c", script], cwd=place / "wt", env={"PATH": "/usr/bin:/bin"},
                                        output=place / "out", timeout_s=20)
        results[name] = [done.exit_code, (place / "out").read_text()[-300:]]
    print(json.dumps(results))
asyncio.run(main())
"""


@pytest.mark.skipif(not ROOT, reason="as an ordinary user every other test here is this one")
def test_an_ordinary_user_has_the_same_box(short_tmp: Path) -> None:
    python = shutil.which("python3", path="/usr/bin:/usr/local/bin")
    code = "import sys; sys.exit(sys.version_info < (3, 11))"
    if python is None or subprocess.run([python, "-c", code], check=False).returncode:
        pytest.skip("install a python3 of at least 3.11 in /usr/bin: the one of this test belongs to root alone")
    place = short_tmp / "box"
    for folder in (place, place / "home", place / "wt"):
        folder.mkdir()
        os.chown(folder, 65534, 65534)
    (place / "wt" / ".git").write_text("gitdir: x\n")
    scripts = {
        "worktree": "echo x > new && cat new",
        "gitfile": "echo x > .git",
        "home": "echo x > ~/x",
        "shadow": "cat /etc/shadow",
        "core": "test -w /proc/sys/kernel/core_pattern",
        "userns": "unshare -U true",
        "caps": "grep -q 'CapBnd:.0000000000000000' /proc/self/status",
        "forks": "for i in $(seq 100); do sleep 2 & done",
    }
    package = Path(__file__).parents[2]
    done = subprocess.run(
        [python, "-I", "-c", AS_USER, str(package), str(place), json.dumps(scripts)], user=65534, group=65534,
        extra_groups=[], env={"PATH": "/usr/bin:/bin", "HOME": str(place)}, cwd=place, capture_output=True,
        text=True, check=False, timeout=60,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    results = json.loads(done.stdout)
    if "problem" in results:
        pytest.skip(f"ordinary users have no sandbox here: {results['problem']}")
    codes = {name: code == 0 for name, (code, _) in results.items()}
    wanted = {name: name in ("worktree", "home", "caps") for name in scripts}
    assert codes == wanted, results
    assert "fork" in results["forks"][1].lower()
