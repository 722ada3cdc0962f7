"""What the service says of itself: OpenAPI with its problems, keys and links, and a page that shows it."""

import base64
import hashlib
from functools import cache
from importlib.resources import files
from pathlib import Path
from typing import Any

from fastapi import FastAPI
from starlette.responses import HTMLResponse, JSONResponse, Response

from api import errors
from api.auth.scopes import PUBLIC, requires
from api.http.static_files import add_static_files
from api.links import add_links
from models.access import Scope

_FOLDER = Path(str(files("fastapi_offline") / "static"))
_ASSETS = ("favicon.png", "swagger-ui.css", "swagger-ui-bundle.js")
_SCRIPT = """
"use strict";
const place = "descent.key";
const given = new URLSearchParams(location.hash.slice(1)).get("key");
if (given) {
  sessionStorage.setItem(place, given);
  history.replaceState(null, "", location.pathname);
}
const form = document.querySelector("form");
async function show() {
  const key = sessionStorage.getItem(place);
  const headers = { Authorization: `Bearer ${key}` };
  const answer = key ? await fetch("/openapi.json", { headers }) : null;
  form.hidden = Boolean(answer?.ok);
  if (!answer?.ok) {
    form.querySelector("output").value = answer ? (await answer.json()).detail : "";
    return;
  }
  SwaggerUIBundle({
    spec: await answer.json(),
    dom_id: "#documentation",
    deepLinking: true,
    requestInterceptor: (request) => {
      request.headers.Authorization ??= headers.Authorization;
      return request;
    },
  });
}
form.addEventListener("submit", (event) => {
  event.preventDefault();
  sessionStorage.setItem(place, form.elements.key.value.trim());
  show();
});
show();
"""

_PAGE = f"""<!doctype html>
<html lang="en">
<meta charset="utf-8">
<meta name="viewport" content="width=device-width, initial-scale=1">
<title>Descent: the HTTP interface</title>
<link rel="icon" href="/docs/files/favicon.png">
<link rel="stylesheet" href="/docs/files/swagger-ui.css">
<style>
  body {{ margin: 0; font-family: system-ui, sans-serif; }}
  form {{ max-width: 32rem; margin: 20vh auto; padding: 0 1rem; display: grid; gap: .75rem; }}
  form[hidden] {{ display: none; }}
  input, button {{ font: inherit; padding: .5rem .75rem; }}
  output {{ color: #b00020; min-height: 1.5em; }}
</style>
<form hidden>
  <label for="key">A key opens this page. <code>descent up</code> prints a link that carries one.</label>
  <input id="key" name="key" type="password" autocomplete="off" required autofocus>
  <button>Open</button>
  <output></output>
</form>
<div id="documentation"></div>
<script src="/docs/files/swagger-ui-bundle.js"></script>
<script>{_SCRIPT}</script>
</html>
"""
_SCRIPTS = "'sha256-" + base64.b64encode(hashlib.sha256(_SCRIPT.encode()).digest()).decode() + "'"
_POLICY = (
    f"default-src 'self'; script-src 'self' {_SCRIPTS}; style-src 'self' 'unsafe-inline'; img-src 'self' data:; "
    "frame-ancestors 'none'; base-uri 'none'; form-action 'none'"
)


def add_documentation(app: FastAPI) -> None:
    """Describe the API at /openapi.json, and show it at /docs from files of a wheel: nothing is fetched elsewhere."""
    describe = app.openapi

    def openapi() -> dict[str, Any]:
        if app.openapi_schema is None:
            document = describe()
            errors.add_schemas(document)
            add_links(document)
        assert app.openapi_schema is not None
        return app.openapi_schema

    app.openapi = openapi  # type: ignore[method-assign]

    @cache
    def rendered() -> bytes:
        return bytes(JSONResponse(app.openapi()).body)

    add_static_files(app, "/docs/files", [_FOLDER / name for name in _ASSETS], {})

    @app.get("/openapi.json", include_in_schema=False, dependencies=[requires(Scope.READ)])
    async def document() -> Response:
        return Response(rendered(), media_type="application/json")

    @app.get("/docs", include_in_schema=False, dependencies=[PUBLIC])
    async def documentation() -> HTMLResponse:
        return HTMLResponse(_PAGE, headers={"Content-Security-Policy": _POLICY})
