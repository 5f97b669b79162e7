"""Log lines: whatever is in an event, it is one line, and what was put in comes out of it again."""

import json
import logging
import math
import re
import sys

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from server import log_format
from server.log_format import JsonFormatter, TextFormatter
from tests.server.conftest import Start
from tests.server.harness import receive_line, receive_rest
from tests.server.scripted import outcome, scripted

STRING = r'"(?:[^"\\]|\\.)*"'
FIELD = rf' ([a-z_]+)=({STRING}|[^\s"]+)'
LINE = re.compile(
    r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{3}Z (?P<level>[a-z]+) "
    rf'(?P<message>{STRING}|[^"=]+?)(?P<fields>(?:{FIELD})*)'
)

# What could end a line, a word or a string comes up often, all else now and then.
hostile = st.lists(
    st.sampled_from(
        ["\n", "\r", "\u2028", "\x85", "\x1b[2J", "\0", " ", '"', "\\", "=", "k=v", "a", "\udcff"]
    )
    | st.text(max_size=5)
    | st.binary(max_size=5).map(lambda data: data.decode(errors="surrogateescape")),
    max_size=12,
).map("".join)
values = hostile | st.integers() | st.floats() | st.none() | st.booleans() | st.binary(max_size=9)
names = st.sampled_from(["error", "line", "left_out", "connections"])
events = st.dictionaries(names, values, max_size=3)


def record(message: object, fields: dict[str, object], *args: object) -> logging.LogRecord:
    made = logging.LogRecord("test", logging.INFO, __file__, 1, message, args, None)
    made.fields = fields
    return made


def readable(text: str) -> str:
    """What becomes of a lone surrogate, which no JSON reader need take."""
    return text.encode(errors="backslashreplace").decode()


def parse(line: str) -> tuple[str, str, dict[str, str]]:
    """Level, message and fields of a line of text, as a reader takes it apart."""
    match = LINE.fullmatch(line)
    assert match is not None, line
    fields = {key: unquoted(value) for key, value in re.findall(FIELD, match["fields"])}
    return match["level"], unquoted(match["message"]), fields


def unquoted(word: str) -> str:
    return str(json.loads(word)) if word.startswith('"') else word


class TestText:
    @given(message=hostile, fields=events)
    @example(message="failed error=none", fields={"error": "some\nfatal"})
    @example(message="x", fields={"error": "a line=b"})
    def test_an_event_is_one_line_that_can_be_taken_apart(
        self, message: str, fields: dict[str, object]
    ) -> None:
        line = TextFormatter().format(record(message, fields))
        assert line.isprintable()
        assert parse(line) == (
            "info",
            readable(message),
            {key: readable(str(value)) for key, value in fields.items()},
        )

    def test_plain_words_stay_plain(self) -> None:
        line = TextFormatter().format(record("cannot accept", {"error": "EMFILE", "left_out": 3}))
        assert line.endswith("Z info cannot accept error=EMFILE left_out=3")

    def test_a_text_that_ends_early_is_quoted(self) -> None:
        line = TextFormatter().format(record("x", {"a": "", "b": "c d=e", "f": 'say "hi"'}))
        assert line.endswith(r' info x a="" b="c d=e" f="say \"hi\""')

    @given(error=hostile)
    def test_a_traceback_stands_below_on_lines_that_begin_with_a_blank(self, error: str) -> None:
        event = record("failed", {})
        event.exc_info = (ValueError, ValueError(error), None)
        first, *below = TextFormatter().format(event).split("\n")
        assert parse(first) == ("info", "failed", {})
        assert below[0].startswith("    ValueError")
        for line in below:
            assert line.startswith("    ")
            assert line.isprintable()

    def test_so_does_a_list_of_our_own(self) -> None:
        event = record("tasks", {})
        event.text = "1 task\nmain: waiting\x1b"
        assert TextFormatter().format(event).split("\n")[1:] == [
            "    1 task",
            "    main: waiting\\x1b",
        ]


class TestJson:
    @given(message=hostile, fields=events)
    @example(message="x", fields={"error": math.nan, "line": -math.inf, "left_out": 0.5})
    def test_an_event_is_one_object_on_one_line(
        self, message: str, fields: dict[str, object]
    ) -> None:
        line = JsonFormatter().format(record(message, fields))
        assert line.isascii()
        assert line.isprintable()
        event = json.loads(line, parse_constant=pytest.fail)
        event.pop("time")
        assert event.pop("level") == "info"
        assert event.pop("message") == readable(message)
        assert set(event) == set(fields)
        for key, value in fields.items():
            kept = isinstance(value, int | None) or (
                isinstance(value, float) and math.isfinite(value)
            )
            assert event[key] == (value if kept else readable(str(value)))

    def test_a_traceback_is_a_value_of_it(self) -> None:
        event = record("failed", {})
        try:
            1 / 0  # noqa: B018
        except ZeroDivisionError:
            event.exc_info = sys.exc_info()
        found = json.loads(JsonFormatter().format(event))
        assert found["exception"].startswith("Traceback (most recent call last):\n")
        assert found["exception"].endswith("ZeroDivisionError: division by zero")

    def test_no_field_takes_the_place_of_what_every_line_has(self) -> None:
        fields: dict[str, object] = {"time": 1, "level": 2, "message": 3}
        found = json.loads(JsonFormatter().format(record("said", fields)))
        assert (found["level"], found["message"]) == ("info", "said")
        assert found["time"] != 1


