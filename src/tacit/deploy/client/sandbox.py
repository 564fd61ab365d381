"""What user code may not do: applied by the worker before it runs any.

Three independent fences, each where the platform has it. Limits of the operating system
(`resource`) everywhere; a seccomp filter (Linux, through pyseccomp and libseccomp) against sockets,
new processes and system calls that have no place in a computation; Landlock (Linux) against files
other than those named. No fence stops a bug of the kernel: what must stay secret from approved code
at any price belongs to another user or machine.
"""

from __future__ import annotations

import errno
import importlib
import os
import resource
import sys
from dataclasses import dataclass
from pathlib import Path
from typing import Any, NamedTuple, final

from tacit.deploy.client.landlock import Access, restrict, version

_FORBIDDEN = (
    *("socket", "io_uring_setup", "io_uring_enter", "io_uring_register"),
    *("ptrace", "process_vm_readv", "process_vm_writev", "process_madvise", "kcmp"),
    *("pidfd_getfd", "pidfd_send_signal", "setsid", "setpgid", "unshare", "setns"),
    *("mount", "umount2", "pivot_root", "chroot", "move_mount", "open_tree", "mount_setattr"),
    *("fsopen", "fsconfig", "fsmount", "fspick", "open_by_handle_at", "quotactl"),
    *("kexec_load", "kexec_file_load", "init_module", "finit_module", "delete_module"),
    *("bpf", "perf_event_open", "userfaultfd", "keyctl", "add_key", "request_key"),
    *("reboot", "swapon", "swapoff", "acct", "syslog", "iopl", "ioperm"),
    *("settimeofday", "clock_settime", "sethostname", "setdomainname"),
    # Rights, owners and times of files: Landlock guards their content only.
    *("chmod", "fchmod", "fchmodat", "fchmodat2", "chown", "fchown", "lchown", "fchownat"),
    *("setxattr", "lsetxattr", "fsetxattr", "removexattr", "lremovexattr", "fremovexattr"),
    *("utime", "utimes", "futimesat", "utimensat"),
)
"""Refused with EPERM, like a missing right. io_uring opens sockets past such a filter."""

_NEW_PROCESS = ("fork", "vfork", "execve", "execveat")
_SIGNALS = ("kill", "tgkill", "rt_sigqueueinfo", "rt_tgsigqueueinfo")
"""Their first argument is the process that is meant."""

_THREAD = 0x00010000
"""CLONE_THREAD: of the kinds of `clone`, the one that stays in the process."""

_SYSTEM = (
    *("/usr", "/lib", "/lib64", "/lib32", "/bin"),
    *("/proc/self", "/proc/cpuinfo", "/proc/meminfo", "/proc/stat"),
    *("/sys/devices/system", "/sys/fs/cgroup"),
    *("/etc/ld.so.cache", "/etc/localtime", "/etc/passwd", "/etc/nsswitch.conf"),
)
_DEVICES = ("/dev/null", "/dev/zero", "/dev/urandom", "/dev/random", "/dev/full")


@final
@dataclass(frozen=True)
class Limits:
    """How much a turn may use; 0 stands for no limit, except that no process is no process.

    `memory` in bytes, `seconds` of waiting, `cpu` seconds over all cores, `threads` of the
    numerical libraries, `processes` beside the worker itself, open `files`, bytes `written` to one
    file and printed as `output`.
    """

    memory: int = 8 << 30
    seconds: float = 3600.0
    cpu: float = 0.0
    threads: int = 0
    processes: int = 0
    files: int = 256
    written: int = 4 << 30
    output: int = 16 << 20


class Fences(NamedTuple):
    """What this machine offers: the version of Landlock (0: none), and why there is no seccomp."""

    landlock: int
    no_seccomp: str


def fences() -> Fences:
    """What this machine offers; nothing is applied yet."""
    return Fences(version(), _seccomp()[1])


def readable() -> tuple[Path, ...]:
    """Python, its packages and the system's libraries: what any code needs in order to run."""
    python = {sys.prefix, sys.base_prefix, sys.exec_prefix, *filter(None, sys.path)}
    paths = [Path(path) for path in (*_SYSTEM, *sorted(python))]
    return tuple(path for path in paths if path.exists())


def devices() -> tuple[Path, ...]:
    """Device files that a computation uses: random numbers and graphics processors."""
    cards = sorted(Path("/dev").glob("nvidia*")) if sys.platform == "linux" else []
    return (*map(Path, _DEVICES), *(card for card in cards if not card.is_dir()))


def enter(limits: Limits, access: Access) -> bool:
    """Close the fences around this process, for good; whether no process can be started then.

    It must have one thread still.

    OSError: a fence that this machine offers could not be closed; then no user code may run.
    """
    os.umask(0o077)
    offered = fences()
    _limit(limits)
    if offered.landlock:
        restrict(access)
    if not offered.no_seccomp:
        _filter(limits.processes > 0)
    return not offered.no_seccomp and not limits.processes


