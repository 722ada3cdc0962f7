"""Folders of images: their classes, their sizes and colours, and images that are none."""

import base64
import io
import struct
import zlib
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from tests.api.parsing.files import Array, gray, image_of, refused, rows, take, tar_of, targets, zip_of

RED = np.zeros((4, 4, 3), np.uint8)
RED[..., 0] = 200


def coloured(red: int, green: int, blue: int, alpha: int | None = None) -> Image.Image:
    if alpha is None:
        return Image.new("RGB", (4, 4), (red, green, blue))
    return Image.new("RGBA", (4, 4), (red, green, blue, alpha))


def test_folders_are_classes(tmp_path: Path) -> None:
    pixels = np.arange(6, dtype=np.uint8).reshape(2, 3)
    data = zip_of(
        {"dog/b.png": image_of(pixels + 20), "dog/a.PNG": image_of(pixels + 10), "cat/z.png": image_of(pixels)}
    )
    parsed = take(tmp_path, data)
    found = parsed.description
    assert (found.format, found.layout, found.rows, found.grid, found.numbers) == (
        "images",
        "grid",
        3,
        (1, 2, 3),
        "uint8",
    )
    assert rows(tmp_path).tolist() == [list(range(6)), list(range(10, 16)), list(range(20, 26))]
    assert targets(tmp_path).tolist() == [0, 1, 1]
    (label,) = found.columns
    assert (label.name, label.type, label.distinct) == ("label", "category", 2)
    assert [(value.value, value.count) for value in label.values or ()] == [("cat", 1), ("dog", 2)]
    assert max(value.last_sealed for value in label.values or ()) == 3
    assert found.notes == ()
    assert parsed.preview.rows == [["cat"], ["dog"], ["dog"]]
    first = parsed.preview.thumbnails[0]
    assert first["label"] == "cat"
    with Image.open(io.BytesIO(base64.b64decode(first["png"]))) as shown:
        assert np.asarray(shown).tolist() == pixels.tolist()


def test_colours_lie_one_after_the_other(tmp_path: Path) -> None:
    found = take(tmp_path, zip_of({"a/1.png": image_of(coloured(1, 2, 3)), "b/1.png": gray(9)})).description
    assert found.grid == (3, 4, 4)
    assert rows(tmp_path).tolist() == [[1] * 16 + [2] * 16 + [3] * 16, [9] * 48]


def test_what_is_transparent_is_white(tmp_path: Path) -> None:
    half = image_of(coloured(0, 0, 0, 0))
    gray_alpha = image_of(Image.new("LA", (4, 4), (7, 255)))
    take(tmp_path, zip_of({"a/1.png": half, "b/1.png": image_of(coloured(5, 6, 7, 255))}))
    assert rows(tmp_path)[:, [0, 16, 32]].tolist() == [[255, 255, 255], [5, 6, 7]]
    found = take(tmp_path, zip_of({"a/1.png": gray_alpha, "b/1.png": gray(3)})).description
    assert found.grid == (1, 4, 4)
    assert rows(tmp_path)[:, 0].tolist() == [7, 3]


def test_other_kinds_of_pixels_become_bytes(tmp_path: Path) -> None:
    deep = Image.fromarray(np.full((4, 4), 0x1234, np.uint16))
    bits = Image.new("1", (4, 4), 1)
    palette = coloured(10, 20, 30).convert("P", palette=Image.Palette.ADAPTIVE)
    take(tmp_path, zip_of({"a/1.png": image_of(deep), "b/1.png": image_of(bits)}))
    assert rows(tmp_path)[:, 0].tolist() == [0x12, 255]
    take(tmp_path, zip_of({"a/1.png": image_of(palette), "b/1.jpg": image_of(coloured(9, 9, 9), "JPEG")}))
    assert rows(tmp_path)[:, [0, 16, 32]].tolist() == [[10, 20, 30], [9, 9, 9]]


def test_a_folder_on_top_and_litter_are_looked_past(tmp_path: Path) -> None:
    members = {
        "pets/cat/1.png": gray(1),
        "pets/dog/1.jpeg": image_of(np.full((4, 4), 2, np.uint8), "JPEG"),
        "pets/readme.txt": b"hello",
        "pets/.DS_Store": b"x",
        "pets/cat/Thumbs.db": b"x",
        "__MACOSX/pets/cat/._1.png": b"x",
        ".git/cat/1.png": b"x",
    }
    for data in (zip_of(members), tar_of(dict(members)), tar_of(dict(members), "gz")):
        found = take(tmp_path, data).description
        assert found.rows == 2
        assert found.notes == ("left out, for they are no images: pets/readme.txt",)


def test_images_of_several_sizes_are_resized(tmp_path: Path) -> None:
    sizes = zip_of({"a/1.png": gray(10, 4), "a/2.png": gray(20, 6), "b/1.png": gray(30, 8)})
    found = take(tmp_path, sizes).description
    assert (found.grid, found.notes) == ((1, 6, 6), ("images of several sizes were resized to 6 x 6",))
    assert rows(tmp_path)[:, 0].tolist() == [10, 20, 30]
    found = take(tmp_path, sizes, image_size=5).description
    assert (found.grid, found.notes) == ((1, 5, 5), ("images were resized to 5 x 5",))
    large = zip_of({"a/1.png": gray(10, 200), "b/2.png": gray(20, 201)})
    assert take(tmp_path, large).description.grid == (1, 64, 64)
    same = zip_of({"a/1.png": gray(10, 8), "b/2.png": gray(20, 8)})
    assert take(tmp_path, same, image_size=8).description.notes == ()


