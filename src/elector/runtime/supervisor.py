"""The supervisor: a front end whose work is a command.

It runs on the main thread, where signals arrive; the engine keeps the lease on its own
thread, and the guardian (`elector.runtime.guardian`) is the command's parent. Everything
that happens comes together in one `select`: signals, news from the engine, and the
guardian's reports.
"""

import contextlib
import json
import os
import select
import signal
import socket
import sys
from collections import deque
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import msgspec

from elector.clock import now_ns
from elector.core.duration import SECOND_NS
from elector.core.events import Start, Withdraw
from elector.core.office import EndReason, Led, Observation, Unknown, Vacant
from elector.errors import (
    ElectorError,
    LeadershipLost,
    StoreCorrupt,
    StoreError,
    UnsupportedTrait,
)
from elector.runtime.driver import Driver, Listener, join
from elector.runtime.engine import Engine
from elector.runtime.holding import Holding
from elector.runtime.settings import Settings
from elector.stores.port import Grant, Traits

if TYPE_CHECKING:
    from elector.runtime.recorder import Recorder

EXIT_NOT_ELECTED = 75
EXIT_LEADERSHIP_LOST = 76
EXIT_CANNOT_EXECUTE = 126
EXIT_NOT_FOUND = 127

_ENDING = (signal.SIGTERM, signal.SIGINT, signal.SIGQUIT)
_FORWARDED = (signal.SIGHUP, signal.SIGUSR1, signal.SIGUSR2, signal.SIGWINCH)
_LONGEST_KILL_LEAD_NS = 250_000_000
_LEAVE_PATIENCE_NS = 2 * SECOND_NS
_KILL_PATIENCE_NS = 2 * SECOND_NS
_STILLBORN_AT_MOST = 3
_PR_SET_CHILD_SUBREAPER = 36
_LONGEST_SLEEP_NS = SECOND_NS  # the clock of `select` stops in suspend, that of leases does not

Say = Callable[..., None]


class Job(msgspec.Struct, frozen=True):
    """What to run, and how to go on from its end.

    Attributes:
        argv: the command; no shell.
        timeout_ns: how long to wait to be elected, None for ever.
        campaign_on_loss: after a tenure that ended before the command, stand again.
        once: do not run if another candidate's work was completed while we waited.
    """

    argv: tuple[str, ...]
    timeout_ns: int | None = None
    campaign_on_loss: bool = False
    once: bool = False


