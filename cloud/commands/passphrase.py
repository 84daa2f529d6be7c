"""Where a passphrase comes from: asked on the terminal, a file, or an open descriptor; never an
argument or the environment, which other programs of the machine can read."""

import argparse
import getpass
import os
import stat
import sys
from pathlib import Path

from protocols.errors import CallerError

SIZE_MAX = 4096  # bytes that are read


def add_passphrase(parser: argparse.ArgumentParser) -> None:
    """The options that name a source."""
    source = parser.add_mutually_exclusive_group()
    source.add_argument(
        "--passphrase-file", type=Path, help="file of mode 0600 whose first line is the passphrase"
    )
    source.add_argument("--passphrase-fd", type=int, help="open descriptor to read it from")


def read_passphrase(arguments: argparse.Namespace, is_new: bool = False) -> bytes:
    """The passphrase, asked for when no source was named, twice when it `is_new`. CallerError,
    which never shows it."""
    if arguments.passphrase_file is not None:
        return _of_file(arguments.passphrase_file)
    if arguments.passphrase_fd is not None:
        try:
            return _first_line(os.read(arguments.passphrase_fd, SIZE_MAX))
        except OSError as error:
            raise CallerError(f"--passphrase-fd: cannot be read: {error.strerror}") from error
    if not sys.stdin.isatty():
        raise CallerError("there is no terminal to ask on: name --passphrase-file")
    try:
        passphrase = getpass.getpass("passphrase of the key: ")
        if is_new and getpass.getpass("once more: ") != passphrase:
            raise CallerError("the two passphrases differ")
    except EOFError:
        raise CallerError("no passphrase was given") from None
    return passphrase.encode()


def _of_file(path: Path) -> bytes:
    try:
        with path.open("rb") as file:
            mode = stat.S_IMODE(os.fstat(file.fileno()).st_mode)
            data = file.read(SIZE_MAX)
    except OSError as error:
        raise CallerError(f"{path}: cannot be read: {error.strerror}") from error
    if mode & 0o077:
        raise CallerError(f"{path}: others than its owner may open it; it must have mode 0600")
    return _first_line(data)


def _first_line(data: bytes) -> bytes:
    return data.partition(b"\n")[0].removesuffix(b"\r")