@pytest.mark.parametrize(("classes", "each", "shown"), [(2, 20, 6), (20, 1, 1), (3, 2, 2), (12, 3, 1)])
def test_thumbnails_are_spread_over_the_classes(tmp_path: Path, classes: int, each: int, shown: int) -> None:
    images = {f"c{kind:02}/{number}.png": gray(kind) for kind in range(classes) for number in range(each)}
    labels = [image["label"] for image in take(tmp_path, zip_of(images)).preview.thumbnails]
    assert len(labels) == min(12, classes * each)
    assert {labels.count(label) for label in labels} == {shown}
    assert labels == sorted(labels)


def chunk(kind: bytes, data: bytes) -> bytes:
    return struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data))


def png_bomb(width: int, height: int) -> bytes:
    header = struct.pack(">2I5B", width, height, 8, 0, 0, 0, 0)
    return (
        b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", header) + chunk(b"IDAT", zlib.compress(bytes(1000))) + chunk(b"IEND", b"")
    )


@pytest.mark.parametrize(
    ("image", "code", "words"),
    [
        (png_bomb(50_000, 50_000), "too_large", "a/2.png has more than 4,000,000 pixels"),
        (png_bomb(2**31 - 1, 2**31 - 1), "too_large", "a/2.png has more than 4,000,000 pixels"),
        (png_bomb(2001, 2000), "too_large", "a/2.png has more than 4,000,000 pixels"),
        (png_bomb(100, 100), "unreadable", "a/2.png is damaged"),
        (png_bomb(0, 4), "unreadable", "a/2.png is"),
        (gray(1, 50)[:-30], "unreadable", "a/2.png is damaged"),
        (
            image_of(np.random.default_rng(0).integers(0, 255, (50, 50), np.uint8), "JPEG")[:-300],
            "unreadable",
            "damaged",
        ),
        (b"GIF89a", "unreadable", "a/2.png is no readable PNG or JPEG"),
        (image_of(RED, "GIF"), "unreadable", "a/2.png is no readable PNG or JPEG"),
        (image_of(RED, "TIFF"), "unreadable", "a/2.png is no readable PNG or JPEG"),
        (b"", "unreadable", "a/2.png is no readable PNG or JPEG"),
    ],
)
def test_an_image_that_is_none_is_refused_by_name(tmp_path: Path, image: bytes, code: str, words: str) -> None:
    data = zip_of({"a/1.png": gray(1), "a/2.png": image, "b/1.png": gray(2)})
    refused(tmp_path, data, code, words)


@pytest.mark.parametrize(
    ("members", "words"),
    [
        (["cat/1.png", "cat/2.png"], "all images lie in one folder"),
        (["pets/cat/1.png", "pets/cat/2.png"], "all images lie in one folder"),
        (["1.png", "2.png"], "1.png lies in no folder"),
        (["cat/1.png", "2.png"], "2.png lies in no folder"),
        (["train/cat/1.png", "test/cat/1.png"], "test/cat/1.png lies in no folder of a class"),
        (["x" * 201 + "/1.png", "b/1.png"], "a folder's name has more than 200"),
    ],
)
def test_images_without_classes_are_refused(tmp_path: Path, members: list[str], words: str) -> None:
    refused(tmp_path, zip_of({name: gray(1) for name in members}), "labels", words)


def test_images_of_other_formats_are_refused(tmp_path: Path) -> None:
    refused(tmp_path, zip_of({"a/1.png": gray(1), "b/1.bmp": b"BM"}), "wrong_format", "b/1.bmp is neither PNG nor JPEG")
    refused(tmp_path, zip_of({"a/1.txt": b"x"}), "empty", "no PNG or JPEG", "images")


def test_limits_hold_for_images(tmp_path: Path) -> None:
    def many(count: int) -> bytes:
        return zip_of({f"c{number}/1.png": gray(1, 20) for number in range(count)})

    refused(tmp_path, many(5), "too_large", "5 rows exceed", rows=4)
    refused(tmp_path, many(5), "too_large", "more than 4 classes", classes=4)
    refused(tmp_path, many(5), "too_large", "more than 399 pixels", image_pixels=399)
    refused(tmp_path, many(50), "too_large", "takes 20,000 bytes", inflated_bytes=19_999)


def test_images_beyond_the_quota_are_refused_before_any_is_read(tmp_path: Path) -> None:
    members = {f"c{number}/1.png": gray(1, 20) for number in range(3)}
    size = sum(take(tmp_path, zip_of(members)).description.sizes.values())
    assert size == 128 + 3 * 400 + 128 + 3 * 8
    take(tmp_path, zip_of(members), stored_bytes=size)
    damaged = {name: image[:60] for name, image in members.items()}
    refused(tmp_path, zip_of(damaged), "over_quota", "1,480 bytes in storage", stored_bytes=size - 1)


def test_pillow_keeps_its_own_limit(tmp_path: Path) -> None:
    before = Image.MAX_IMAGE_PIXELS
    take(tmp_path, zip_of({"a/1.png": gray(1), "b/1.png": gray(2)}), image_pixels=16)
    assert before == Image.MAX_IMAGE_PIXELS


def test_a_resized_image_is_smoothed(tmp_path: Path) -> None:
    board: Array = (np.indices((64, 64)).sum(axis=0) % 2 * 255).astype(np.uint8)
    take(tmp_path, zip_of({"a/1.png": image_of(board), "b/1.png": image_of(board)}), image_size=8)
    assert abs(rows(tmp_path).astype(int) - 127).max() < 20
