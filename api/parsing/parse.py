"""Parse an upload in this process."""

import shutil
from pathlib import Path

from api.parsing.contract import Limits, Options, Parsed, Refused
from models.stored import ROWS, TARGETS

SCRATCH = "scratch"
"""A folder beside the results for what is unpacked on the way; gone when the parser is done."""


def parse(upload: Path, folder: Path, options: Options, limits: Limits) -> Parsed:
    """Write the rows of an upload as `rows.npy` (and `targets.npy`) into a folder, and say what they are.

    Raises:
        Refused: for everything that is wrong with the upload; then the folder is as it was.
        OSError: if the disk is full.

    """
    # Only here do numpy, pyarrow and pillow come in: a child has set its limits before.
    from api.parsing.formats import read
    from api.parsing.upload import Upload

    scratch = folder / SCRATCH
    scratch.mkdir()
    try:
        return read(Upload(upload, folder, scratch, options, limits))
    except MemoryError:
        remove_results(folder)
        raise too_much_memory() from None
    except BaseException:
        remove_results(folder)
        raise
    finally:
        shutil.rmtree(scratch)


def too_much_memory() -> Refused:
    return Refused("too_large", "the file takes more memory than this server gives to one: upload a part of it")


def remove_results(folder: Path) -> None:
    for name in (ROWS, TARGETS):
        (folder / name).unlink(missing_ok=True)
