"""The dashboard's files, and the policy under which a browser runs them: nothing comes from elsewhere."""

from importlib.resources import files
from pathlib import Path

from fastapi import FastAPI
from starlette.responses import Response

from api.auth.scopes import PUBLIC
from api.http.static_files import StaticFile, add_static_files
from api.responses import IfNoneMatch

_FOLDER = Path(__file__).parent
_PLOTLY = Path(str(files("plotly") / "package_data" / "plotly.min.js"))
POLICY = (
    "default-src 'self'; script-src 'self'; style-src 'self' 'unsafe-inline'; img-src 'self' data: blob:; "
    "connect-src 'self'; frame-ancestors 'none'; base-uri 'none'; form-action 'none'"
)
"""Plotly writes style rules of its own, so styles may stand in the page; scripts may not."""
_HEADERS = {"Content-Security-Policy": POLICY}


def add_dashboard(app: FastAPI) -> None:
    """Serve the page at `/`, and its assets below `/dashboard/`."""
    index = StaticFile(_FOLDER / "index.html", _HEADERS)

    @app.get("/", include_in_schema=False, dependencies=[PUBLIC])
    async def page(if_none_match: IfNoneMatch = None) -> Response:
        return index.response(if_none_match)

    assets = [path for path in _FOLDER.iterdir() if path.suffix in (".css", ".js", ".svg")]
    add_static_files(app, "/dashboard", [*assets, _PLOTLY], _HEADERS)
