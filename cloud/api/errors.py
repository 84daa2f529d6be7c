"""What is answered when something is not done: one shape, `{"error": {"code", "message"}}`.

The code is for programs, the message one sentence for a person. Neither holds what was sent.
"""

from typing import Any

# code: (HTTP status, what it means to the caller)
ERRORS = {
    "invalid": (400, "a field, the path or the query is not what it must be"),
    "no_token": (401, "there is no bearer token, or it is nobody's"),
    "forbidden": (403, "this person may not do it"),
    "not_found": (404, "there is no such thing"),
    "no_method": (405, "this path has no such method"),
    "conflict": (409, "it can not be done as things are now"),
    "too_large": (413, "the body is too large"),
    "too_slow": (408, "the body did not come in time"),
    "no_json": (415, "the body is not declared as JSON"),
    "too_many_failures": (429, "too many requests without a good token came from there"),
    "internal": (500, "a fault of the head end; its log has the request's id"),
    "busy": (503, "too many requests wait; ask again"),
    "no_answer": (503, "the service did not answer in time, and may still do it"),
}
FAULT = "a fault of the head end; its log has it under the request's id"
_BY_STATUS = {status: code for code, (status, _) in reversed(ERRORS.items())}


class ApiError(Exception):
    """The request was not done; `code` is one of ERRORS."""

    def __init__(self, code: str, message: str) -> None:
        super().__init__(message)
        self.code = code
        self.status = ERRORS[code][0]


def error_body(code: str, message: str) -> dict[str, Any]:
    """The one shape."""
    return {"error": {"code": code, "message": message}}


def code_of_status(status: int) -> str:
    """The code of an HTTP status that a library chose."""
    return _BY_STATUS.get(status, "invalid" if status < 500 else "internal")


def refusal(sentence: str) -> ApiError:
    """The service's sentence as an answer. It begins with what kind of a no it is."""
    if sentence.startswith("not allowed"):
        return ApiError("forbidden", sentence)
    if sentence.startswith("no such "):
        return ApiError("not_found", sentence)
    return ApiError("conflict", sentence)
