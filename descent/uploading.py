# Made from descent/asynchronous/uploading.py: change that file, then `make format`.
"""The client's part for data: upload it, look at it, have networks predict on it."""

from collections.abc import Iterator
from pathlib import Path
from urllib.parse import quote

from descent import exchange, packing, prediction_rows
from descent.asking import Asking
from descent.content import FileContent, Progress
from descent.errors import Refused
from descent.naming import PAGE_SIZE, given, id_of
from descent.prediction_rows import Part, Rows
from models.answers import Dataset, DatasetPreview, DatasetSummary, Predictions, Run

UPLOAD_SECONDS = 700.0
"""A service may read a file for ten minutes before it answers."""


class Uploading(Asking):
    """Data sets by their id, their name, or the `Dataset` itself."""

    def upload(
        self,
        *paths: Path | str,
        name: str = "",
        format: str = "auto",
        image_size: int | None = None,
        progress: Progress | None = None,
    ) -> Dataset:
        """Hand in a file as a data set; or several files, or a folder of class folders, packed into one zip.

        It is called `name`, or else as the file or the folder. The same files twice are one data set, which keeps its
        first name. `progress` is told how many bytes were sent, and of how many.

        Example:
            >>> titanic = client.upload("titanic.csv")
            >>> client.submit({"dataset": {"kind": "uploaded", "id": titanic.name}, "optimizer": "adam"})

        """
        files = [Path(path) for path in paths]
        with packing.one_file(files) as file:
            parameters = given(
                name=name or packing.default_name(files) or None,
                format=format if format != "auto" else None,
                image_size=None if image_size is None else str(image_size),
            )
            answer = self._transport.send(
                "POST",
                "/v1/datasets",
                parameters=parameters,
                content=FileContent(file, progress),
                headers={"Content-Type": "application/octet-stream"},
                read_seconds=UPLOAD_SECONDS,
            )
        return exchange.read(Dataset, answer, self._transport.url)

    def datasets(self, *, page_size: int = PAGE_SIZE) -> Iterator[DatasetSummary]:
        """Walk through the data sets that were uploaded, newest first."""
        return self._pages(DatasetSummary, "/v1/datasets", [("limit", str(page_size))])

    def dataset(self, dataset: str | DatasetSummary) -> Dataset:
        """What a data set's columns hold."""
        return self._ask(Dataset, "GET", _path_of(dataset))

    def preview(self, dataset: str | DatasetSummary) -> DatasetPreview:
        """A data set's first rows, or some of its images."""
        return self._ask(DatasetPreview, "GET", f"{_path_of(dataset)}/preview")

    def delete_dataset(self, dataset: str | DatasetSummary) -> None:
        """Delete a data set that no job needs."""
        self._transport.send("DELETE", _path_of(dataset))

    def predict(self, run: str | Run, rows: Rows | Path | str) -> Predictions:
        """What a run's network says of raw rows: objects of column name to value, or lists of numbers, or a CSV file.

        They are sent in several requests where they are too many for one: a large network takes fewer than a small one.

        Example:
            >>> answer = client.predict(run, [{"age": 29, "class": "first", "sex": "female"}])
            >>> answer.predictions
            ['yes']

        """
        answers: list[Predictions] = []
        most = prediction_rows.MOST_ROWS
        for part in prediction_rows.parts(Path(rows) if isinstance(rows, str) else rows):
            left = part.cut(most)
            while left:
                try:
                    answers.append(self._predict(run, left[0]))
                except Refused as refused:
                    most = prediction_rows.rows_taken(refused)
                    if not 0 < most < len(left[0].rows):
                        raise prediction_rows.at_home(refused, left[0]) from refused
                    left = [smaller for larger in left for smaller in larger.cut(most)]
                else:
                    del left[0]
        return prediction_rows.joined(answers)

    def _predict(self, run: str | Run, part: Part) -> Predictions:
        path, headers = f"/v1/runs/{id_of(run)}/predictions", {"Content-Type": part.form.media_type}
        answer = self._transport.send("POST", path, content=part.content, headers=headers)
        return exchange.read(Predictions, answer, self._transport.url)


def _path_of(dataset: str | DatasetSummary) -> str:
    """Names of data sets may hold anything."""
    return "/v1/datasets/" + quote(dataset if isinstance(dataset, str) else dataset.id, safe="")
