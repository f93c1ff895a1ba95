"""Each request of an ASGI application in a region of its own: who used the time of a server.

Must not know any framework.
"""

from __future__ import annotations

from ._session.regions import region

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable, MutableMapping
    from typing import Any

    Scope = MutableMapping[str, Any]
    Application = Callable[[Scope, Any, Any], Awaitable[None]]


class Middleware:
    """Wraps an ASGI application: requests and websockets run in regions.

    A region ``request`` has the labels ``method`` and ``path``; ``profile.regions()`` sums them,
    ``profile.filter(labels={"path": "/items"})`` shows one.

    Parameters
    ----------
    app : ASGI application
    path : callable, optional
        Makes the label ``path`` of a scope. Paths with numbers of things in them make a row for
        each: return what they have in common. The request's path when not given.

    Examples
    --------
    >>> app.add_middleware(spprof.asgi.Middleware)  # FastAPI, Starlette
    >>> app = spprof.asgi.Middleware(app)  # others
    """

    def __init__(self, app: Application, path: Callable[[Scope], str] | None = None) -> None:
        self.app = app
        self._path = path or (lambda scope: str(scope["path"]))

    async def __call__(self, scope: Scope, receive: Any, send: Any) -> None:
        """Serve a request; the lifespan's messages pass through."""
        if scope["type"] not in ("http", "websocket"):
            await self.app(scope, receive, send)
            return
        method = scope.get("method", "WEBSOCKET")
        with region("request", method=method, path=self._path(scope)):
            await self.app(scope, receive, send)
