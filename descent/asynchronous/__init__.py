"""The client for programs on asyncio, and the source of the other one.

Every module here but `loop` is written by hand, and has a twin of the same name in `descent` that is made from it:
`make format` writes the twins, `make check` says whether one is behind.
"""
