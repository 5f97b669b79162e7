"""The Locust file: `locust -f loadtest/locustfile.py --host tcp://127.0.0.1:7007`.

It only ties the parts to Locust's hooks; the users are in `users.py`. EchoUser runs unless other
users are named at the end of the command line, so that an echo service is all it takes.
"""

import math
from typing import Any

from locust import events, html, runners, stats
from locust.env import Environment
from locust.runners import LocalRunner, MasterRunner, WorkerRunner

from loadtest.client import addresses
from loadtest.client.buckets import bucket_response_time
from loadtest.client.monitor import Monitor
from loadtest.client.options import LoadOptions, add_options
from loadtest.client.recorder import Recorder
from loadtest.client.users import HELD, TIMES, EchoUser, SleepUser
from loadtest.client.web_tab import add_connections_tab
from loadtest.client.workers import Alone, Team, Workers, report_to_master

__all__ = ["EchoUser", "SleepUser"]

# Locust's documented hook; its type says whole milliseconds, its code takes any number.
stats.bucket_response_time = bucket_response_time  # type: ignore[assignment]
stats.PERCENTILES_TO_STATISTICS = [0.5, 0.99, 0.999]
stats.PERCENTILES_TO_CHART = [0.5, 0.99, 0.999]
html.PERCENTILES_FOR_HTML_REPORT = [0.5, 0.9, 0.95, 0.99, 0.999, 1.0]


def on_parser(parser: Any, **_: Any) -> None:
    add_options(parser)
    check_options(parser)


def on_init(environment: Environment, **_: Any) -> None:
    leave_out_sleep_users(environment)
    runner = environment.runner
    hooks: Any = environment.events
    hooks.test_start.add_listener(lambda **_: addresses.forget())
    if isinstance(runner, WorkerRunner):
        report_to_master(environment, runner, Recorder(environment, HELD, TIMES))
    elif isinstance(runner, MasterRunner):
        be_patient_with_workers(environment)
        lead(environment, Workers(environment, runner))
    elif isinstance(runner, LocalRunner):
        lead(environment, Alone(Recorder(environment, HELD, TIMES)))


def lead(environment: Environment, team: Team) -> None:
    """Follow each test that this process runs, be it by itself or through workers."""
    monitor = Monitor(environment, team)
    hooks: Any = environment.events
    hooks.test_start.add_listener(lambda **_: monitor.start())
    hooks.test_stopping.add_listener(lambda **_: monitor.stop())
    if environment.web_ui:
        add_connections_tab(environment, environment.web_ui, team)


def be_patient_with_workers(environment: Environment) -> None:
    """A worker that is busy is not dead, and to give its users to others is to have them twice.

    Locust counts the heartbeats that it misses, one a second, and has no option for it.
    """
    options: Any = environment.parsed_options
    runners.HEARTBEAT_LIVENESS = math.ceil(options.worker_patience / runners.HEARTBEAT_INTERVAL)


def check_options(parser: Any) -> None:
    """What is wrong on the command line ends Locust in one line, and before it forks workers: one
    whose master is gone waits a minute for it."""
    options, _ = parser.parse_known_args()
    try:
        LoadOptions.read(options.host, options)
    except ValueError as error:
        parser.error(str(error))


def leave_out_sleep_users(environment: Environment) -> None:
    """SleepUser runs where it is named or its service is. A worker takes what its master says."""
    options: Any = environment.parsed_options
    wanted = options.user_classes or options.sleep_host
    if not wanted and not isinstance(environment.runner, WorkerRunner):
        environment.user_classes.remove(SleepUser)


def _listen(hooks: Any) -> None:
    hooks.init_command_line_parser.add_listener(on_parser)
    hooks.init.add_listener(on_init)


_listen(events)
