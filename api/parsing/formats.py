"""Which reader reads an upload."""

from collections.abc import Callable
from functools import partial

from api.parsing.contract import Parsed, Refused
from api.parsing.readers.cifar_files import read_cifar
from api.parsing.readers.csv_files import read_text
from api.parsing.readers.idx_files import read_idx
from api.parsing.readers.image_folders import read_images
from api.parsing.readers.npy_files import read_npy
from api.parsing.readers.npz_files import read_npz
from api.parsing.readers.parquet_files import read_parquet
from api.parsing.sniffing import packed, sniffed
from api.parsing.upload import Upload

_READERS: dict[str, Callable[[Upload], Parsed]] = {
    "csv": partial(read_text, tabs=False),
    "tsv": partial(read_text, tabs=True),
    "parquet": read_parquet,
    "npy": read_npy,
    "npz": read_npz,
    "images": read_images,
    "idx": read_idx,
    "cifar": read_cifar,
}
_TEXT = ("csv", "tsv")
_ARCHIVES = ("npz", "images", "idx", "cifar")
_WORDS = {
    "csv": "a text file",
    "tsv": "a text file",
    "parquet": "a Parquet file",
    "npy": "a NumPy array",
    "npz": "arrays in an npz",
    "images": "an archive of images",
    "idx": "idx files",
    "cifar": "batches of CIFAR",
    "archive": "an archive",
}


def read(upload: Upload) -> Parsed:
    """Read an upload as what it is.

    Raises:
        Refused: if it is not what the uploader says, or cannot be read as it.

    """
    return _READERS[_format(upload)](upload)


def _format(upload: Upload) -> str:
    asked, found = upload.options.format, sniffed(upload)
    if found == "idx" and asked in ("auto", "idx"):
        raise Refused("labels", "this is an idx file of images or of labels alone: upload both in one zip")
    if asked == "auto":
        return packed(upload) if found == "archive" else found
    if asked == found or (found == "archive" and asked in _ARCHIVES) or (found in _TEXT and asked in _TEXT):
        return asked
    # A bare batch of records begins with whatever its first pixels are.
    if asked == "cifar" and found in (*_TEXT, "idx"):
        return asked
    raise Refused(
        "wrong_format", f"the file looks like {_WORDS[found]}, not like {_WORDS[asked]}: let its format be auto"
    )