class Supervisor:
    """Runs one `Job` as one candidate.

    Args:
        settings: of the candidate; `on_overrun` is the supervisor's own affair.
        job: the command.
        say: ``say(event, text, **facts)`` tells people what happens.
        recorder: writes the candidate's trace.
    """

    def __init__(
        self, settings: Settings, job: Job, say: Say, recorder: "Recorder | None" = None
    ) -> None:
        self._settings = msgspec.structs.replace(settings, on_overrun=self._overrun)
        self._job = job
        self._say = say
        self._recorder = recorder
        self._news: deque[Callable[[], None]] = deque()
        self._woken, self._wake = _wake_up_pipe()
        self._driver: Driver | None = None
        self._guardian: _Line | None = None
        self._holding: Holding | None = None
        self._group = 0
        self._terminal: int | None = None  # lent to the command
        self._heard = False
        self._stillborn = 0  # guardians in a row that ended before they were ready
        self._ending: int | None = None
        self._exit_code: int | None = None
        self._first_token = 0
        self._give_up_at: int | None = None

    def run(self) -> int:
        """Stand, work, and return the exit code.

        Raises:
            StoreUnavailable: the store does not answer at the start.
            StoreCorrupt: what it holds cannot be trusted.
        """
        self._guardian = _Line.spawn()  # it starts while we do
        try:
            self._stand_and_work()
            self._leave()
            self._guardian.send(goodbye=True)
        finally:
            self._guardian.close()
            self._reap()
        return self._exit_code or 0

    def _stand_and_work(self) -> None:
        before = self._catch_signals()
        try:
            engine = Engine.current()
            listener = Listener(
                self._on_leads,
                self._on_must_stop,
                self._on_observes,
                self._on_asked,
                self._on_extended,
                self._on_troubled,
            )
            joining = engine.submit(join(engine, self._settings, listener, self._recorder))
            self._driver = joining.result()
            self._remember_where_history_stood()
            self._driver.post(Start)
            self._driver.observe()
            self._watch()
        finally:
            for number, handler in before.items():
                signal.signal(number, handler)
            signal.set_wakeup_fd(-1)

    def _watch(self) -> None:
        if self._job.timeout_ns is not None:
            self._give_up_at = now_ns() + self._job.timeout_ns
        while self._exit_code is None:
            line = self._line()
            sources: list[int | _Line] = [self._woken, line]
            readable, _, _ = select.select(sources, [], [], self._patience())
            if self._woken in readable:
                self._take_signals()
                while self._news and self._exit_code is None:
                    self._news.popleft()()
            if line in readable and line is self._guardian:
                self._hear_guardian()
            self._give_up_if_late()

    def _give_up_if_late(self) -> None:
        if self._exit_code is None and self._patience() == 0:
            self._say("timeout", "not elected in time")
            self._exit_code = EXIT_NOT_ELECTED

    def _patience(self) -> float | None:
        """Seconds until we give up; the store's first answer is always waited for."""
        if self._give_up_at is None or not self._heard:
            return None
        left_ns = self._give_up_at - now_ns()
        return min(max(0, left_ns), _LONGEST_SLEEP_NS) / SECOND_NS

    def _leave(self) -> None:
        """Give back what is held, and wait for that as long as it can matter."""
        driver = self._driver
        if driver is None:
            return
        driver.post(Withdraw)
        patience_ns = min(_LEAVE_PATIENCE_NS, self._settings.timing.ttl_ns)
        try:
            driver.engine.submit(driver.left()).result(patience_ns / SECOND_NS)
        except TimeoutError:
            driver.give_up_leaving()  # so that the interpreter's end does not wait once more

    # -- signals -------------------------------------------------------------------------

    def _catch_signals(self) -> dict[signal.Signals, Any]:
        signal.set_wakeup_fd(self._wake, warn_on_full_buffer=False)
        caught = (*_ENDING, *_FORWARDED, signal.SIGCHLD)
        ignored = [n for n in caught if signal.getsignal(n) is signal.SIG_IGN]  # nohup, for one
        return {number: signal.signal(number, _noted) for number in caught if number not in ignored}

    def _take_signals(self) -> None:
        with contextlib.suppress(BlockingIOError):
            for number in os.read(self._woken, 4096):
                if number in _ENDING:
                    self._end_by(number)
                elif number in _FORWARDED:
                    self._forward(number)
                elif number == signal.SIGCHLD:
                    self._reap()

    def _end_by(self, number: int) -> None:
        """Somebody wants us to end: the command first, if there is one."""
        self._ending = number
        if self._holding is None:
            self._exit_code = 128 + number
        else:
            self._line().send(signal=number)
            self._drive().post(Withdraw)

    def _forward(self, number: int) -> None:
        if self._holding is not None:
            self._line().send(signal=number)
        elif number == signal.SIGHUP:
            self._exit_code = 128 + number

    def _reap(self) -> None:
        """Take the ends of orphans that came to us; the guardian may not be frozen."""
        with contextlib.suppress(ChildProcessError):
            while True:
                pid, status = os.waitpid(-1, os.WNOHANG | os.WUNTRACED)
                if pid == 0:
                    return
                if os.WIFSTOPPED(status) and pid == self._line().pid:
                    os.kill(pid, signal.SIGCONT)

    # -- tenures -------------------------------------------------------------------------

    def _lead(self, holding: Holding) -> None:
        driver = self._drive()
        done_by = self._done_meanwhile(holding)
        if done_by is not None:
            self._say("done", f"{done_by} has done the work meanwhile; nothing to do")
            self._exit_code = 0  # and leave: "completed" would be untrue of this tenure
            return
        try:
            driver.start_work(holding)
        except LeadershipLost:
            driver.work_stopped(holding)
            return
        self._holding, self._give_up_at = holding, None
        grant = driver.grant(holding.token)
        self._terminal = _terminal_in_front()
        self._line().start(
            {
                "argv": self._job.argv,
                "env": self._environment(holding),
                "terminal": self._terminal,
                "until": self._until(holding),
            },
            driver.store.lifelines(grant),
        )
        if _needs_farewell(driver.store.traits):
            self._line().send(farewell=self._farewell(grant))
        self._say("leads", f"{holding.candidate} leads", token=holding.token)
        _inherit_orphans()

    def _environment(self, holding: Holding) -> dict[str, str]:
        inherited = dict(os.environ)
        inherited.pop("ELECTOR_TRACE", None)  # that file is ours; an elector inside would refuse it
        return {
            **inherited,
            "ELECTOR_ELECTION": holding.election,
            "ELECTOR_CANDIDATE": holding.candidate,
            "ELECTOR_TOKEN": str(holding.token),
            "ELECTOR_STORE": str(self._settings.store),
        }

    def _farewell(self, grant: Grant) -> dict[str, object]:
        """How to start the farewell, and what it is to know; the guardian passes that on."""
        script = str(Path(__file__).with_name("farewell.py"))
        return {
            "argv": [sys.executable, *_interpreter_flags(), "-P", script],
            "env": _without_secrets(os.environ),
            "will": {
                "path": sys.path,
                "store": [self._settings.store.scheme, self._settings.store.rest],
                "election": grant.election,
                "candidate": [grant.candidate.name, grant.candidate.instance],
                "token": grant.token,
                "ttl_ns": grant.ttl_ns,
            },
        }

    def _until(self, holding: Holding) -> tuple[int, int]:
        """When to say TERM, and when KILL: a little before nobody else can lead ends."""
        lead_ns = min(self._settings.timing.stop_grace_ns // 4, _LONGEST_KILL_LEAD_NS)
        return holding.deadlines.soft_ns, holding.deadlines.hard_ns - lead_ns

    def _hear_guardian(self) -> None:
        reports = self._line().receive()
        if reports is None:
            self._guardian_died()
            return
        for report in reports:
            match report:
                case {"ready": _}:
                    self._line().ready = True
                case {"started": int(pid)}:
                    self._group = pid
                case {"failed": int(number)}:
                    self._cannot_execute(number)
                case {"late": _}:
                    self._never_started()
                case {"refused": int(number)}:
                    self._say(
                        "error",
                        f"signal {number} was refused: the command runs as another user, so "
                        "elector cannot end it",
                    )
                case {"farewell_ended": int(status)}:
                    self._say(
                        "error",
                        "the process that releases the office if elector is killed has ended "
                        f"itself ({os.waitstatus_to_exitcode(status)}); if elector is killed now, "
                        "nobody leads before the lease has run out",
                    )
                case {"exited": int(status), "at": int(at), "left": int(left)}:
                    self._command_ended(os.waitstatus_to_exitcode(status), at, left=bool(left))

    def _guardian_died(self) -> None:
        """Somebody killed the guardian; the kernel has killed the command with it."""
        self._line().close()
        if self._holding is None:
            self._stillborn = 0 if self._line().ready else self._stillborn + 1
            if self._stillborn == _STILLBORN_AT_MOST:
                command = " ".join(_guardian(0))
                raise ElectorError(f"the guardian ends as soon as it begins; try: {command}")
            self._guardian = _Line.spawn()
            return
        self._say("error", "the guardian was killed, and the command with it")
        patience = now_ns() + _KILL_PATIENCE_NS
        while (left := bool(self._group) and _still_lives(self._group)) and now_ns() < patience:
            self._reap()
            select.select([], [], [], 0.002)
        if self._terminal is not None:
            _take_back(self._terminal)
        self._command_ended(-signal.SIGKILL, now_ns(), left=left)

    def _cannot_execute(self, number: int) -> None:
        why = os.strerror(number)
        self._say("error", f"cannot execute {self._job.argv[0]!r}: {why}")
        if self._holding is not None:
            self._drive().work_stopped(self._holding, failed=True)
        missing = number in {2, 20}  # no such file; a part of the path is no directory
        self._exit_code = EXIT_NOT_FOUND if missing else EXIT_CANNOT_EXECUTE

    def _command_ended(self, code: int, at: int, *, left: bool) -> None:
        """The work has stopped: release at once, then see how to go on."""
        holding, self._holding, self._group = self._holding, None, 0
        if holding is None:
            return
        if not left:
            self._drive().work_stopped(holding, failed=code != 0)
        reason = holding.stop_reason
        if at >= holding.deadlines.soft_ns:
            reason = reason or EndReason.EXPIRED  # we were frozen, and the guardian did its work
        elif reason is EndReason.EXPIRED:
            reason = None  # we were frozen, and it had ended by itself before
        shell_code = 128 - code if code < 0 else code
        self._say("ended", f"the command ended with code {shell_code}", code=shell_code)
        if left:
            self._say(
                "error",
                "processes of its group could not be ended; nobody else leads before they end or "
                "the lease runs out",
            )
        if left or self._ending is not None or reason in {None, EndReason.SHUTDOWN}:
            self._exit_code = shell_code
        else:
            self._office_lost(reason)

    def _never_started(self) -> None:
        """The guardian was frozen until it was too late to begin."""
        holding, self._holding = self._holding, None
        if holding is not None:
            self._drive().work_stopped(holding)
            self._office_lost(holding.stop_reason or EndReason.EXPIRED)

    def _office_lost(self, reason: EndReason | None) -> None:
        if self._job.campaign_on_loss:
            self._line().send(goodbye=True)
            self._line().close()
            self._guardian = _Line.spawn()
        else:
            self._say("lost", f"leadership ended: {reason}", reason=reason)
            self._exit_code = EXIT_LEADERSHIP_LOST

    def _overrun(self, _holding: Holding) -> None:
        """At the hard deadline, from any thread.

        Only the guardian may signal: it alone knows that the number is still the command's.
        """
        self._line().send(kill=True)

    # -- once ------------------------------------------------------------------------------

    def _remember_where_history_stood(self) -> None:
        if not self._job.once:
            return
        driver = self._drive()
        if not driver.store.traits.history:
            raise UnsupportedTrait(
                f"--once asks what others have done, and a {self._settings.store.scheme}:// store "
                "keeps no history: use another store, or leave --once away"
            )
        record = driver.engine.submit(driver.store.describe(self._settings.election)).result()
        self._first_token = record.token if record.leader is not None else record.token + 1

    def _done_meanwhile(self, holding: Holding) -> str | None:
        if not self._job.once:
            return None
        driver = self._drive()
        history = driver.engine.submit(
            driver.store.history(self._settings.election, holding.token - self._first_token + 1)
        ).result()
        for tenure in reversed(history):
            ours = self._first_token <= tenure.token < holding.token
            if ours and tenure.reason == EndReason.COMPLETED:
                return tenure.holder
        return None

    # -- listener, on the engine thread ------------------------------------------------------

    def _on_leads(self, holding: Holding) -> None:
        self._soon(lambda: self._lead(holding))

    def _on_extended(self, holding: Holding) -> None:
        self._soon(lambda: self._line().send(until=self._until(holding)))

    def _on_must_stop(self, holding: Holding) -> None:
        if holding.stop_reason is EndReason.SHUTDOWN:
            return  # the signal that ends us has been passed on
        self._soon(lambda: self._stop_command(holding))

    def _stop_command(self, holding: Holding) -> None:
        self._say("stopping", f"stopping the command: {holding.stop_reason}")
        self._line().send(stop=True)

    def _on_observes(self, observation: Observation) -> None:
        self._soon(lambda: self._observe(observation))

    def _observe(self, observation: Observation) -> None:
        self._heard = True
        if self._holding is not None:
            return
        match observation:
            case Led(leader, token):
                if leader != self._settings.candidate:
                    self._say("waiting", f"waiting: {leader} leads", token=token)
            case Vacant():
                self._say("vacant", "nobody leads", detail=True)
            case Unknown():
                self._say("unknown", "who leads is not known: the store does not answer")

    def _on_asked(self, answer: Callable[[], None]) -> None:
        """This thread answers for itself."""
        self._soon(answer)

    def _on_troubled(self, error: StoreError) -> None:
        self._soon(lambda: self._trouble(error))

    def _trouble(self, error: StoreError) -> None:
        self._heard = True
        if isinstance(error, StoreCorrupt) and self._holding is None:
            raise error  # no waiting will mend it
        self._say("store", str(error))

    def _soon(self, call: Callable[[], None]) -> None:
        self._news.append(call)
        with contextlib.suppress(BlockingIOError):  # a full pipe wakes just as well
            os.write(self._wake, b"\0")

    def _drive(self) -> Driver:
        if self._driver is None:
            raise RuntimeError("the supervisor has not joined the election")
        return self._driver

    def _line(self) -> "_Line":
        if self._guardian is None:
            raise RuntimeError("the guardian has not been started")
        return self._guardian


class _Line:
    """The line to a guardian."""

    def __init__(self, control: socket.socket, pid: int) -> None:
        self.pid = pid
        self.ready = False
        self._control = control
        self._received = b""

    @classmethod
    def spawn(cls) -> "_Line":
        ours, theirs = socket.socketpair()
        with theirs:
            theirs.set_inheritable(True)
            command, environment = _guardian(theirs.fileno()), _without_secrets(os.environ)
            try:
                pid = os.posix_spawn(command[0], command, environment, setpgroup=0)
            except OSError as error:
                ours.close()
                raise ElectorError(
                    f"cannot start the guardian, {' '.join(command)}: {error.strerror}"
                ) from error
        return cls(ours, pid)

    def fileno(self) -> int:
        return self._control.fileno()

    def start(self, order: Mapping[str, object], lifelines: Sequence[int]) -> None:
        message = json.dumps({"start": order}).encode() + b"\n"
        with contextlib.suppress(OSError):  # its death is heard by reading
            sent = socket.send_fds(self._control, [message], list(lifelines))
            self._control.sendall(message[sent:])

    def send(self, **order: object) -> None:
        with contextlib.suppress(OSError):
            self._control.sendall(json.dumps(order).encode() + b"\n")

    def receive(self) -> list[dict[str, int]] | None:
        """Reports; None when the guardian is gone."""
        try:
            data = self._control.recv(1 << 16)
        except OSError:
            return None
        if not data:
            return None
        self._received += data
        *lines, self._received = self._received.split(b"\n")
        return [json.loads(line) for line in lines]

    def close(self) -> None:
        self._control.close()


def _guardian(line: int) -> list[str]:
    return [sys.executable, "-I", "-S", str(Path(__file__).with_name("guardian.py")), str(line)]


def _without_secrets(environment: Mapping[str, str]) -> dict[str, str]:
    """The guardian needs no store; the command gets its environment with the start."""
    return {name: value for name, value in environment.items() if name != "ELECTOR_STORE"}


def _interpreter_flags() -> list[str]:
    """What decides where this interpreter finds modules; another one should find the same."""
    flags = {
        "-I": sys.flags.isolated,
        "-E": sys.flags.ignore_environment,
        "-s": sys.flags.no_user_site,
        "-S": sys.flags.no_site,
    }
    return [flag for flag, given in flags.items() if given]


def _needs_farewell(traits: Traits) -> bool:
    """Whether nobody else would tell this store of our death."""
    return traits.scope == "network" and not traits.witness


def _inherit_orphans() -> None:
    """Should the guardian die, we see the end of what it leaves, however lazy process 1 is."""
    if sys.platform == "linux":
        import ctypes  # not needed before the command runs

        ctypes.CDLL(None).prctl(_PR_SET_CHILD_SUBREAPER, 1, 0, 0, 0)


def _terminal_in_front() -> int | None:
    """Our terminal, if we are its foreground job: then the command must be that, to read it."""
    try:
        return 0 if os.isatty(0) and os.tcgetpgrp(0) == os.getpgrp() else None
    except OSError:
        return None


def _take_back(terminal: int) -> None:
    """What the guardian would have done: be the foreground job again."""
    before = signal.signal(signal.SIGTTOU, signal.SIG_IGN)
    with contextlib.suppress(OSError):
        os.tcsetpgrp(terminal, os.getpgrp())
    signal.signal(signal.SIGTTOU, before)


def _still_lives(group: int) -> bool:
    """Kill a group whose guardian died; False once there is nobody left in it."""
    try:
        os.killpg(group, signal.SIGKILL)
    except ProcessLookupError:
        return False
    except PermissionError:
        return True
    return True


def _wake_up_pipe() -> tuple[int, int]:
    """A pipe that signals and other threads write to; neither end ever blocks."""
    ends = os.pipe()
    for end in ends:
        os.set_blocking(end, False)
    return ends


def _noted(_number: int, _frame: object) -> None:
    """The wake-up descriptor has the number; the handler only keeps the default away."""
