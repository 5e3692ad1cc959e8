"""The server answers this machine alone, with views alone, behind its token."""

from __future__ import annotations

import builtins
import http.client
import socket
from urllib.parse import urlencode, urlsplit

import pytest
from test_payload import unpack

from ditscope.errors import InputError, UnsupportedError
from ditscope.explorer.server import Server, application
from patience import SECONDS


@pytest.fixture
def get(server):
    """Asks the server for a path below its token, or below another; returns status, headers and body."""
    address = urlsplit(server.address)

    def got(path="", token=address.path, method="GET", **headers):
        connection = http.client.HTTPConnection("127.0.0.1", address.port, timeout=SECONDS)
        connection.request(method, f"{token}{path}", headers=headers)
        reply = connection.getresponse()
        found = reply.status, reply.headers, reply.read()
        connection.close()
        return found

    return got


def test_it_gives_the_page_and_the_views(get, place, ask_direct) -> None:
    status, headers, page = get()
    assert (status, headers["content-type"].split(";")[0]) == (200, "text/html")
    assert b"explorer.css" in page
    for name, kind in (
        ("explorer.js", "text/javascript"),
        ("start.js", "text/javascript"),
        ("explorer.css", "text/css"),
    ):
        status, headers, _ = get(name)
        assert (status, headers["content-type"].split(";")[0]) == (200, kind)
    asked = {"store": "0", **place, "channel": "70"}
    status, _, body = get(f"view/channel_map?{urlencode(asked)}")
    assert status == 200
    assert (
        unpack(body)["arrays"]["values"].tobytes()
        == ask_direct("channel_map", asked).arrays["values"].tobytes()
    )


def test_every_answer_has_its_policy(get) -> None:
    for path in ("", "explorer.js", "view/stores", "view/nothing", "nothing"):
        _, headers, _ = get(path)
        assert "default-src 'none'" in headers["content-security-policy"]
        assert "unsafe" not in headers["content-security-policy"]
        assert headers["x-content-type-options"] == "nosniff"
        assert (headers["referrer-policy"], headers["cache-control"]) == ("no-referrer", "no-store")


def test_another_host_is_refused(get) -> None:
    assert get(Host="localhost:9")[0] == 200
    for host in ("evil.example", "evil.example:80", "127.0.0.1.evil.example", "169.254.0.1"):
        assert get(Host=host)[0] == 400


@pytest.mark.parametrize("token", ["/", "/wrong/", "//", "/%2e%2e/"])
def test_without_the_token_there_is_nothing(get, token) -> None:
    for path in ("", "explorer.js", "view/stores"):
        assert get(path, token)[0] == 404


@pytest.mark.parametrize(
    "path",
    [
        "../../../etc/passwd",
        "..%2f..%2fetc%2fpasswd",
        "%2e%2e/zarr.json",
        "static/core.js",
        "zarr.json",
        "view/../zarr.json",
    ],
)
def test_nothing_but_the_page_and_views_can_be_reached(get, path, cache) -> None:
    status, _, body = get(path)
    assert status in (400, 404)
    assert b"root:" not in body
    assert b"zarr_format" not in body


def test_it_is_read_only(get) -> None:
    for method in ("POST", "PUT", "DELETE", "PATCH"):
        assert get("view/stores", method=method)[0] == 405


def test_a_refusal_says_what_was_found(get, place) -> None:
    status, _, body = get(f"view/channel_map?{urlencode({'store': '0', **place, 'channel': '2'})}")
    assert status == 400
    assert b'"found":"channel 2"' in body


def test_only_the_loopback_is_listened_to(server) -> None:
    assert server._socket.getsockname()[0] == "127.0.0.1"
    assert server.address.startswith("http://127.0.0.1:")
    assert len(urlsplit(server.address).path) > 30


def test_a_port_that_is_taken_is_named(stores) -> None:
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        taken.listen()
        port = taken.getsockname()[1]
        with pytest.raises(InputError, match=f"port {port}"):
            Server(stores, port)
    with pytest.raises(InputError, match="port 70000"):
        Server(stores, 70000)


def test_the_address_has_the_state(stores) -> None:
    assert Server(stores, state={"step": 3}).address.endswith("/#step=3")


def test_without_its_libraries_the_remedy_is_said(stores, monkeypatch) -> None:
    plain = builtins.__import__

    def without(name, *arguments):
        if name.split(".")[0] == "starlette":
            raise ImportError("no module named starlette")
        return plain(name, *arguments)

    monkeypatch.setattr(builtins, "__import__", without)
    with pytest.raises(UnsupportedError, match=r'pip install "ditscope\[explorer\]"'):
        application(stores, "token")


@pytest.fixture
def ask_direct(stores):
    """Asks a view without the server."""
    from ditscope.explorer.view import answer

    return lambda view, asked: answer(stores, view, asked)
