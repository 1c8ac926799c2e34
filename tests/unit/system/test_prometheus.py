from __future__ import annotations

import math
import socket
import threading
from contextlib import closing, suppress
from typing import TYPE_CHECKING

import pytest

from pytest_llmperf.system.prometheus import MetricsPage, Sample, parse
from tests.helpers.metrics_server import MetricsServer, serving
from tests.helpers.waiting import PATIENCE_S

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    Step = Callable[[MetricsServer], object]


def test_samples_are_read_with_their_labels_and_comments_are_left_out() -> None:
    page = (
        "# HELP requests_total Requests so far.\n"
        "# TYPE requests_total counter\n"
        'requests_total{code="200",method="GET"} 1027\n'
        "\n"
        "# a remark\n"
        "  load:average 0.5  \n"
    )
    assert parse(page) == [
        Sample("requests_total", {"code": "200", "method": "GET"}, 1027.0),
        Sample("load:average", {}, 0.5),
    ]


def test_an_empty_page_has_no_samples() -> None:
    assert parse("") == []


@pytest.mark.parametrize(
    ("text", "value"),
    [
        ("1", 1.0),
        ("+1.5e-3", 0.0015),
        ("-2E+06", -2e6),
        (".5", 0.5),
        ("3.", 3.0),
        ("+Inf", math.inf),
        ("-Inf", -math.inf),
    ],
)
def test_a_value_is_a_number_of_any_form(text: str, value: float) -> None:
    assert parse(f"a {text}") == [Sample("a", {}, value)]


def test_a_value_may_be_no_number() -> None:
    (sample,) = parse("a NaN")
    assert math.isnan(sample.value)


@pytest.mark.parametrize("line", ["a 1 1395066363000", 'a{b="c"}\t1\t1395066363000', 'a { b = "c" , } 1 1395066363000'])
def test_a_timestamp_is_kept(line: str) -> None:
    assert parse(line)[0].timestamp_ms == 1395066363000


def test_blanks_and_a_comma_at_the_end_are_allowed_between_labels() -> None:
    assert parse('a { b = "c" , d="e", } 1') == [Sample("a", {"b": "c", "d": "e"}, 1.0)]
    assert parse("a{} 1") == [Sample("a", {}, 1.0)]


def test_label_values_are_unescaped_once() -> None:
    assert parse(r'a{path="C:\\new\n\"x\""} 1') == [Sample("a", {"path": 'C:\\new\n"x"'}, 1.0)]


@pytest.mark.parametrize("value", ["}", "#", ",", "=", "{", "\u2028", "\r", "é", 'x"} 2 #'.replace('"', r"\"")])
def test_a_label_value_may_hold_any_character(value: str) -> None:
    assert parse(f'a{{b="{value}",c="d"}} 1') == [
        Sample("a", {"b": value.replace(r"\"", '"'), "c": "d"}, 1.0),
    ]


@pytest.mark.parametrize(
    "line",
    [
        "<html><body>Not found</body></html>",
        "a",
        "a1",
        "a one",
        "a 1_000",
        "a 1 2 3",
        "a 1 1.5",
        'a 1 # {trace="7"} 1',
        "9a 1",
        'a{b="c" 1',
        "a{b=c} 1",
        'a{"b"="c"} 1',
        'a{b="c"d="e"} 1',
        "a{,} 1",
        'a{b="c"}',
        'a{b="\\t"} 1',
        'a{b="c} 1',
        '{b="c"} 1',
        "é 1",
        "a ١",
    ],
)
def test_a_line_of_another_form_is_named(line: str) -> None:
    with pytest.raises(ValueError, match=r"^line 3 is not in the Prometheus text format: ") as caught:
        parse(f"# HELP a text\nb 1\n{line}\nc 1")
    assert repr(line) in str(caught.value)


def test_a_label_given_twice_is_refused() -> None:
    with pytest.raises(ValueError, match=r"^line 2 has a label twice: "):
        parse('a 1\na{b="c",b="d"} 1')


def test_the_labels_of_a_sample_cannot_be_changed_by_who_reads_them() -> None:
    (sample,) = parse('a{b="c"} 1')
    with pytest.raises(TypeError):
        sample.labels["b"] = "d"  # type: ignore[index]


# ---------------------------------------------------------------------------------------------------------- the page


@pytest.fixture
def server() -> Iterator[MetricsServer]:
    numbers = iter(range(1000))
    with serving(lambda: f"a {next(numbers)}\n") as server:
        yield server


def values(page: MetricsPage, times: int) -> list[float]:
    return [page.read()[0].value for _ in range(times)]


@pytest.mark.parametrize("chunked", [False, True])
def test_a_page_is_read_again_and_again_over_one_connection(server: MetricsServer, chunked: bool) -> None:
    server.chunked = chunked
    with closing(MetricsPage(f"{server.url}/metrics?verbose=1")) as page:
        assert values(page, 4) == [0, 1, 2, 3]
    assert (server.connections, set(server.paths)) == (1, {"/metrics?verbose=1"})


