"""The guardian: the parent of the command that ``elector run`` runs, and its end if need be.

A process of its own, started before the election is won, with no threads and nothing of
Elector in it: it is run as a plain file by ``python -I -S``. That gives three things that
the supervisor cannot give itself (docs/decisions/0007-guardian.md):

* when the supervisor dies, even by SIGKILL, the end of their socket tells the guardian, which
  kills the command and waits for its end **before** it lets go of the lifelines;
* when the supervisor is frozen, the guardian still has the deadlines it was last told:
  TERM at the soft one, KILL before the hard one;
* the command is forked from a process without threads, in which fork is safe.

When the guardian itself is killed, the kernel kills the command (parent-death signal, Linux).

Where lifelines tell nobody anything, because the store is behind a network, the guardian keeps a
*farewell* (`elector.runtime.farewell`), a process that releases the office when it is told that
the command is dead and the supervisor gone, and at no other time.

It is told, as JSON lines: ``{"start": {...}}`` (with the lifelines as descriptors),
``{"farewell": {...}}``, ``{"until": [soft_ns, kill_ns]}``, ``{"stop": true}``, ``{"signal": n}``,
``{"kill": true}``, ``{"goodbye": true}`` (the supervisor has released, and ends).
It tells: ``{"ready": true}``, ``{"started": pid}``, ``{"failed": errno}``, ``{"late": true}`` (told
to start after the soft deadline, so it did not), ``{"refused": n}`` (a signal that it may not
send), ``{"exited": status, "at": ns, "left": 0}`` (1: some of the group could not be ended),
``{"farewell_ended": status}``.
"""

import contextlib
import ctypes
import json
import os
import select
import signal
import socket
import sys
import time

_PR_SET_PDEATHSIG, _PR_SET_CHILD_SUBREAPER = 1, 36
_CLOCK = getattr(time, "CLOCK_BOOTTIME", time.CLOCK_MONOTONIC)
_NEVER = 1 << 62
_LONGEST_SLEEP_NS = 1_000_000_000
_GROUP_PATIENCE_NS = 2_000_000_000
# A short command, and the beginning of any, need not share the processor with a farewell.
_FAREWELL_AFTER_NS = 1_000_000_000
# A terminal's signals are for the command's group; the guardian must outlive them.
_IGNORED = ("SIGINT", "SIGTERM", "SIGHUP", "SIGQUIT", "SIGUSR1", "SIGUSR2", "SIGTSTP", "SIGTTOU")
# Python ignores these for itself; programs expect them to work.
_PYTHONS_OWN = ("SIGPIPE", "SIGXFSZ")


