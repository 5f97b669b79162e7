"""The Locust file: `locust -f loadtest/locustfile.py --host tcp://127.0.0.1:7007`.

It only ties the parts to Locust's hooks; the users are in `users.py`. EchoUser runs unless other
users are named at the end of the command line, so that an echo service is all it takes.
"""

from typing import Any

from locust import events, html, stats
from locust.env import Environment
from locust.runners import LocalRunner, WorkerRunner

from loadtest.buckets import bucket_response_time
from loadtest.monitor import Monitor
from loadtest.options import LoadOptions, add_options
from loadtest.users import HELD, EchoUser, SleepUser

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
    if isinstance(environment.runner, LocalRunner):
        monitor = Monitor(environment, HELD)
        hooks: Any = environment.events
        hooks.test_start.add_listener(lambda **_: monitor.start())
        hooks.test_stopping.add_listener(lambda **_: monitor.stop())


def check_options(parser: Any) -> None:
    """What is wrong on the command line ends Locust in one line, and before it forks workers: one
    whose master is gone waits a minute for it."""
    options, _ = parser.parse_known_args()
    try:
        LoadOptions.read(options.host, options)
    except ValueError as error:
        parser.error(str(error))
    counting = options.hold or options.linger or options.figures
    if counting and (options.processes or options.master or options.worker):
        parser.error(
            "--hold, --linger and --figures count the connections of one process; "
            "leave out --processes, --master and --worker"
        )


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
