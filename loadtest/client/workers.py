"""The load as the process sees it that writes the result: its own, or that of its workers.

Workers tell their shares in the reports that Locust has them send every three seconds anyway
(`report_to_master`), and are told of each phase in a message of ours. So the master knows how
many connections are held as of three seconds ago at most; each worker begins and ends the hold by
its own clock, at the moment that it is told to. A share stays as it was at the end of the hold;
what is held and lost at the moment of the report goes beside it.
"""

import dataclasses
from typing import Any, Protocol

from locust.env import Environment
from locust.runners import MasterRunner, WorkerRunner

from loadtest.client.recorder import Recorder
from loadtest.client.share import Share, Whole, together
from loadtest.results.figures import Phase

PHASE = "c10k-phase"
SHARE = "c10k-share"
NOW = "c10k-held-and-lost"


class Team(Protocol):
    """All processes that have users, be it one."""

    def start(self) -> None: ...

    def stop(self) -> None: ...

    def enter(self, phase: Phase) -> None: ...

    def all_in(self, phase: Phase) -> bool:
        """Whether each has told of itself since it came to that phase."""

    def held(self) -> int: ...

    def lost(self) -> int: ...

    def whole(self) -> Whole: ...


class Alone:
    """This process has all users."""

    def __init__(self, recorder: Recorder) -> None:
        self._recorder = recorder

    def start(self) -> None:
        self._recorder.start()

    def stop(self) -> None:
        self._recorder.stop()

    def enter(self, phase: Phase) -> None:
        self._recorder.enter(phase)

    def all_in(self, phase: Phase) -> bool:
        return True

    def held(self) -> int:
        return self._recorder.held

    def lost(self) -> int:
        return self._recorder.lost

    def whole(self) -> Whole:
        return together([self._recorder.share()])


class Workers:
    """The master's view; a worker that is gone is gone from the sums, and so is what it held."""

    def __init__(self, environment: Environment, runner: MasterRunner) -> None:
        self._runner = runner
        self._shares: dict[str, Share] = {}
        self._now: dict[str, tuple[int, int]] = {}
        hooks: Any = environment.events
        hooks.worker_report.add_listener(self._on_report)

    def start(self) -> None:
        self._shares.clear()
        self._now.clear()

    def stop(self) -> None:
        """They stop by themselves, when Locust tells them to."""

    def enter(self, phase: Phase) -> None:
        for client in self._present():
            self._runner.send_message(PHASE, {"phase": phase}, client_id=client)

    def all_in(self, phase: Phase) -> bool:
        present = self._present()
        return bool(present) and all(
            client in self._shares and self._shares[client].phase == phase for client in present
        )

    def held(self) -> int:
        return sum(self._now.get(client, (0, 0))[0] for client in self._present())

    def lost(self) -> int:
        return sum(self._now.get(client, (0, 0))[1] for client in self._present())

    def whole(self) -> Whole:
        return together(self._current())

    def _current(self) -> list[Share]:
        return [self._shares[client] for client in self._present() if client in self._shares]

    def _present(self) -> list[str]:
        clients = self._runner.clients
        return [client.id for client in (*clients.ready, *clients.spawning, *clients.running)]

    def _on_report(self, client_id: str, data: dict[str, Any], **_: Any) -> None:
        if SHARE in data:
            self._shares[client_id] = Share(**data[SHARE])
            held, lost = data[NOW]
            self._now[client_id] = held, lost


def report_to_master(environment: Environment, runner: WorkerRunner, recorder: Recorder) -> None:
    """The worker's side: record with each test, follow the master's phases, tell of ourselves."""

    def on_phase(msg: Any, **_: Any) -> None:
        recorder.enter(msg.data["phase"])

    def on_report(data: dict[str, Any], **_: Any) -> None:
        data[SHARE] = dataclasses.asdict(recorder.share())
        data[NOW] = recorder.held, recorder.lost

    hooks: Any = environment.events
    hooks.test_start.add_listener(lambda **_: recorder.start())
    hooks.test_stopping.add_listener(lambda **_: recorder.stop())
    hooks.report_to_master.add_listener(on_report)
    runner.register_message(PHASE, on_phase)