class Guardian:
    """One supervisor's guardian; runs one command."""

    def __init__(self, control: socket.socket) -> None:
        self._control = control
        self._received = b""
        self._lifelines: list[int] = []
        self._child = 0
        self._soft_ns = self._kill_ns = _NEVER
        self._farewell: _Farewell | None = None
        self._lease_ns = 0  # until about then the office is ours
        self._clean = self._orderly = False
        self._terminal: int | None = None
        self._libc = ctypes.CDLL(None, use_errno=True) if sys.platform == "linux" else None
        self._prctl(_PR_SET_CHILD_SUBREAPER, 1)
        self._inherited = {
            signal.Signals[name]: signal.getsignal(signal.Signals[name]) for name in _IGNORED
        }
        for number in self._inherited:
            signal.signal(number, signal.SIG_IGN)
        self._woken, wake = _wake_up_pipe()
        signal.set_wakeup_fd(wake, warn_on_full_buffer=False)
        signal.signal(signal.SIGCHLD, lambda *_: None)

    def _prctl(self, option: int, value: int) -> None:
        if self._libc is not None:
            self._libc.prctl(option, value, 0, 0, 0)

    def watch(self) -> None:
        """Do what is told until the supervisor is gone, or the command has ended."""
        self._tell(ready=True)
        while True:
            now = time.clock_gettime_ns(_CLOCK)
            self._keep_deadlines(now)
            next_ns = min(self._soft_ns, self._kill_ns, self._farewell_due_ns())
            sleep_ns = min(_LONGEST_SLEEP_NS, max(0, next_ns - now))
            sources: list[int | socket.socket] = [self._control, self._woken]
            readable, _, _ = select.select(sources, [], [], sleep_ns / 1e9 if self._child else None)
            if self._woken in readable:
                with contextlib.suppress(BlockingIOError):
                    os.read(self._woken, 4096)
                self._reap()
            if self._control in readable and not self._listen():
                self._end_command()
                self._bid_farewell()
                return

    def _keep_deadlines(self, now: int) -> None:
        if now >= self._soft_ns:
            self._soft_ns = _NEVER
            self._signal(signal.SIGTERM)
        if now >= self._kill_ns:
            self._kill_ns = _NEVER
            self._signal(signal.SIGKILL)
        if self._child and now >= self._farewell_due_ns():
            self._start_farewell()

    # -- orders --------------------------------------------------------------------------

    def _listen(self) -> bool:
        """Take orders; False when the supervisor is gone."""
        try:
            data, lifelines, _, _ = socket.recv_fds(self._control, 1 << 20, 8)
        except OSError:
            return False
        self._lifelines += lifelines
        self._received += data
        *lines, self._received = self._received.split(b"\n")
        for line in lines:
            self._obey(json.loads(line))
        return bool(data)

    def _obey(self, order: dict[str, object]) -> None:
        match order:
            case {"start": {"argv": argv, "env": env, "terminal": terminal, "until": until}}:
                self._set_deadlines(*until)
                if time.clock_gettime_ns(_CLOCK) >= self._soft_ns:  # we were frozen meanwhile
                    self._tell(late=True)
                else:
                    self._start(argv, env, terminal)
            case {"until": [int(soft_ns), int(kill_ns)]}:
                self._set_deadlines(soft_ns, kill_ns)
            case {"farewell": {"argv": argv, "env": env, "will": will}}:
                self._farewell = _Farewell(argv, env, will)
            case {"stop": True}:
                self._soft_ns = _NEVER
                self._signal(signal.SIGTERM)
            case {"signal": int(number)}:
                self._signal(number)
            case {"kill": True}:
                self._signal(signal.SIGKILL)
            case {"goodbye": True}:
                self._orderly = True

    def _set_deadlines(self, soft_ns: int, kill_ns: int) -> None:
        self._soft_ns, self._kill_ns = soft_ns, kill_ns
        self._lease_ns = kill_ns

    def _tell(self, **news: int) -> None:
        with contextlib.suppress(OSError):
            self._control.sendall(json.dumps(news).encode() + b"\n")

    # -- the command ---------------------------------------------------------------------

    def _start(self, argv: list[str], env: dict[str, str], terminal: int | None) -> None:
        self._terminal = terminal
        trouble, report = os.pipe()
        guardian = os.getpid()
        child = os.fork()
        if child == 0:
            self._become(argv, env, report, guardian)
        os.close(report)
        with contextlib.suppress(OSError):
            os.setpgid(child, child)  # both sides do it, so that neither has to wait
        failure = os.read(trouble, 16)
        os.close(trouble)
        if failure:
            os.waitpid(child, 0)
            self._take_terminal_back()
            self._tell(failed=int(failure))
            return
        self._child = child
        self._tell(started=child)

    def _become(self, argv: list[str], env: dict[str, str], report: int, guardian: int) -> None:
        """In the forked child: turn into the command."""
        try:
            os.setpgid(0, 0)
            self._prctl(_PR_SET_PDEATHSIG, signal.SIGKILL)
            if guardian != os.getppid():  # it died before the line above
                os._exit(1)
            if self._terminal is not None:
                with contextlib.suppress(OSError):  # it has hung up
                    os.tcsetpgrp(self._terminal, os.getpgrp())  # SIGTTOU is ignored here
            for number, before in self._inherited.items():
                ignored = before is signal.SIG_IGN
                signal.signal(number, signal.SIG_IGN if ignored else signal.SIG_DFL)
            for name in _PYTHONS_OWN:
                signal.signal(signal.Signals[name], signal.SIG_DFL)
            signal.signal(signal.SIGCHLD, signal.SIG_DFL)
            for lifeline in self._lifelines:
                os.set_inheritable(lifeline, True)
            os.execvpe(argv[0], argv, env)  # noqa: S606 - no shell, on purpose
        except OSError as error:
            os.write(report, str(error.errno).encode())
        finally:
            os._exit(127)

    def _signal(self, number: int) -> None:
        if self._child:
            try:
                os.killpg(self._child, number)
            except PermissionError:
                self._tell(refused=number)
            except OSError:
                pass  # it has just ended

    def _reap(self) -> None:
        """Take the ends of children; the command's own end is the end of the work."""
        while True:
            try:
                pid, status = os.waitpid(-1, os.WNOHANG | os.WUNTRACED)
            except ChildProcessError:
                return
            if pid == 0:
                return
            if pid != self._child:
                if self._farewell is not None and pid == self._farewell.pid:
                    self._farewell_ended(status)
                continue
            if os.WIFSTOPPED(status):
                if self._terminal is not None and os.WSTOPSIG(status) == signal.SIGTSTP:
                    self._signal(signal.SIGCONT)  # no job control: a stopped leader is no leader
                continue
            at = time.clock_gettime_ns(_CLOCK)
            self._clean = self._sweep_group()
            self._child = 0
            self._take_terminal_back()
            self._tell(exited=status, at=at, left=int(not self._clean))

    def _sweep_group(self) -> bool:
        """What the command left behind in its group is work too: end it, and see it end."""
        group, patience = self._child, time.clock_gettime_ns(_CLOCK) + _GROUP_PATIENCE_NS
        while time.clock_gettime_ns(_CLOCK) < patience:
            try:
                os.killpg(group, signal.SIGKILL)
                while os.waitpid(-group, os.WNOHANG)[0]:
                    pass
            except ChildProcessError:
                pass
            except ProcessLookupError:
                return True
            except PermissionError:
                return False  # it has become somebody else's
            time.sleep(0.001)
        return False

    def _take_terminal_back(self) -> None:
        if self._terminal is not None:
            with contextlib.suppress(OSError):
                os.tcsetpgrp(self._terminal, os.getpgid(os.getppid()))

    def _end_command(self) -> None:
        """The supervisor is gone: the lifelines end with us, and we after the command."""
        while self._child:
            self._signal(signal.SIGKILL)
            self._await_children()

    def _await_children(self) -> None:
        select.select([self._woken], [], [], 0.05)
        with contextlib.suppress(BlockingIOError):
            os.read(self._woken, 4096)
        self._reap()

    # -- the farewell --------------------------------------------------------------------

    def _farewell_due_ns(self) -> int:
        return _NEVER if self._farewell is None else self._farewell.due_ns

    def _start_farewell(self) -> None:
        if self._farewell is not None:
            try:
                self._farewell.start()
            except OSError:
                self._farewell_ended(1 << 8)

    def _farewell_ended(self, status: int) -> None:
        if not os.WIFSTOPPED(status):
            self._farewell = None
            self._tell(farewell_ended=status)

    def _bid_farewell(self) -> None:
        """The command is dead, the supervisor gone: if that did not release, have it released.

        What of the command could not be ended may still be at work: then the lease has to run out.
        """
        if self._clean and not self._orderly:
            _let_go_of_streams()
            if self._farewell_due_ns() != _NEVER:
                self._start_farewell()
            if self._farewell is not None:
                self._farewell.tell(release_by=self._lease_ns)
            while self._farewell is not None and time.clock_gettime_ns(_CLOCK) < self._lease_ns:
                self._await_children()
        if self._farewell is not None:
            self._farewell.end()


