"""Every refusal is a problem that names the place, and nothing hostile brings down more than its own request."""

import json
import socket
from typing import Any

import httpx2
import pytest

from api.app import create_app
from api.auth.scopes import PUBLIC
from api.pointers import body_pointer
from models.answers import Problem
from models.settings import Settings
from tests.api.specs import spec
from tests.servers import http_client, running_api


def problem(answer: httpx2.Response, status: int) -> Problem:
    assert answer.status_code == status, answer.text
    assert answer.headers["Content-Type"] == "application/problem+json"
    refusal = Problem.model_validate(answer.json())
    assert refusal.status == status
    assert refusal.request_id == answer.headers["X-Request-ID"]
    return refusal


def refused(api: httpx2.Client, body: Any, path: str = "/v1/jobs") -> Problem:
    return problem(api.post(path, json=body), 422)


def raw(api: httpx2.Client, text: str | bytes) -> httpx2.Response:
    return api.post("/v1/jobs", content=text, headers={"Content-Type": "application/json"})


@pytest.mark.parametrize(
    ("changes", "pointer", "words"),
    [
        ({"optimizer": "adamm"}, "/optimizer", 'did you mean "adam"?'),
        ({"optimizer": {"kind": "sdg"}}, "/optimizer", 'did you mean "sgd"?'),
        ({"optimizer": {"learning_rate": 1}}, "/optimizer", 'which optimizer with "kind"'),
        (
            {"optimizer": {"kind": "sgd", "momentum": 0.9}},
            "/optimizer/momentum",
            "no known field of sgd: known are learning_rate",
        ),
        ({"optimizer": {"kind": "adam", "learning_rate": -1}}, "/optimizer/learning_rate", "greater than 0"),
        ({"optimizer": 3}, "/optimizer", "must be an object"),
        ({"optimizer": {"kind": "sam", "base": "adamm"}}, "/optimizer/base", 'did you mean "adam"?'),
        ({"optimizer": {"kind": "sam", "base": {"kind": "sam"}}}, "/optimizer/base", '"sam" is no known optimizer'),
        (
            {"optimizer": {"kind": "sam", "base": {"kind": "sgd", "momentum": 0.9}}},
            "/optimizer/base/momentum",
            "no known field of sgd: known are learning_rate",
        ),
        ({"schedule": "cosin"}, "/schedule", 'no known schedule: did you mean "cosine"?'),
        ({"schedule": {"kind": "step", "gama": 1}}, "/schedule/gama", 'no known field of step: did you mean "gamma"?'),
        ({"schedule": {"kind": "warmup", "steps": 0}}, "/schedule/steps", "greater than or equal to 1"),
        ({"optimzer": "adam"}, "/optimzer", 'did you mean "optimizer"?'),
        ({"evaluation": "holdoutt"}, "/evaluation", 'did you mean "holdout"?'),
        ({"evaluation": {"kind": "jackknife"}}, "/evaluation", "known are holdout, k_fold, bootstrap"),
        ({"evaluation": {"kind": "k_fold", "fold": 5}}, "/evaluation/fold", "Known are"),
        ({"evaluation": {"kind": "bagging", "ensemble": 1001}}, "/evaluation/ensemble", "1000"),
        ({"evaluation": {"kind": "bagging", "ensemble": 500}, "seeds": 3}, "/evaluation", "fewer of either"),
        ({"network": "cnn"}, "/network", "take mlp"),
        ({"regularizers": [{"kind": "augmentation", "flip": True}]}, "", "leave out all but amplitude"),
        ({"dataset": "mnist1d", "regularizers": [{"kind": "augmentation", "rotation": 9}]}, "", "cannot rotate"),
        ({"dataset": "iris", "regularizers": ["cutmix"]}, "", "take mixup"),
        ({"regularizers": ["cutmix"]}, "", "take mixup"),
        ({"dataset": "digits", "regularizers": ["cutmix", "mixup"]}, "", "take one of them"),
        ({"loss": "mae"}, "/loss", 'did you mean "mse"?'),
        ({"loss": "cross_entropy"}, "", "needs classes"),
        ({"regularizers": ["l2", {"kind": "dropout", "probability": 1}]}, "/regularizers/1/probability", "less than 1"),
        ({"regularizers": ["label_smoothing"]}, "", "label_smoothing spreads a class over all classes"),
        ({"regularizers": [{"kind": "l1", "proximal": True}]}, "", "take gradient_descent, sgd, momentum or nesterov"),
        ({"regularizers": ["l22"]}, "/regularizers/0", 'no known regularizer: did you mean "l2"?'),
        ({"network": {"kind": "mlp", "hidden": [1_000_000_000]}}, "/network/hidden/0", "8192"),
        ({"network": {"kind": "mlp", "hidden": [8192, 8192, 8192]}}, "/network", "parameters exceed"),
        ({"network": {"kind": "mlp", "hidden": [2048, 2048]}}, "/network", "bytes a run exceed the 67,108,864"),
        ({"budget": {"epochs": 10**12}}, "/budget/epochs", "10000"),
        ({"budget": {"epochs": 10**400}}, "/budget/epochs", "a whole number may be at most"),
        ({"budget": {"steps": 5, "epochs": 5}}, "/budget", "either in steps or in epochs"),
        ({"batch_size": 100_000}, "/batch_size", "65,536"),
        ({"batch_size": 900}, "/batch_size", "exceeds the 600 training rows"),
        ({"record": {"every_steps": "often"}}, "/record/every_steps", "or "),
        ({"seeds": [1, 1]}, "/seeds", "only once"),
        ({"seeds": 2.5}, "/seeds", ""),
        ({"tags": ["a" * 65]}, "/tags/0", "64"),
        ({"name": "two\nlines"}, "/name", ""),
        ({"notes": "nul \0 inside"}, "/notes", "NUL"),
    ],
)
def test_a_wrong_spec_is_refused_at_the_right_place(
    lasting_api: httpx2.Client, changes: dict[str, Any], pointer: str, words: str
) -> None:
    for path in ("/v1/jobs", "/v1/jobs/validate"):
        refusal = refused(lasting_api, spec(**changes), path)
        assert [error.pointer for error in refusal.errors] == [pointer]
        assert words in refusal.errors[0].detail
        assert refusal.detail == refusal.errors[0].detail


