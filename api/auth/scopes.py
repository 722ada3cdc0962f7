"""Scopes of routes: declared as a dependency of the route, enforced before its body is read.

The matched route enforces its own declaration, so no second table of paths can disagree with the router.
"""

from collections.abc import Callable, Coroutine, Iterator
from functools import wraps
from inspect import isasyncgenfunction, iscoroutinefunction
from typing import TYPE_CHECKING, Annotated, Any, ParamSpec, TypeVar

from fastapi import Depends, FastAPI, Security
from fastapi.dependencies.models import Dependant
from fastapi.routing import APIRoute, iter_route_contexts
from fastapi.security import HTTPBearer
from starlette.exceptions import HTTPException
from starlette.types import Receive, Send
from starlette.types import Scope as Connection

from api.auth.principals import Principal
from api.errors import FORBIDDEN, UNAUTHENTICATED, Refusal
from api.quotas.requests import CLOSE, run_in_turn
from models.access import Scope

if TYPE_CHECKING:
    from api.dependencies import Service

P = ParamSpec("P")
T = TypeVar("T")

CHALLENGE = {"WWW-Authenticate": 'Bearer realm="descent"', **CLOSE}
HOW_TO_AUTHENTICATE = "send Authorization: Bearer <key> (descent takes the key from DESCENT_KEY)"

_KEY = HTTPBearer(scheme_name="key", description="A key: `descent keys create` makes one.", auto_error=False)

KeyScheme = Annotated[Any, Depends(_KEY)]
"""Puts the security scheme into the tree of a route's dependencies, where FastAPI finds it for OpenAPI."""


async def _needs_key(_: KeyScheme) -> None: ...


async def _needs_no_key() -> None: ...


def requires(scope: Scope) -> Any:
    """Return the dependency that declares the required scope of a route."""
    return Security(_needs_key, scopes=[scope.value])


PUBLIC: Any = Depends(_needs_no_key)
"""The dependency that declares a route public."""


class ScopedRoute(APIRoute):
    """A route that requires a key with the declared scope."""

    def __init__(self, path: str, endpoint: Callable[..., Any], **options: Any) -> None:
        """Read the declaration.

        Raises:
            TypeError: if the dependencies declare no scope, or several.

        """
        super().__init__(
            path,
            endpoint if iscoroutinefunction(endpoint) or isasyncgenfunction(endpoint) else _in_turn(endpoint),
            **options,
        )
        self.required_scope = _declared_scope(self)

    async def handle(self, scope: Connection, receive: Receive, send: Send) -> None:
        if self.required_scope is None:
            await super().handle(scope, receive, send)
            return
        principal = authenticated(scope)
        # For methods that the path does not support, any valid key gets 405.
        if scope["method"] in (self.methods or ()) and not principal.has(self.required_scope):
            detail = f'this requires a key of scope "{self.required_scope}", but yours has scope "{principal.scope}"'
            raise Refusal(FORBIDDEN, detail, headers=CLOSE)
        service: Service = scope["app"].state.service
        await service.requests.serve(
            principal, self.required_scope, lambda: super(ScopedRoute, self).handle(scope, receive, send)
        )


def _in_turn(endpoint: Callable[P, T]) -> Callable[P, Coroutine[Any, Any, T]]:
    """Wrap an endpoint so that it runs in the owner's threads instead of the pool of FastAPI."""

    @wraps(endpoint)
    async def call(*args: P.args, **kwargs: P.kwargs) -> T:
        return await run_in_turn(endpoint, *args, **kwargs)

    return call


def authenticated(connection: Connection) -> Principal:
    """Return the principal of a request.

    Raises:
        Refusal: if the request has no key, or one that is not valid.

    """
    principal: Principal = connection["state"]["principal"]
    if principal.is_anonymous:
        no_key = Refusal(UNAUTHENTICATED, f"this request has no key: {HOW_TO_AUTHENTICATE}", headers=CHALLENGE)
        raise connection["state"].get("authentication_error", no_key)
    return principal


def check_owner(principal: Principal, owner: str) -> None:
    """Check that a principal may name an owner, which only admins may do of others.

    Raises:
        Refusal: if not.

    """
    if owner != principal.owner and not principal.is_admin:
        raise Refusal(FORBIDDEN, f'the data of the owner "{owner}" requires a key of scope "admin"')


async def unmatched(scope: Connection, receive: Receive, send: Send) -> None:  # noqa: ARG001
    """Respond to an unmatched path: with 404, or without a key with 401, as for an existing path."""
    authenticated(scope)
    raise HTTPException(404)


def check_declarations(app: FastAPI) -> None:
    """Check that every route of an application enforces a scope.

    Raises:
        TypeError: if one does not.

    """
    for context in iter_route_contexts(app.routes):
        if not isinstance(context.original_route, ScopedRoute):
            raise TypeError(f"the route {context.path} declares no scope: it has to be a ScopedRoute")


def _declared_scope(route: APIRoute) -> Scope | None:
    """Return the scope that the dependencies of a route name; None for a public route."""
    dependants = list(_tree(route.dependant))
    declared: set[Scope | None] = {Scope(name) for node in dependants for name in node.own_oauth_scopes or ()}
    if any(node.call is _needs_no_key for node in dependants):
        declared.add(None)
    if len(declared) != 1:
        raise TypeError(
            f"the route {route.path} must declare exactly one scope, not {len(declared)}: see api.auth.scopes"
        )
    return declared.pop()


def _tree(dependant: Dependant) -> Iterator[Dependant]:
    yield dependant
    for child in dependant.dependencies:
        yield from _tree(child)
