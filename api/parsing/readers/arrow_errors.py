"""Tell arrow's failures apart: some are the file's fault, some are not."""

_FOR_WANT_OF_MEMORY = ("malloc", "realloc", "Cannot allocate memory", "launch worker thread")
"""A thread, too, takes memory for its stack."""


def raise_if_out_of_memory(error: Exception) -> None:
    """Gives the want of memory its one name, whichever arrow had for it."""
    if isinstance(error, MemoryError) or any(words in str(error) for words in _FOR_WANT_OF_MEMORY):
        raise MemoryError from None
