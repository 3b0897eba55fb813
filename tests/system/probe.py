"""Tries, inside of a machine, what the daemon's sandbox must not let it do.

Prints one line a trial: its name, `allowed` or `denied`, and how it ended. Each
trial runs in a process of its own, because a filter of system calls may kill.
"""

import ctypes
import mmap
import os
import socket
import sys

libc = ctypes.CDLL(None, use_errno=True)
libc.mmap.restype = ctypes.c_void_p
libc.mmap.argtypes = [ctypes.c_void_p, ctypes.c_size_t, ctypes.c_int, ctypes.c_int, ctypes.c_int,
                      ctypes.c_long]
libc.mprotect.argtypes = [ctypes.c_void_p, ctypes.c_size_t, ctypes.c_int]

CLONE_NEWUSER, CLONE_NEWNS, CLONE_NEWNET = 0x10000000, 0x00020000, 0x40000000
PTRACE_ATTACH = 16


def call(number_or_function, *arguments):
    """A call of libc that says by -1 that it failed."""
    if number_or_function(*arguments) == -1:
        number = ctypes.get_errno()
        raise OSError(number, os.strerror(number))


def write_and_execute():
    memory = libc.mmap(None, 4096, mmap.PROT_READ | mmap.PROT_WRITE | mmap.PROT_EXEC,
                       mmap.MAP_PRIVATE | mmap.MAP_ANONYMOUS, -1, 0)
    if memory == ctypes.c_void_p(-1).value:
        raise OSError(ctypes.get_errno(), os.strerror(ctypes.get_errno()))


def execute_what_was_written():
    memory = libc.mmap(None, 4096, mmap.PROT_READ | mmap.PROT_WRITE,
                       mmap.MAP_PRIVATE | mmap.MAP_ANONYMOUS, -1, 0)
    call(libc.mprotect, memory, 4096, mmap.PROT_READ | mmap.PROT_EXEC)


def writes(path):
    def trial():
        with open(path, "w", encoding="ascii") as file:
            file.write("x")
        os.unlink(path)
    return trial


def reads(path):
    def trial():
        with open(path, "rb") as file:
            file.read(1)
    return trial


def lists(path):
    def trial():
        if not os.listdir(path):
            raise OSError(0, "it is empty")
    return trial


def opens(family, kind, protocol=0):
    def trial():
        socket.socket(family, kind, protocol).close()
    return trial


def other_processes():
    others = [name for name in os.listdir("/proc") if name == "1"]
    if not others:
        raise OSError(0, "process 1 is not to be seen")


def attach():
    call(libc.ptrace, PTRACE_ATTACH, int(sys.argv[1]), 0, 0)


def become_root():
    os.setuid(0)
    if os.geteuid() != 0:
        raise OSError(0, "not root")
    os.setgid(12345)


def make_setuid():
    path = os.path.join(os.environ.get("STATE_DIRECTORY", "/var/tmp"), "setuid")
    with open(path, "w", encoding="ascii"):
        pass
    try:
        os.chmod(path, 0o4755)
        if not os.stat(path).st_mode & 0o4000:
            raise OSError(0, "the bit is not set")
    finally:
        os.unlink(path)


def realtime():
    os.sched_setscheduler(0, os.SCHED_FIFO, os.sched_param(1))


# Own things, which must stay allowed: a sandbox that denies everything is none.
MUST = {
    "write-state": lambda: writes(os.path.join(os.environ["STATE_DIRECTORY"], "probe"))(),
    "write-runtime": lambda: writes(os.path.join(os.environ["RUNTIME_DIRECTORY"], "probe"))(),
    "ipv4": opens(socket.AF_INET, socket.SOCK_STREAM),
    "ipv6": opens(socket.AF_INET6, socket.SOCK_DGRAM),
    "unix": opens(socket.AF_UNIX, socket.SOCK_STREAM),
    "netlink": opens(socket.AF_NETLINK, socket.SOCK_RAW),
    "read-configuration": reads("/etc/p2p-node/p2p-node.env"),
}

MUST_NOT = {
    "write-and-execute": write_and_execute,
    "execute-what-was-written": execute_what_was_written,
    "packet-socket": opens(socket.AF_PACKET, socket.SOCK_RAW, 0x0300),
    "raw-socket": opens(socket.AF_INET, socket.SOCK_RAW, socket.IPPROTO_ICMP),
    "vsock": opens(socket.AF_VSOCK, socket.SOCK_STREAM),
    "write-etc": writes("/etc/probe"),
    "write-own-configuration": writes("/etc/p2p-node/probe"),
    "write-usr": writes("/usr/bin/probe"),
    "write-var-lib": writes("/var/lib/probe"),
    "read-home": lists("/home"),
    "read-root-home": lists("/root"),
    "read-shadow": reads("/etc/shadow"),
    "see-other-processes": other_processes,
    "ptrace": attach,
    "mount": lambda: call(libc.mount, b"tmpfs", b"/mnt", b"tmpfs", 0, None),
    "user-namespace": lambda: call(libc.unshare, CLONE_NEWUSER),
    "mount-namespace": lambda: call(libc.unshare, CLONE_NEWNS),
    "network-namespace": lambda: call(libc.unshare, CLONE_NEWNET),
    "become-root": become_root,
    "setuid-file": make_setuid,
    "realtime": realtime,
    "device": lambda: os.mknod(os.path.join(os.environ.get("STATE_DIRECTORY", "/var/tmp"), "node"),
                               0o020600, os.makedev(1, 3)),
    "change-personality": lambda: call(libc.personality, 0x0400000),
    "hostname": lambda: call(libc.sethostname, b"x", 1),
    "chroot": lambda: os.chroot("/usr"),
    "run-a-shell": lambda: os.execv("/bin/true", ["true"]),
}


def attempt(trial):
    """Runs it in a child; returns the verdict."""
    reading, writing = os.pipe()
    child = os.fork()
    if child == 0:
        os.set_inheritable(writing, False)
        code = 0
        try:
            trial()
        except OSError as error:
            os.write(writing, (error.strerror or str(error)).encode())
            code = 1
        except BaseException as error:  # pylint: disable=broad-except
            os.write(writing, f"broken trial: {error!r}".encode())
            code = 3
        os._exit(code)
    os.close(writing)
    with os.fdopen(reading) as file:
        said = file.read()
    _, status = os.waitpid(child, 0)
    if os.WIFSIGNALED(status):
        return f"denied killed by signal {os.WTERMSIG(status)}"
    return {0: "allowed", 1: f"denied {said}"}.get(os.WEXITSTATUS(status), f"broken {said}")


for kind, trials in (("must", MUST), ("must-not", MUST_NOT)):
    for name, trial in trials.items():
        print(f"{kind} {name} {attempt(trial)}", flush=True)
