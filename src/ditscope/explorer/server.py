"""The local server: loopback only, read-only, behind a token in the address; nothing but views can be asked for.

There is no file access by name: a request names a view and its parameters. Requests whose ``Host`` is not this machine
are refused, so that a page on the web cannot reach the server by a name that it makes point here.
"""

from __future__ import annotations

import asyncio
import secrets
import socket
import webbrowser
from collections.abc import Callable, Mapping, Sequence
from typing import Any

from ditscope.errors import DitscopeError, InputError, UnsupportedError
from ditscope.explorer import front_end
from ditscope.explorer.state import fragment
from ditscope.explorer.stores import Store
from ditscope.explorer.view import answer

LOOPBACK = "127.0.0.1"
HOSTS = (LOOPBACK, "localhost")

_HEADERS = {
    "Content-Security-Policy": "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self' blob: data:; "
    "connect-src 'self'; base-uri 'none'; form-action 'none'; frame-ancestors 'none'",
    "X-Content-Type-Options": "nosniff",
    "Referrer-Policy": "no-referrer",
    "Cross-Origin-Resource-Policy": "same-origin",
    "Cross-Origin-Opener-Policy": "same-origin",
    "Cache-Control": "no-store",
}
_HEAD = '<link rel="icon" href="data:,"><link rel="stylesheet" href="explorer.css">\n'
_BODY = '<script type="module" src="start.js"></script>'
_START = """import explorer from "./explorer.js";
explorer.mount(document.body, explorer.overHttp("view/"));
"""


def application(stores: Sequence[Store], token: str) -> Any:
    """The ASGI application.

    Args:
        stores: what is looked at.
        token: first part of every path; without it everything is 404.

    Raises:
        UnsupportedError: starlette or uvicorn is not installed.
    """
    try:
        import uvicorn  # noqa: F401  (here, so that it is missed before anything is started)
        from starlette.applications import Starlette
        from starlette.middleware import Middleware
        from starlette.middleware.trustedhost import TrustedHostMiddleware
        from starlette.requests import Request
        from starlette.responses import JSONResponse, Response
        from starlette.routing import Route
    except ImportError as error:
        raise UnsupportedError(
            f"no server for the explorer here ({error})",
            "the libraries starlette and uvicorn",
            'Install them with pip install "ditscope[explorer]", or pass --export page.html.',
        ) from error

    def secret(request: Request) -> bool:
        return secrets.compare_digest(request.path_params["token"].encode(), token.encode())

    # Threads are asyncio's own: where nnsight is loaded, what starlette would start them by cannot be imported.
    async def file(request: Request) -> Response:
        files: dict[str, tuple[str, Callable[[], str]]] = {
            "": ("text/html", lambda: front_end.page(head=_HEAD, body=_BODY)),
            "explorer.js": ("text/javascript", front_end.module),
            "explorer.css": ("text/css", front_end.style),
            "start.js": ("text/javascript", lambda: _START),
        }
        found = files.get(request.path_params.get("name", "")) if secret(request) else None
        if found is None:
            return Response("not found", 404, _HEADERS)
        return Response(found[1](), 200, _HEADERS, found[0])

    def packed(view: str, asked: Mapping[str, str]) -> bytes:
        return answer(stores, view, asked).pack()

    async def asked(request: Request) -> Response:
        if not secret(request):
            return Response("not found", 404, _HEADERS)
        try:
            data = await asyncio.to_thread(packed, request.path_params["view"], dict(request.query_params))
        except DitscopeError as error:
            said = {"found": error.found, "expected": error.expected, "remedy": error.remedy}
            return JSONResponse(said, 400 if isinstance(error, InputError) else 409, _HEADERS)
        return Response(data, 200, _HEADERS, "application/octet-stream")

    paths = {"/{token}/": file, "/{token}/{name}": file, "/{token}/view/{view}": asked}
    app = Starlette(
        routes=[Route(path, endpoint, methods=["GET"]) for path, endpoint in paths.items()],
        middleware=[Middleware(TrustedHostMiddleware, allowed_hosts=list(HOSTS))],
    )
    app.router.redirect_slashes = False
    return app


class Server:
    """A server on a port of its own, until it is stopped.

    Args:
        stores: what is looked at.
        port: 0 for any that is free.
        state: what the page begins with; see :mod:`ditscope.explorer.state`.

    Attributes:
        address: of the page, with the token and the state.

    Raises:
        UnsupportedError: starlette or uvicorn is not installed.
        InputError: the port is taken.
    """

    def __init__(
        self, stores: Sequence[Store], port: int = 0, state: Mapping[str, Any] | None = None
    ) -> None:
        token = secrets.token_urlsafe(24)
        app = application(stores, token)
        import uvicorn

        self._socket = socket.socket(socket.AF_INET, socket.SOCK_STREAM)
        self._socket.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            self._socket.bind((LOOPBACK, port))
            self._socket.listen()  # who comes before run() waits
        except (OSError, OverflowError) as error:
            self._socket.close()
            raise InputError(
                f"port {port} ({error})", "a free port", "Pass another, or 0 for any."
            ) from error
        own = self._socket.getsockname()[1]
        self.address = f"http://{LOOPBACK}:{own}/{token}/{fragment(state or {})}"
        config = uvicorn.Config(
            app, log_level="warning", access_log=False, server_header=False, lifespan="off"
        )
        self._server = uvicorn.Server(config)

    def run(self, *, browser: bool = False) -> None:
        """Answer until interrupted.

        Args:
            browser: open the page in the browser first.
        """
        if browser:
            webbrowser.open(self.address)
        self._server.run(sockets=[self._socket])

    def stop(self) -> None:
        """Have :meth:`run` return soon."""
        self._server.should_exit = True