def test_a_connection_that_the_server_closed_is_opened_again(server: MetricsServer) -> None:
    server.hangs_up = True
    with closing(MetricsPage(server.url)) as page:
        assert values(page, 3) == [0, 1, 2]
    assert server.connections == 3


def test_a_page_can_be_read_after_it_was_closed(server: MetricsServer) -> None:
    page = MetricsPage(server.url)
    assert values(page, 1) == [0]
    page.close()
    assert values(page, 1) == [1]
    page.close()


def test_a_large_page_is_read_whole() -> None:
    text = "".join(f'a{{n="{n}"}} {n}\n' for n in range(20_000))
    with serving(lambda: text) as server, closing(MetricsPage(server.url, timeout=60)) as page:
        assert [sample.value for sample in page.read()] == list(range(20_000))


def test_proxies_of_the_environment_are_not_asked(server: MetricsServer, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("http_proxy", "http://127.0.0.1:9")
    monkeypatch.setenv("HTTP_PROXY", "http://127.0.0.1:9")
    with closing(MetricsPage(server.url)) as page:
        assert values(page, 1) == [0]


@pytest.mark.parametrize(
    ("change", "problem"),
    [
        (lambda server: setattr(server, "status", 404), "cannot be read: the answer is 404 Not Found$"),
        (
            lambda server: setattr(server, "missing_bytes", 5),
            "cannot be read: the server closed the connection in the middle",
        ),
        (lambda server: setattr(server, "page", lambda: "<html>"), "is not a metrics page: line 1 is not in the"),
        (lambda server: setattr(server, "page", lambda: b"a\xff 1"), "is not a metrics page: it is not UTF-8 text$"),
    ],
)
def test_what_is_wrong_with_an_answer_is_said_with_the_url(server: MetricsServer, change: Step, problem: str) -> None:
    with closing(MetricsPage(server.url)) as page:
        values(page, 1)
        change(server)
        with pytest.raises(OSError, match=problem) as caught:
            page.read()
    assert str(caught.value).startswith(f"{server.url} ")


def test_a_page_is_read_again_after_a_failure(server: MetricsServer) -> None:
    with closing(MetricsPage(server.url)) as page:
        server.status = 500
        with pytest.raises(OSError, match="500 Internal Server Error"):
            page.read()
        server.status = 200
        assert values(page, 2) == [1, 2]


def test_nobody_listening_is_said_so() -> None:
    with socket.create_server(("127.0.0.1", 0)) as listener:
        url = f"http://127.0.0.1:{listener.getsockname()[1]}"
    with pytest.raises(OSError, match=f"^no server listens at {url}$"):
        MetricsPage(url).read()


def test_a_server_that_went_away_between_two_readings_is_said_so() -> None:
    with serving(lambda: "a 1") as server:
        server.hangs_up = True
        page = MetricsPage(server.url)
        page.read()
    with pytest.raises(OSError, match=r"^no server listens at "):
        page.read()


def test_a_server_that_says_nothing_is_given_up() -> None:
    with socket.create_server(("127.0.0.1", 0)) as listener:
        page = MetricsPage(f"http://127.0.0.1:{listener.getsockname()[1]}", timeout=0.05)
        with pytest.raises(OSError, match=r"did not answer within 0\.05 s$"):
            page.read()


def test_a_server_that_drips_is_given_up_when_the_time_is_over() -> None:
    done = threading.Event()

    def drip(listener: socket.socket) -> None:
        connection, _ = listener.accept()
        with connection, suppress(ConnectionError):
            connection.sendall(b"HTTP/1.1 200 OK\r\nContent-Length: 1000000\r\n\r\n")
            while not done.wait(0.01):
                connection.sendall(b"#")

    with socket.create_server(("127.0.0.1", 0)) as listener:
        thread = threading.Thread(target=drip, args=(listener,))
        thread.start()
        page = MetricsPage(f"http://127.0.0.1:{listener.getsockname()[1]}", timeout=0.3)
        try:
            with pytest.raises(OSError, match=r"did not answer within 0\.3 s$"):
                page.read()
        finally:
            done.set()
            thread.join(PATIENCE_S)


def test_a_page_over_tls_that_is_none_is_said_so(server: MetricsServer) -> None:
    url = server.url.replace("http:", "https:")
    with pytest.raises(OSError, match=f"^{url} cannot be read: .*SSL"):
        MetricsPage(url).read()


@pytest.mark.parametrize("url", ["localhost:9400", "ftp://host/metrics", "http://", "/metrics"])
def test_a_url_without_scheme_or_host_is_refused(url: str) -> None:
    with pytest.raises(ValueError, match=f"^{url} is not the URL of a metrics page: write http://host:port/metrics$"):
        MetricsPage(url)


def test_a_url_with_a_password_is_refused_and_the_password_not_shown() -> None:
    with pytest.raises(ValueError, match="carries a user name") as caught:
        MetricsPage("http://me:secret@host:9400/metrics")
    assert "secret" not in str(caught.value)
