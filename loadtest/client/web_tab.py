"""The tab "Connections" of Locust's own web UI.

Locust's page shows a tab for each entry of `extended_tabs` in its template's arguments, but can
fill it with a table only, and asks for that table only while a test runs. What is held after the
end of a test is what many look for, so the tab's contents are a part of ours, appended to Locust's
page (`web_tab.html`, `web_tab.js`), that asks a route of ours once a second while it is looked at.
"""

import json
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import gevent
from flask import Blueprint, Response, request
from locust.env import Environment
from locust.runners import MasterRunner
from locust.web import WebUI

from loadtest.client.onlooker import INTERVAL, KEPT, Onlooker, Sample
from loadtest.client.workers import Team

KEY = "connections"
TITLE = "Connections"
HERE = Path(__file__).parent


def add_connections_tab(environment: Environment, web_ui: WebUI, team: Team) -> None:
    """Before the web UI is started, which is when Locust's `init` event comes."""
    onlooker = Onlooker(environment, team)
    tabs = [*web_ui.template_args.get("extended_tabs", []), {"title": TITLE, "key": KEY}]
    web_ui.template_args["extended_tabs"] = tabs
    _add_routes(environment, web_ui, onlooker)
    greenlet = gevent.spawn(onlooker.run)
    hooks: Any = environment.events
    hooks.test_start.add_listener(lambda **_: onlooker.doubt())
    hooks.quitting.add_listener(lambda **_: greenlet.kill(block=False))


def _add_routes(environment: Environment, web_ui: WebUI, onlooker: Onlooker) -> None:
    app = web_ui.app
    assert app is not None
    options: Any = environment.parsed_options
    routes = Blueprint(KEY, __name__, url_prefix=options.web_base_path or None)
    part = _part().encode()

    def show() -> Response:
        known = {
            **_server(onlooker),
            "workers": _workers(environment),
            "history": _history(onlooker.samples, time.monotonic()),
        }
        # Not Flask's jsonify: in Locust's app, which is in debug mode, it writes a line a number.
        return Response(
            json.dumps(known), mimetype="application/json", headers={"Cache-Control": "no-store"}
        )

    @app.after_request
    def append(response: Response) -> Response:
        if request.endpoint == "locust.index" and response.mimetype == "text/html":
            response.set_data(response.get_data().replace(b"</body>", part + b"</body>", 1))
        return response

    guarded: Any = web_ui.auth_required_if_enabled  # for --web-login
    routes.add_url_rule(f"/{KEY}", view_func=guarded(show))
    app.register_blueprint(routes)


def _part() -> str:
    markup = (HERE / "web_tab.html").read_text()
    return f"{markup}<script>\n{(HERE / 'web_tab.js').read_text()}</script>\n"


def _server(onlooker: Onlooker) -> dict[str, object]:
    reading = onlooker.reading
    return {
        "source": reading.source,
        "problem": reading.problem,
        "interval": INTERVAL,
        "kept": KEPT * INTERVAL,
    }


def _workers(environment: Environment) -> int | None:
    runner = environment.runner
    return runner.worker_count if isinstance(runner, MasterRunner) else None


def _history(samples: Sequence[Sample], now: float) -> dict[str, list[Any]]:
    """A column for each figure, the latest last; ages in seconds, as clocks differ."""
    samples = list(samples)
    return {
        "age": [round(now - each.at, 2) for each in samples],
        "asked": [each.asked for each in samples],
        "held": [each.held for each in samples],
        "lost": [each.lost for each in samples],
        "cpu": [
            None if each.cpu_percent is None else round(each.cpu_percent, 1) for each in samples
        ],
        "rss": [each.rss for each in samples],
        "threads": [each.threads for each in samples],
    }
