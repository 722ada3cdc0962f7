"""Links in OpenAPI: which requests what an answer holds leads to, for programs that walk the interface."""

from typing import Any, NamedTuple


class _Origin(NamedTuple):
    """An answer that names something by its id."""

    method: str
    path: str
    status: str
    parameter: str
    """Of the paths that the id leads to."""
    value: str = "$response.body#/id"


_ORIGINS = (
    _Origin("post", "/v1/jobs", "202", "job_id"),
    _Origin("get", "/v1/jobs/{job_id}/runs", "200", "run_id", "$response.body#/data/0/id"),
    _Origin("post", "/v1/sweeps", "202", "sweep_id"),
    _Origin("post", "/v1/datasets", "201", "dataset_id"),
    _Origin("post", "/v1/keys", "201", "key_id"),
    _Origin("get", "/v1/experiments", "200", "name", "$response.body#/data/0/name"),
)


def add_links(document: dict[str, Any]) -> None:
    """Lead from every answer that names something to all that can be asked of it."""
    paths: dict[str, dict[str, dict[str, Any]]] = document["paths"]
    for origin in _ORIGINS:
        answer = paths[origin.path][origin.method]["responses"][origin.status]
        marked = f"{{{origin.parameter}}}"
        answer["links"] = {
            operation["operationId"]: {
                "operationId": operation["operationId"],
                "parameters": {f"path.{origin.parameter}": origin.value},
            }
            for path, operations in paths.items()
            if marked in path
            for operation in operations.values()
        }
