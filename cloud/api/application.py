"""The routes of the table as a FastAPI application: each asks one operation as one person."""

import inspect
from collections.abc import Callable
from typing import Annotated, Any

from fastapi import APIRouter, Body, Depends, FastAPI, Header, Path, Query, Request
from fastapi.exceptions import RequestValidationError
from fastapi.responses import JSONResponse
from pydantic import BaseModel, StringConstraints
from starlette.exceptions import HTTPException

from cloud.api.access import Asking
from cloud.api.asking import Asker
from cloud.api.bodies import (
    BODIES,
    PATH_FIELDS,
    PREFIXES_ALLOWED,
    QUERIES,
    IdPrefix,
    Nothing,
    NothingAsked,
)
from cloud.api.errors import FAULT, ApiError, code_of_status, error_body, refusal
from cloud.api.table import PREFIX, ROUTES, Route, answer_of, request_of
from cloud.people.people import ALL_AREAS, Person

Key = Annotated[str, StringConstraints(pattern=r"^[!-~]{1,64}$")]
WHO = "who"  # answered here: it asks nothing of the service


def create_application(asker: Asker) -> FastAPI:
    """The application; a Guard must stand before it. Whatever else the head end serves one day is
    mounted beside the router."""
    application = FastAPI(openapi_url=None, docs_url=None, redoc_url=None, redirect_slashes=False)
    application.include_router(order_router(asker))
    application.add_exception_handler(ApiError, _on_api_error)
    application.add_exception_handler(HTTPException, _on_http_error)
    application.add_exception_handler(RequestValidationError, _on_invalid)
    application.add_exception_handler(Exception, _on_fault)  # it is raised again, to the Guard
    return application


def order_router(asker: Asker) -> APIRouter:
    """The routes of the table."""
    router = APIRouter(prefix=PREFIX)
    for route in ROUTES:
        router.add_api_route(
            route.path,
            _endpoint(route, asker),
            methods=[route.method],
            dependencies=[Depends(_may(route))],
            name=route.operation,
            response_model=None,
        )
    return router


def person_fields(person: Person) -> dict[str, Any]:
    """The person as the desk takes it; no areas are all of them."""
    areas = [] if ALL_AREAS in person.areas else list(person.areas)
    return {"name": person.name, "roles": list(person.roles), "areas": areas}


def _asking(request: Request) -> Asking:
    asking: Asking = request.state.asking
    return asking


def _may(route: Route) -> Callable[[Request], None]:
    """Before the body is judged: whoever may not knock is not told what was wrong with it."""

    def check(request: Request) -> None:
        if not set(_asking(request).person.roles) & set(route.roles):
            raise ApiError(
                "forbidden", f"not allowed: it takes one of the roles {', '.join(route.roles)}"
            )

    return check


def _endpoint(route: Route, asker: Asker) -> Callable[..., Any]:
    """A function with the signature that FastAPI judges a request by."""

    def answer(request: Request, given: BaseModel, **fields: Any) -> Any:
        person = person_fields(_asking(request).person)
        if route.operation == WHO:
            return person
        body = {**given.model_dump(exclude_unset=True), **fields}
        body = {name: value for name, value in body.items() if value is not None}
        reply = asker.ask(request_of(route, person, body))
        if "error" in reply:
            raise refusal(str(reply["error"]))
        return answer_of(route, reply)

    given: tuple[Any, Any] = (QUERIES.get(route.operation, NothingAsked), Query())
    if route.method == "POST":
        given = (BODIES.get(route.operation, Nothing), Body())
    wanted = {"request": Request, "given": Annotated[given]}
    for name in _path_names(route):
        kind = IdPrefix if route.operation in PREFIXES_ALLOWED else PATH_FIELDS[name]
        wanted[name] = Annotated[kind, Path()]
    if route.has_key:
        wanted["key"] = Annotated[Key, Header(alias="Idempotency-Key")]
    answer.__signature__ = inspect.Signature(  # type: ignore[attr-defined]
        [
            inspect.Parameter(name, inspect.Parameter.KEYWORD_ONLY, annotation=kind)
            for name, kind in wanted.items()
        ]
    )
    return answer


def _path_names(route: Route) -> list[str]:
    return [part.strip("{}") for part in route.path.split("/") if part.startswith("{")]


def _on_api_error(_request: Request, error: Exception) -> JSONResponse:
    if not isinstance(error, ApiError):
        raise error
    return JSONResponse(error_body(error.code, str(error)), error.status)


def _on_http_error(_request: Request, error: Exception) -> JSONResponse:
    if not isinstance(error, HTTPException):
        raise error
    code = code_of_status(error.status_code)
    words = {"not_found": "there is nothing at this path", "no_method": "not by this method"}
    message = words.get(code, "the request can not be read")
    return JSONResponse(error_body(code, message), error.status_code, error.headers)


def _on_invalid(_request: Request, error: Exception) -> JSONResponse:
    if not isinstance(error, RequestValidationError):
        raise error
    return JSONResponse(error_body("invalid", _words_of(error)), 400)


def _on_fault(_request: Request, _error: Exception) -> JSONResponse:
    return JSONResponse(error_body("internal", FAULT), 500)


def _words_of(error: RequestValidationError) -> str:
    """The first fault, by field and rule; nothing of what was sent but names that we know."""
    first = error.errors()[0]
    where = [str(one) for one in first["loc"][1:] if isinstance(one, int) or one in _NAMES]
    return f"{'.'.join(where) or first['loc'][0]}: {first['msg']}"


_NAMES = {
    "Idempotency-Key",
    *PATH_FIELDS,
    *(name for model in (*BODIES.values(), *QUERIES.values()) for name in model.model_fields),
    *("kid", "at", "signature", "hex"),
}
