import io
import socket
import time
from contextlib import closing
from pathlib import Path
from threading import Thread

import pytest
from PIL import Image

from descent import Client, DescentError, Refused, Unreachable, uploading
from descent.content import PIECE_BYTES, FileContent
from descent.errors import CutOff, TimedOut
from tests.descent.conftest import Answer, Request, Service, make_dataset, make_page, problem

TABLE = "age,ticket,alive\n" + "".join(f"{age},{'AB'[age % 2]},{'no' if age % 3 else 'yes'}\n" for age in range(60))


def test_a_table_is_uploaded_with_progress_and_looked_at(at_the_api: Client, tmp_path: Path) -> None:
    path = tmp_path / "ships.csv"
    path.write_text(TABLE + ",A,no\n")
    told: list[tuple[int, int]] = []
    dataset = at_the_api.upload(path, progress=lambda sent, size: told.append((sent, size)))
    assert told == [(0, path.stat().st_size), (path.stat().st_size,) * 2]
    assert (dataset.name, dataset.rows, dataset.format) == ("ships", 61, "csv")
    assert [(column.name, column.missing) for column in dataset.columns] == [("age", 1), ("ticket", 0), ("alive", 0)]
    assert at_the_api.dataset("ships") == dataset
    assert [one.name for one in at_the_api.preview(dataset).columns] == ["age", "ticket", "alive"]
    assert dataset.id in [one.id for one in at_the_api.datasets(page_size=1)]


def test_the_same_file_twice_is_one_data_set_with_its_first_name(at_the_api: Client, tmp_path: Path) -> None:
    path = tmp_path / "once.csv"
    path.write_text(TABLE + "70,C,no\n")
    first = at_the_api.upload(path)
    assert at_the_api.upload(str(path), name="twice") == first


def test_a_folder_of_class_folders_is_uploaded_and_deleted(at_the_api: Client, tmp_path: Path) -> None:
    for place, name in enumerate(("cat", "dog", "dog")):
        path = tmp_path / "pets" / name / f"{place}.png"
        path.parent.mkdir(parents=True, exist_ok=True)
        Image.new("L", (6, 4), 40 * place).save(path)
    dataset = at_the_api.upload(tmp_path / "pets", image_size=3)
    assert (dataset.name, dataset.format, dataset.grid) == ("pets", "images", [1, 3, 3])
    assert [(value.value, value.count) for value in dataset.columns[0].values or ()] == [("cat", 1), ("dog", 2)]
    at_the_api.delete_dataset("pets")
    with pytest.raises(Refused, match="there is no data set"):
        at_the_api.dataset(dataset)


def test_an_unreadable_file_is_refused_with_the_reason(at_the_api: Client, tmp_path: Path) -> None:
    path = tmp_path / "ragged.csv"
    path.write_text("a,b\n1,2\n3\n")
    with pytest.raises(Refused) as caught:
        at_the_api.upload(path)
    assert str(caught.value).startswith("row 2 has 1 cells")


def test_nothing_is_sent_of_an_empty_file(service: Service, client: Client, tmp_path: Path) -> None:
    (tmp_path / "empty.csv").touch()
    with pytest.raises(DescentError, match="is empty"):
        client.upload(tmp_path / "empty.csv")
    with pytest.raises(DescentError, match="nothing to upload"):
        client.upload()
    assert service.requests == []


def test_a_file_is_sent_again_from_its_beginning(service: Service, client: Client, tmp_path: Path) -> None:
    path = tmp_path / "long.csv"
    path.write_bytes(b"a" * (PIECE_BYTES + 1))
    service.on(
        "POST",
        "/v1/datasets",
        Answer(hang_up=True),
        problem(503, "unavailable", "The database is away"),
        Answer(201, make_dataset()),
    )
    told: list[int] = []
    client.upload(path, name="of mine", format="csv", progress=lambda sent, _: told.append(sent))
    assert [request.body == path.read_bytes() for request in service.requests] == [True] * 3
    assert told == [0, PIECE_BYTES, PIECE_BYTES + 1] * 3
    last = service.requests[-1]
    assert last.parameters == [("name", "of mine"), ("format", "csv")]
    assert last.headers["content-type"] == "application/octet-stream"
    assert last.headers["content-length"] == str(PIECE_BYTES + 1)
    assert "transfer-encoding" not in last.headers


def test_a_service_that_hangs_up_on_a_file_may_find_it_too_large(tmp_path: Path) -> None:
    path = tmp_path / "huge.csv"
    with path.open("wb") as file:
        file.truncate(64 * 1024**2)
    with closing(socket.create_server(("127.0.0.1", 0))) as listener:

        def hang_up() -> None:
            connection, _ = listener.accept()
            with connection:
                connection.recv(65_536)

        thread = Thread(target=hang_up)
        thread.start()
        url = f"http://127.0.0.1:{listener.getsockname()[1]}"
        with Client(url, patience_seconds=0) as client, pytest.raises(CutOff, match="larger than the service takes"):
            client.upload(path)
        thread.join()


def test_a_service_that_is_not_there_is_unreachable_for_a_file_too(tmp_path: Path) -> None:
    (tmp_path / "a.csv").write_text(TABLE)
    with Client("http://127.0.0.1:9", patience_seconds=0) as nobody, pytest.raises(Unreachable):
        nobody.upload(tmp_path / "a.csv")


def test_a_service_that_reads_for_too_long_may_still_be_reading(
    service: Service, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def slow(_: Request) -> Answer:
        time.sleep(0.3)
        return Answer(201, make_dataset())

    monkeypatch.setattr(uploading, "UPLOAD_SECONDS", 0.1)
    service.on("POST", "/v1/datasets", slow)
    (tmp_path / "a.csv").write_text(TABLE)
    with Client(service.url, patience_seconds=0) as client, pytest.raises(TimedOut, match="may still be reading"):
        client.upload(tmp_path / "a.csv")


def test_a_file_that_shrinks_while_it_is_sent_is_told_in_words(tmp_path: Path) -> None:
    path = tmp_path / "a.csv"
    path.write_text(TABLE)
    content = FileContent(path)
    path.write_text("a")
    with pytest.raises(DescentError, match="became shorter"):
        io.BytesIO().writelines(content)


def test_names_travel_in_paths_whatever_they_hold(service: Service, client: Client) -> None:
    service.on("GET", "/v1/datasets/a%20b%3Fc%2Fd", Answer(body=make_dataset(name="a b?c/d")))
    assert client.dataset("a b?c/d").name == "a b?c/d"


def test_data_sets_are_walked_page_by_page(service: Service, client: Client) -> None:
    service.on("GET", "/v1/datasets", Answer(body=make_page(make_dataset(), next_after="more")))
    assert next(client.datasets()).name == "titanic"
    assert len(service.requests) == 1