class _Farewell:
    """A farewell as the guardian sees it: its child, in a group of its own, at the end of a line.

    Args:
        argv: how to start it; the line's number is put behind that.
        env: its environment.
        will: what it is told first; it may hold the store's secret.
    """

    def __init__(self, argv: list[str], env: dict[str, str], will: dict[str, object]) -> None:
        self.due_ns = time.clock_gettime_ns(_CLOCK) + _FAREWELL_AFTER_NS
        self.pid = 0
        self._argv, self._env, self._will = argv, env, will
        self._line: socket.socket | None = None

    def start(self) -> None:
        """It ignores a terminal's signals from the very first, for it inherits that from us."""
        self.due_ns = _NEVER
        self._line, theirs = socket.socketpair()
        self._line.setblocking(False)  # whatever it does, it may not hold us up
        with theirs:
            theirs.set_inheritable(True)
            self.pid = os.posix_spawn(
                self._argv[0],
                [*self._argv, str(theirs.fileno())],
                self._env,
                file_actions=[
                    (os.POSIX_SPAWN_OPEN, 0, os.devnull, os.O_RDWR, 0),
                    (os.POSIX_SPAWN_DUP2, 0, 1),
                ],
                setpgroup=0,
            )
        self.tell(**self._will)

    def tell(self, **order: object) -> None:
        if self._line is not None:
            with contextlib.suppress(OSError):
                self._line.sendall(json.dumps(order).encode() + b"\n")

    def end(self) -> None:
        """Leave nothing behind; its number is still its own, for only we can reap it."""
        if self.pid:
            os.kill(self.pid, signal.SIGKILL)
            os.waitpid(self.pid, 0)


def _let_go_of_streams() -> None:
    """Whoever reads what elector wrote should not have to wait for what we still have to do."""
    null = os.open(os.devnull, os.O_RDWR)
    for stream in range(3):
        os.dup2(null, stream)


def _wake_up_pipe() -> tuple[int, int]:
    """A pipe that signals and other threads write to; neither end ever blocks."""
    ends = os.pipe()
    for end in ends:
        os.set_blocking(end, False)
    return ends


if __name__ == "__main__":
    line = socket.socket(fileno=int(sys.argv[1]))
    line.set_inheritable(False)  # not for the command: its end must be our end
    Guardian(line).watch()
    os._exit(0)