def budget(limits: Limits) -> None:
    """Let this process use `limits.cpu` seconds from now on; SIGXCPU ends it behind that."""
    if limits.cpu:
        used = resource.getrusage(resource.RUSAGE_SELF)
        allowed = int(used.ru_utime + used.ru_stime + limits.cpu) + 1
        _, most = resource.getrlimit(resource.RLIMIT_CPU)
        resource.setrlimit(resource.RLIMIT_CPU, (allowed, most))


def report(limits: Limits | None = None, offered: Fences | None = None) -> tuple[str, ...]:
    """Which protections hold for user code on this machine and which do not, in plain words."""
    held, found = limits or Limits(), offered or fences()
    return (*_resources(held), *_calls(held, found), *_files(held, found), *_user())


def _resources(held: Limits) -> tuple[str, ...]:
    memory = f"{held.memory / 2**30:.3g} GiB of memory" if held.memory else "any memory"
    time = f"{held.seconds:g} s a turn" if held.seconds else "any time"
    return (
        "on: user code runs in a child process without the owner's keys and with a short "
        "environment",
        f"on: limits of {memory}, {time}, {held.files} open files",
    )


def _calls(held: Limits, found: Fences) -> tuple[str, ...]:
    if found.no_seccomp:
        tcp = "TCP is refused by Landlock" if found.landlock >= 4 else "user code reaches it"
        return (
            f"off: seccomp ({found.no_seccomp})",
            f"off: the network ({tcp}; other protocols are open)",
            "off: new processes are counted and ended, not refused",
        )
    processes = "can be started, up to a limit" if held.processes else "are refused"
    return (
        "on: the network: no socket can be opened (seccomp)",
        f"on: new processes {processes}; tracing, mounts, kernel keys and the like are refused "
        "(seccomp)",
    )


def _files(held: Limits, found: Fences) -> tuple[str, ...]:
    others = found.landlock >= 6 or not (found.no_seccomp or held.processes)
    signals = "off: other processes of this user can be signalled"
    if others:
        signals = "on: other processes cannot be signalled"
    if not found.landlock:
        return (
            "off: files (no Landlock): code that ran as this user could read the client's key; "
            "nothing but your review of the code protects it here",
            signals,
        )
    return (
        "on: files: only the data set, Python and the system's libraries can be read; the client's "
        f"home cannot (Landlock {found.landlock})",
        signals,
    )


def _user() -> tuple[str, ...]:
    if os.geteuid():
        return ()
    return ("off: the client runs as root; give it a user of its own",)


def _limit(limits: Limits) -> None:
    _lower(resource.RLIMIT_CORE, 0)
    _lower(resource.RLIMIT_NOFILE, limits.files)
    _lower(resource.RLIMIT_FSIZE, limits.written)
    # Not the address space: torch and CUDA reserve far more of it than they use.
    _lower(resource.RLIMIT_DATA, limits.memory)


def _lower(kind: int, most: int) -> None:
    """A limit that this process cannot raise again; 0 is a limit for core files alone."""
    _, ceiling = resource.getrlimit(kind)
    if ceiling != resource.RLIM_INFINITY:
        most = min(most, ceiling) if most else ceiling
    if most or kind == resource.RLIMIT_CORE:
        resource.setrlimit(kind, (most, most))


def _seccomp() -> tuple[Any, str]:
    """The library, or why there is none."""
    if sys.platform != "linux":
        return None, "Linux alone has it"
    try:
        return importlib.import_module("pyseccomp"), ""
    except ImportError:
        return None, "the package pyseccomp is not installed"
    except (RuntimeError, OSError, AttributeError):
        return None, "the system's library libseccomp.so.2 is not installed"


def _filter(processes: bool) -> None:
    library = _seccomp()[0]
    rules = library.SyscallFilter(library.ALLOW)
    denied = library.ERRNO(errno.EPERM)
    for name in (*_FORBIDDEN, *(() if processes else _NEW_PROCESS)):
        _deny(library, rules, denied, name)
    if not processes:
        # clone3 keeps its flags where a filter cannot look; the C library falls back to clone.
        _deny(library, rules, library.ERRNO(errno.ENOSYS), "clone3")
        thread = library.Arg(0, library.MASKED_EQ, _THREAD, 0)
        _deny(library, rules, denied, "clone", thread)
        for name in _SIGNALS:
            _deny(library, rules, denied, name, library.Arg(0, library.NE, os.getpid()))
        _deny(library, rules, denied, "tkill")
    _deny(library, rules, denied, "prlimit64", library.Arg(0, library.NE, 0))
    rules.load()


def _deny(library: Any, rules: Any, action: int, name: str, *arguments: Any) -> None:
    number = library.resolve_syscall(library.Arch.NATIVE, name)
    if number >= 0:  # otherwise younger than the library, or of another architecture
        rules.add_rule(action, number, *arguments)