def test_unknown_kinds_list_the_known_ones(lasting_api: httpx2.Client) -> None:
    assert "gradient_descent, sgd, momentum, nesterov" in refused(lasting_api, spec(optimizer="zzz")).detail


def test_all_errors_are_reported_at_once(lasting_api: httpx2.Client) -> None:
    refusal = refused(lasting_api, {"optimizer": {"kind": "adam", "learning_rate": 0, "rho": 1}, "colour": 1})
    assert {error.pointer for error in refusal.errors} == {
        "/dataset",
        "/optimizer/learning_rate",
        "/optimizer/rho",
        "/colour",
    }
    assert refusal.detail == "the request has 4 errors"


MANY: list[Any] = [""] * 60_000
KEYS = {f"field_{number}": 1 for number in range(12_000)}


@pytest.mark.parametrize(
    ("changes", "pointer", "words"),
    [
        ({"seeds": MANY}, "/seeds/0", "valid integer"),
        ({"tags": MANY}, "/tags/0", "at least 1 character"),
        ({"regularizers": MANY}, "/regularizers/0", "no known regularizer"),
        ({"analyses": MANY}, "/analyses/0", "no known kind"),
        ({"network": {"kind": "mlp", "hidden": MANY}}, "/network/hidden/0", "valid integer"),
        ({"network": {"kind": "cnn", "kernels": MANY}}, "/network/kernels/0", "valid integer"),
        ({"record": {"snapshots": MANY}}, "/record/snapshots/0", "valid integer"),
        ({"dataset": {"kind": "polynomial", "coefficients": MANY}}, "/dataset/coefficients/0", "valid number"),
        ({"dataset": {"kind": "uploaded", "id": "x", "features": MANY}}, "/dataset/features/0", "at least 1 character"),
        (KEYS, "", "this has 12,002 fields"),
        ({"optimizer": {"kind": "adam", **KEYS}}, "/optimizer", "this has 12,001 fields"),
        ({"optimizer": {"kind": "sam", "base": {"kind": "adam", **KEYS}}}, "/optimizer/base", "this has 12,001 fields"),
    ],
    ids=lambda value: value if isinstance(value, str) else "",
)
def test_thousands_of_mistakes_are_one_error(
    lasting_api: httpx2.Client, changes: dict[str, Any], pointer: str, words: str
) -> None:
    refusal = refused(lasting_api, {"dataset": "sine", "optimizer": "adam"} | changes, "/v1/jobs/validate")
    assert [error.pointer for error in refusal.errors] == [pointer]
    assert words in refusal.errors[0].detail


