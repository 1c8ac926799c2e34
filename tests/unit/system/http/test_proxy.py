from __future__ import annotations

import pytest

from pytest_llmperf.system.http.proxy import Proxy, ProxyError, find_proxy

OUTSIDE = {"HTTPS_PROXY": "http://proxy:3128"}


@pytest.mark.parametrize(
    ("environ", "expected"),
    [
        ({}, None),
        ({"HTTPS_PROXY": ""}, None),
        ({"HTTP_PROXY": "http://proxy:3128"}, None),
        (OUTSIDE, Proxy("proxy", 3128)),
        ({"https_proxy": "proxy:3128"}, Proxy("proxy", 3128)),
        ({**OUTSIDE, "https_proxy": "http://other"}, Proxy("other", 80)),
        ({"ALL_PROXY": "http://proxy:3128"}, Proxy("proxy", 3128)),
        ({"HTTPS_PROXY": "http://me:p%40ss@proxy:1"}, Proxy("proxy", 1, "Basic bWU6cEBzcw==")),
        ({"HTTPS_PROXY": "http://[::1]:3128/"}, Proxy("::1", 3128)),
        ({"HTTPS_PROXY": " http://proxy:3128 "}, Proxy("proxy", 3128)),
    ],
)
def test_the_environment_names_it(environ: dict[str, str], expected: Proxy | None) -> None:
    assert find_proxy("api.example.com", 443, environ) == expected


@pytest.mark.parametrize(
    "host",
    [
        "localhost",
        "LOCALHOST",
        "a.localhost",
        "localhost.",
        "127.0.0.1",
        "127.1.2.3",
        "::1",
        "::ffff:127.0.0.1",
        "0.0.0.0",
    ],
)
@pytest.mark.parametrize("environ", [OUTSIDE, {"ALL_PROXY": "socks5://proxy"}])
def test_none_stands_before_a_server_of_this_host(host: str, environ: dict[str, str]) -> None:
    assert find_proxy(host, 443, environ) is None


@pytest.mark.parametrize(
    ("host", "exceptions", "direct"),
    [
        ("api.example.com", "*", True),
        ("api.example.com", "example.com", True),
        ("api.example.com", ".example.com", True),
        ("api.example.com", "*.example.com", True),
        ("API.Example.com", "other, EXAMPLE.com", True),
        ("example.com", ".example.com", True),
        ("api.example.com", "example.com.", True),
        ("api.example.com", "other example.com", True),
        ("badexample.com", "example.com", False),
        ("api.example.com", "ample.com", False),
        ("api.example.com", "example.com:8443", True),
        ("api.example.com", "example.com:443", False),
        ("10.1.2.3", "10.0.0.0/8", True),
        ("10.1.2.3", "10.1.2.3", True),
        ("10.1.2.3", "10.1.2.3:8443", True),
        ("11.1.2.3", "10.0.0.0/8", False),
        ("fd00::5", "fd00::/8", True),
        ("fd00::5", "[fd00::5]:8443", True),
        ("10.1.2.3", ".2.3", False),
        ("api.example.com", "", False),
        ("api.example.com", " , ,", False),
    ],
)
def test_exceptions_are_names_addresses_and_networks(host: str, exceptions: str, direct: bool) -> None:
    for name in ("NO_PROXY", "no_proxy"):
        assert (find_proxy(host, 8443, {**OUTSIDE, name: exceptions}) is None) is direct


@pytest.mark.parametrize("url", ["socks5://proxy:1080", "https://proxy:443", "http://"])
def test_another_kind_is_refused_by_the_name_of_its_variable(url: str) -> None:
    with pytest.raises(ValueError, match=r"^HTTPS_PROXY names a proxy of a kind that is not supported: write http://"):
        find_proxy("api.example.com", 443, {"HTTPS_PROXY": url})


@pytest.mark.parametrize("url", ["http://proxy:99999", "proxy:abc", "http://[::1"])
def test_an_address_that_is_none_is_refused_by_the_name_of_its_variable(url: str) -> None:
    with pytest.raises(ValueError, match=r"^HTTPS_PROXY is no address of a proxy \(.*\): write http://HOST:PORT$"):
        find_proxy("api.example.com", 443, {"HTTPS_PROXY": url})


def test_its_request_names_the_server_and_its_own_user() -> None:
    plain, known = Proxy("proxy", 3128), Proxy("proxy", 3128, "Basic abc")
    assert plain.build_request("a.example", 443) == b"CONNECT a.example:443 HTTP/1.1\r\nHost: a.example:443\r\n\r\n"
    assert b"CONNECT [fd00::1]:8443 HTTP/1.1\r\n" in known.build_request("fd00::1", 8443)
    assert b"\r\nProxy-Authorization: Basic abc\r\n\r\n" in known.build_request("a.example", 443)
    assert "abc" not in repr(known)
    assert find_proxy("x", 443, {"HTTPS_PROXY": Proxy("proxy", 1, "Basic bWU6cEBzcw==").url}) == Proxy(
        "proxy", 1, "Basic bWU6cEBzcw=="
    )


def test_its_answer_opens_the_tunnel_once_its_head_is_whole() -> None:
    answer = b"HTTP/1.1 200 Connection established\r\nVia: x\r\n\r\n"
    proxy = Proxy("proxy", 3128)
    assert [proxy.is_open(answer[:size]) for size in (0, 5, len(answer) - 1, len(answer))] == [False] * 3 + [True]


@pytest.mark.parametrize(
    ("answer", "message"),
    [
        (b"HTTP/1.1 407 Proxy Authentication Required\r\n\r\n", "the proxy proxy:3128 opened no tunnel: HTTP 407"),
        (
            b"HTTP/1.1 200 OK\r\n\r\nhello",
            "the proxy proxy:3128 sent more than its answer before the server was asked",
        ),
        (
            b"SSH-2.0-x\r\n",
            "the answer of the proxy proxy:3128 is not HTTP/1.1: it does not begin with a status line",
        ),
    ],
)
def test_a_refusal_is_one_line(answer: bytes, message: str) -> None:
    with pytest.raises(ProxyError) as caught:
        Proxy("proxy", 3128).is_open(answer)
    assert str(caught.value) == message
