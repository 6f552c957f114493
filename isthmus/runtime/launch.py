"""Run by its path, before a child's own program: ties the child's life to ours, and lets anyone start PostgreSQL.

PostgreSQL refuses root, and `initdb` also a user whom the machine has no name for, as containers run them.

A program of its own instead of code between fork and exec, because forking a process that has threads may deadlock, and because a
user namespace can only be entered by a process without threads. It imports nothing of ours, to start in 20 ms.

    python -I -S launch.py PARENT SIGNAL UNPRIVILEGED COMMAND...

Linux sends SIGNAL when the starting *thread* ends, so only main threads may start children. It is set after the change of user,
which would clear it. Elsewhere there is no such thing: the next `up` ends what an earlier one left behind.
"""

import ctypes
import os
import pwd
import signal
import sys

_PR_SET_PDEATHSIG = 1
_CLONE_NEWUSER = 0x10000000
NOBODY = 65534
CANNOT_LAUNCH = 70


def postgres_accepts(user: int) -> bool:
    try:
        return user != 0 and bool(pwd.getpwuid(user).pw_name)
    except KeyError:
        return False


def enter_user_namespace() -> None:
    """Be `nobody` inside, and stay who we are outside: files keep their owner, and PostgreSQL sees a user that it accepts."""
    inside = NOBODY if postgres_accepts(NOBODY) else next((u.pw_uid for u in pwd.getpwall() if u.pw_uid), NOBODY)
    libc = ctypes.CDLL(None, use_errno=True)
    user, group = os.getuid(), os.getgid()
    if libc.unshare(_CLONE_NEWUSER) != 0:
        raise OSError(ctypes.get_errno(), "this machine refuses user namespaces")
    for name, text in (("setgroups", "deny"), ("uid_map", f"{inside} {user} 1"), ("gid_map", f"{inside} {group} 1")):
        with open(f"/proc/self/{name}", "w") as file:
            file.write(text)


def die_with_parent(parent: int, number: int) -> None:
    if sys.platform != "linux":
        return
    ctypes.CDLL(None, use_errno=True).prctl(_PR_SET_PDEATHSIG, number, 0, 0, 0)
    if os.getppid() != parent:  # it died before we had asked
        os._exit(CANNOT_LAUNCH)


def main() -> None:
    parent, number, unprivileged, *command = sys.argv[1:]
    # A shell starts what it puts in the background with SIGINT ignored, and that would be inherited.
    for name in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP, signal.SIGPIPE):
        signal.signal(name, signal.SIG_DFL)
    signal.pthread_sigmask(signal.SIG_SETMASK, ())
    try:
        if unprivileged == "1" and not postgres_accepts(os.getuid()):
            enter_user_namespace()
        die_with_parent(int(parent), int(number))
        os.execv(command[0], command)  # noqa: S606  # that is what this is for
    except OSError as error:
        sys.stderr.write(f"cannot start {command[0]}: {error}\n")
        sys.exit(CANNOT_LAUNCH)


if __name__ == "__main__":
    main()