def test_of_many_errors_the_first_are_reported(lasting_api: httpx2.Client) -> None:
    refusal = refused(
        lasting_api, {"base": {}, "grid": {f"path_{number}": [] for number in range(8_000)}}, "/v1/sweeps"
    )
    assert [error.pointer for error in refusal.errors] == [f"/grid/path_{number}" for number in range(20)]
    assert refusal.detail == "the request has at least 20 errors"


@pytest.mark.parametrize(
    ("text", "status", "pointer", "words"),
    [
        ('{"dataset": "sine",\n "optimizer": }', 400, None, "line 2, column 15"),
        ("", 422, "", "required"),
        ("[]", 422, "", "must be an object"),
        ('{"optimizer": {"kind": "adam", "learning_rate": NaN}}', 422, "/optimizer/learning_rate", "NaN"),
        ('{"budget": {"steps": -Infinity}}', 422, "/budget/steps", "-Infinity"),
        ('{"noise": 1e999}', 422, "/noise", "too large"),
        ('{"a": 1, "b": {"c": 1, "c": 2}}', 422, "/b/c", "stands twice"),
        ('{"a": ' * 17 + "1" + "}" * 17, 422, "/a" * 17, "nested deeper than 16"),
        ("[" * 100_000, 422, "", "nested deeper than 16"),
        ('{"notes": "\\ud800"}', 422, "/notes", "half a character"),
        ('{"\\udfff": 1}', 422, "", "half a character"),
        (b'{"a": "\xff"}', 400, None, "UTF-8"),
        ("\ufeff{}", 400, None, "BOM"),
        ("null", 422, "", ""),
        ("1" * 5_000, 422, "", "at most"),
    ],
)
def test_a_hostile_body_is_refused(
    lasting_api: httpx2.Client, text: str | bytes, status: int, pointer: str | None, words: str
) -> None:
    refusal = problem(raw(lasting_api, text), status)
    assert words in refusal.detail
    assert [error.pointer for error in refusal.errors] == ([] if pointer is None else [pointer])


def test_json_nested_to_the_limit_is_read(lasting_api: httpx2.Client) -> None:
    body = '{"a": ' * 16 + "1" + "}" * 16
    assert "nested" not in problem(raw(lasting_api, body), 422).detail


def test_a_body_of_a_megabyte_is_too_large(lasting_api: httpx2.Client) -> None:
    assert "262,144" in problem(raw(lasting_api, json.dumps(spec(notes="x" * 2**20))), 413).detail


def test_a_body_is_counted_as_it_comes_whatever_its_header_says(lasting_api: httpx2.Client) -> None:
    def endless() -> Any:
        for _ in range(64):
            yield b" " * 16_384

    answer = lasting_api.post("/v1/jobs", content=endless(), headers={"Content-Type": "application/json"})
    assert "Content-Length" not in answer.request.headers
    problem(answer, 413)


def test_a_body_that_is_not_called_json_is_refused(lasting_api: httpx2.Client) -> None:
    body = json.dumps(spec())
    for headers in ({"Content-Type": "text/plain"}, {"Content-Type": "multipart/form-data; boundary=x"}, {}):
        problem(lasting_api.post("/v1/jobs", content=body, headers=headers), 415)
    for media_type in ("application/json; charset=utf-8", "application/vnd.descent+json"):
        answer = lasting_api.post("/v1/jobs/validate", content=body, headers={"Content-Type": media_type})
        assert answer.status_code == 200


def test_unknown_paths_and_methods_are_problems_too(lasting_api: httpx2.Client) -> None:
    problem(lasting_api.get("/v2/jobs"), 404)
    answer = lasting_api.put("/v1/jobs")
    assert problem(answer, 405).detail == "this path takes GET, POST"
    assert answer.headers["Allow"] == "GET, POST"


@pytest.mark.parametrize("moment", ["0.5", "1e9", "1700000000", "inf"])
def test_a_bare_number_is_no_moment(lasting_api: httpx2.Client, moment: str) -> None:
    refusal = problem(lasting_api.get("/v1/jobs", params={"created_after": moment}), 422)
    assert refusal.errors[0].pointer == "?created_after"
    assert "2026-11-25T12:00:00Z" in refusal.errors[0].detail


@pytest.mark.parametrize("host", ["evil.example", "127.0.0.1.evil.example", "localhost@evil", "", "[::2]"])
def test_a_foreign_host_is_not_served(lasting_api: httpx2.Client, host: str) -> None:
    problem(lasting_api.get("/v1/jobs", headers={"Host": host}), 400)


