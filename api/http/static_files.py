"""Static files of the dashboard and of `/docs`, served without a key."""

import hashlib
from collections.abc import Iterable, Mapping
from mimetypes import guess_type
from pathlib import Path

from fastapi import FastAPI, HTTPException, Response
from starlette.types import Receive, Scope, Send

from api.auth.scopes import PUBLIC
from api.responses import IfNoneMatch, matches

CHUNK_BYTES = 64 * 1024


class StaticFile:
    """A file that is served from memory: reading it from disk would take a thread for each chunk."""

    def __init__(self, path: Path, headers: Mapping[str, str]) -> None:
        """Read the file, to be sent with these headers."""
        self._content = path.read_bytes()
        self._media_type, _ = guess_type(path)
        self._etag = f'"{hashlib.sha256(self._content).hexdigest()[:32]}"'
        self._headers = {**headers, "ETag": self._etag, "Cache-Control": "no-cache"}

    def response(self, if_none_match: str | None) -> Response:
        """Return the file, or 304 if the client has it."""
        if if_none_match is not None and matches(if_none_match, self._etag, weakly=True):
            return Response(status_code=304, headers=self._headers)
        return _ChunkedResponse(self._content, headers=self._headers, media_type=self._media_type)


class _ChunkedResponse(Response):
    """A response that is sent in chunks, so that a large one neither blocks the event loop nor fills buffers."""

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:  # noqa: ARG002
        await send({"type": "http.response.start", "status": self.status_code, "headers": self.raw_headers})
        for start in range(0, max(1, len(self.body)), CHUNK_BYTES):
            end = start + CHUNK_BYTES
            chunk = self.body[start:end]
            await send({"type": "http.response.body", "body": chunk, "more_body": end < len(self.body)})


def add_static_files(app: FastAPI, folder: str, paths: Iterable[Path], headers: Mapping[str, str]) -> None:
    """Serve files under their names in a folder of the API."""
    files = {path.name: StaticFile(path, headers) for path in paths}

    @app.get(f"{folder}/{{name}}", include_in_schema=False, dependencies=[PUBLIC])
    async def static_file(name: str, if_none_match: IfNoneMatch = None) -> Response:
        if name not in files:
            raise HTTPException(404)
        return files[name].response(if_none_match)