class Unprintable:
    def __str__(self) -> str:
        raise RuntimeError("no")

    __repr__ = __str__


@pytest.mark.parametrize("formatter", [TextFormatter(), JsonFormatter()])
class TestEitherFormat:
    def test_arguments_that_do_not_fit_are_told(self, formatter: logging.Formatter) -> None:
        line = formatter.format(record("%d of %d", {}, "x"))
        assert "%d of %d (not formatted: TypeError" in line

    def test_a_value_without_a_text_is_told(self, formatter: logging.Formatter) -> None:
        assert "Unprintable without a text: RuntimeError" in formatter.format(
            record("x", {"value": Unprintable()})
        )
        assert "Unprintable without a text: RuntimeError" in formatter.format(
            record(Unprintable(), {})
        )

    def test_a_number_with_more_digits_than_python_writes_is_told(
        self, formatter: logging.Formatter
    ) -> None:
        line = formatter.format(record("x", {"value": 10**5000}))
        assert "int without a text: ValueError" in line

    def test_an_exception_that_cannot_be_shown_is_told(self, formatter: logging.Formatter) -> None:
        error = SyntaxError("x")
        error.text = b"bytes"  # type: ignore[assignment]
        made = record("x", {})
        made.exc_info = (SyntaxError, error, None)
        line = formatter.format(made)
        assert "SyntaxError" in line

    def test_what_all_lines_have_in_common_is_in_it(
        self, formatter: logging.Formatter, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.setitem(log_format.common, "worker", 4711)
        assert re.search(r'worker"?[=:] ?4711', formatter.format(record("x", {})))


UNCAUGHT = """
import gc, threading, warnings
class Dropped:
    def __del__(self):
        raise ValueError("in a destructor\\u2028")
warnings.warn("first line\\nsecond line")
Dropped()
thread = threading.Thread(target=lambda: {}["missing"], name="a thread")
thread.start()
thread.join()
leaver = threading.Thread(target=sys.exit)
leaver.start()
leaver.join()
logging_ = __import__("logging").getLogger("a.library")
logging_.warning("%s and %s", "one")
raise OSError("at\\nlast")
"""


class TestWhatNobodyCaught:
    def test_is_json_too(self) -> None:
        with scripted(UNCAUGHT, "--log-format", "json") as process:
            status, log = outcome(process)
        assert status == 1
        found = [json.loads(line) for line in log.splitlines()]
        assert [event["message"] for event in found] == [
            found[0]["message"],
            "Exception ignored in",
            "uncaught exception in a thread",
            "%s and %s (not formatted: TypeError: not enough arguments for format string)",
            "uncaught exception",
        ]
        assert "UserWarning: first line\nsecond line" in found[0]["message"]
        assert found[1]["exception"].endswith("ValueError: in a destructor\u2028")
        assert found[2]["thread"] == "a thread"
        assert found[2]["exception"].endswith("KeyError: 'missing'")
        assert found[4]["exception"].endswith("OSError: at\nlast")

    def test_is_lines_of_text_that_can_be_told_apart(self) -> None:
        with scripted(UNCAUGHT) as process:
            status, log = outcome(process)
        assert status == 1
        events = [parse(line) for line in log.split("\n") if line and not line.startswith(" ")]
        levels = [level for level, _, _ in events]
        assert levels == ["warning", "error", "critical", "warning", "critical"]
        assert events[1][2] == {"object": "function"}


class TestBadLines:
    @pytest.mark.parametrize(
        ("sent", "shown", "said"),
        [
            (b"1e5\n", "1e5\\n", "not a number"),
            (b"\x1b[2J\xff\0\"' =\r\n", "\\x1b[2J\\xff\\x00\"\\' =\\r\\n", "not a number"),
            (b"9" * 100 + b"\n", "9" * 64 + "...", "not a number"),
            (b"7" * 70000, "7" * 64 + "...", "line longer than 65536 bytes"),
            (b"1", "1", "last line not ended"),
        ],
    )
    def test_are_shown_escaped_and_cut(
        self, start: Start, sent: bytes, shown: str, said: str
    ) -> None:
        server = start()
        with server.connect("sleep") as sock:
            sock.sendall(sent)
            sock.shutdown(1)
            answer = receive_rest(sock)
        server.stop()
        bad, *_ = (parse(line) for line in server.log().splitlines() if " bad line " in line)
        assert bad[0] == "info"
        assert bad[2]["line"] == shown
        assert bad[2]["answer"].encode() + b"\n" == answer
        assert said in bad[2]["answer"]

    def test_are_a_line_a_second_and_all_counted(self, start: Start) -> None:
        server = start()
        with server.connect("sleep") as sock:
            for _ in range(200):
                sock.sendall(b"x\n")
                assert receive_line(sock).startswith(b"error: ")
        server.stop()
        found = [parse(line)[2] for line in server.log().splitlines() if " bad line " in line]
        assert len(found) <= 10
        assert (
            sum("line" in fields for fields in found)
            + sum(int(fields.get("left_out", 0)) for fields in found)
            == 200
        )
