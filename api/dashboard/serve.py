"""The dashboard's files, and the policy under which a browser runs them: nothing comes from elsewhere."""

from importlib.resources import files
from pathlib import Path
from typing import Any

from fastapi import FastAPI
from starlette.responses import FileResponse, Response
from starlette.staticfiles import StaticFiles

from api.auth.scopes import PUBLIC

_FOLDER = Path(__file__).parent
_PLOTLY = Path(str(files("plotly") / "package_data" / "plotly.min.js"))
POLICY = (
    "default-src 'self'; script-src 'self'; style-src 'self' 'unsafe-inline'; img-src 'self' data: blob:; "
    "connect-src 'self'; frame-ancestors 'none'; base-uri 'none'; form-action 'none'"
)
"""Plotly writes style rules of its own, so styles may stand in the page; scripts may not."""
_HEADERS = {"Content-Security-Policy": POLICY, "Cache-Control": "no-cache"}


class _Files(StaticFiles):
    """Files of this folder, but for Python's."""

    def file_response(self, *arguments: Any, **more: Any) -> Response:
        answer = super().file_response(*arguments, **more)
        answer.headers.update(_HEADERS)
        return answer

    def lookup_path(self, path: str) -> tuple[str, object]:  # type: ignore[override]
        return ("", None) if path.endswith((".py", ".pyc")) else super().lookup_path(path)


def add_dashboard(app: FastAPI) -> None:
    """Serve the page at `/`, and what it consists of below `/dashboard/`."""

    @app.get("/", include_in_schema=False, dependencies=[PUBLIC])
    async def page() -> FileResponse:
        return FileResponse(_FOLDER / "index.html", media_type="text/html", headers=_HEADERS)

    @app.get("/dashboard/plotly.min.js", include_in_schema=False, dependencies=[PUBLIC])
    async def plotly() -> FileResponse:
        return FileResponse(_PLOTLY, media_type="text/javascript", headers=_HEADERS)

    app.mount("/dashboard", _Files(directory=_FOLDER), name="dashboard")