@pytest.mark.parametrize("host", ["localhost", "LOCALHOST:80", "[::1]:8000", "127.0.0.1"])
def test_this_machine_is_served_by_every_name(lasting_api: httpx2.Client, host: str) -> None:
    assert lasting_api.get("/healthz", headers={"Host": host}).status_code == 200


def test_nul_in_an_address_is_refused_before_a_database_sees_it(lasting_api: httpx2.Client) -> None:
    problem(lasting_api.get("/v1/jobs/%00"), 400)
    problem(lasting_api.get("/v1/jobs?experiment=%00"), 400)


def test_every_answer_bears_an_id_and_keeps_browsers_in_check(lasting_api: httpx2.Client) -> None:
    for path in ("/v1/jobs", "/nothing", "/docs", "/metrics"):
        answer = lasting_api.get(path)
        assert answer.headers["X-Content-Type-Options"] == "nosniff"
        assert answer.headers["Referrer-Policy"] == "no-referrer"
        assert "frame-ancestors 'none'" in answer.headers["Content-Security-Policy"]
        assert answer.headers["X-Request-ID"].startswith("req_")
        assert "Access-Control-Allow-Origin" not in answer.headers
    own = lasting_api.get("/healthz", headers={"X-Request-ID": "mine-1"})
    assert own.headers["X-Request-ID"] == "mine-1"
    foreign = lasting_api.get("/healthz", headers={"X-Request-ID": "<script>"})
    assert foreign.headers["X-Request-ID"].startswith("req_")


def test_a_failure_of_ours_tells_nothing_but_its_id(
    settings_on_sqlite: Settings, capfd: pytest.CaptureFixture[str]
) -> None:
    app = create_app(settings_on_sqlite)

    @app.get("/broken", dependencies=[PUBLIC])
    def broken() -> None:
        raise RuntimeError("secret of the house")

    with running_api(app) as url, http_client(url) as api:
        answer = api.get("/broken")
    refusal = problem(answer, 500)
    assert "secret" not in answer.text
    assert "Traceback" not in answer.text
    logged = capfd.readouterr().err
    assert "secret of the house" in logged
    assert refusal.request_id in logged


def test_a_database_that_is_down_is_503_with_a_time_to_come_back(settings_on_sqlite: Settings) -> None:
    with socket.socket() as nobody:
        nobody.bind(("127.0.0.1", 0))
        url = f"postgresql+psycopg://x:y@127.0.0.1:{nobody.getsockname()[1]}/none"
        settings = settings_on_sqlite.model_copy(update={"database_url": url})
        with running_api(create_app(settings)) as api_url, http_client(api_url) as api:
            for answer in (api.get("/v1/jobs"), api.post("/v1/jobs", json=spec()), api.get("/v1/runs/x/metrics")):
                problem(answer, 503)
                assert int(answer.headers["Retry-After"]) > 0
            readiness = api.get("/readyz")
            assert (readiness.status_code, readiness.json()["database"]) == (503, False)
            assert readiness.json()["metrics"] is True


def test_every_route_declares_its_problems_with_examples(lasting_api: httpx2.Client) -> None:
    document = lasting_api.get("/openapi.json").json()
    for path, operations in document["paths"].items():
        for method, operation in operations.items():
            assert operation["summary"], (method, path)
            if path in ("/healthz", "/readyz"):
                continue
            assert {"422", "500", "503"} <= set(operation["responses"]), (method, path)
            for status, response in operation["responses"].items():
                if int(status) < 400:
                    continue
                declared = response["content"]["application/problem+json"]
                assert declared["examples"], (method, path, status)
                assert declared["schema"]["$ref"].endswith("/Problem"), (method, path, status)
                assert "application/json" not in response["content"], (method, path, status)
            if "{" in path:
                assert "404" in operation["responses"], (method, path)


def test_pointers_skip_the_tags_that_pydantic_puts_in() -> None:
    body = {"optimizer": {"kind": "adam", "betas": [0.9, 2]}, "network": "mlp", "a/b~c": 1}
    assert body_pointer(("optimizer", "adam", "betas", 1), body) == "/optimizer/betas/1"
    assert body_pointer(("network", "mlp", "hidden"), body) == "/network"
    assert body_pointer(("a/b~c",), body) == "/a~1b~0c"
    assert body_pointer(("optimizer", "adam", "gone"), body) == "/optimizer/gone"
