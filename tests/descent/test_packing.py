import os
import zipfile
from pathlib import Path

import pytest

from descent import DescentError
from descent.packing import default_name, one_file


def write(folder: Path, *names: str) -> list[Path]:
    paths = [folder / name for name in names]
    for path in paths:
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(f"of {path.name}")
    return paths


def packed(*paths: Path) -> tuple[bytes, dict[str, bytes]]:
    """The zip, and what is in it."""
    with one_file(paths) as file, zipfile.ZipFile(file) as archive:
        assert all(entry.compress_type == zipfile.ZIP_STORED for entry in archive.infolist())
        return file.read_bytes(), {name: archive.read(name) for name in archive.namelist()}


def test_a_single_file_is_sent_as_it_is(tmp_path: Path) -> None:
    (path,) = write(tmp_path, "a.csv")
    with one_file([path]) as file:
        assert file == path


def test_several_files_give_the_same_zip_in_any_order_at_any_time(tmp_path: Path) -> None:
    paths = write(tmp_path, "b.gz", "a.gz")
    first, members = packed(*paths)
    for path in paths:
        os.utime(path, (1e9, 1e9))
        path.chmod(0o600)
    again, _ = packed(*reversed(paths))
    assert first == again
    assert list(members) == ["a.gz", "b.gz"]
    assert members["a.gz"] == b"of a.gz"


def test_a_folder_is_packed_by_paths_within_it_and_without_litter(tmp_path: Path) -> None:
    write(tmp_path, "pets/cat/1.png", "pets/dog/2.png", "pets/.DS_Store", "pets/cat/Thumbs.db", "pets/.git/config")
    assert list(packed(tmp_path / "pets")[1]) == ["cat/1.png", "dog/2.png"]


def test_several_folders_keep_their_names(tmp_path: Path) -> None:
    write(tmp_path, "cat/1.png", "dog/1.png")
    assert list(packed(tmp_path / "cat", tmp_path / "dog")[1]) == ["cat/1.png", "dog/1.png"]


def test_the_packed_file_is_gone_afterwards(tmp_path: Path) -> None:
    with one_file(write(tmp_path, "a", "b")) as file:
        assert file.exists()
    assert not file.parent.exists()


def test_two_files_of_one_name_are_refused(tmp_path: Path) -> None:
    paths = write(tmp_path, "one/a.gz", "two/a.gz")
    with pytest.raises(DescentError, match=r"would both be called a\.gz"), one_file(paths):
        pass


@pytest.mark.parametrize(
    ("kind", "words"),
    [
        ("absent", "does not exist"),
        ("empty", "is empty"),
        ("folder", "holds no files"),
        ("pipe", "neither a file nor a folder"),
        ("link", "is a link to a folder"),
    ],
)
def test_what_cannot_be_sent_is_refused_in_words(tmp_path: Path, kind: str, words: str) -> None:
    path = tmp_path / kind
    match kind:
        case "empty":
            path.touch()
        case "folder":
            path.mkdir()
        case "pipe":
            os.mkfifo(path)
        case "link":
            path.mkdir()
            (path / "loop").symlink_to(tmp_path)
    with pytest.raises(DescentError, match=words), one_file([path]):
        pass


def test_a_name_that_no_zip_can_hold_is_refused(tmp_path: Path) -> None:
    first, second = write(tmp_path, "a", "b")
    odd = tmp_path / os.fsdecode(b"\xff.png")
    try:
        second.rename(odd)
    except OSError:
        pytest.skip("the file system has no such names")
    with pytest.raises(DescentError, match="no name that can be sent"), one_file([first, odd]):
        pass


def test_a_data_set_is_called_as_its_file_or_its_folder(tmp_path: Path) -> None:
    (tmp_path / "pets").mkdir()
    assert default_name([Path("data/titanic.csv.gz")]) == "titanic"
    assert default_name([Path("cifar-10-binary.tar.gz")]) == "cifar-10-binary"
    assert default_name([Path("v1.2.csv")]) == "v1.2"
    assert default_name([tmp_path / "pets"]) == "pets"
    assert default_name([tmp_path / "mnist/a.gz", tmp_path / "mnist/b.gz"]) == "mnist"
    assert default_name([Path("odd\nname.csv")]) == "oddname"
