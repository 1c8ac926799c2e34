"""Why a file could not be written, in words for the person who can help it."""

from __future__ import annotations

import errno
import os

_NO_ROOM = frozenset({errno.ENOSPC, errno.EDQUOT})
_NOT_OURS = frozenset({errno.EROFS, errno.EACCES, errno.EPERM})
_GONE = frozenset({errno.ENOENT, errno.ENOTDIR})
_TOO_MANY = {
    errno.EMFILE: "raise the limit of open files (ulimit -n)",
    errno.ENFILE: "this host has no open file left",
    errno.EAGAIN: "raise the limit of processes (ulimit -u, or that of the container)",
    errno.ENOMEM: "this host, or the container, has no memory left",
}


def explain_os_error(error: OSError) -> str:
    """What the system said, the file that it is about, and what to do, in one line; TMPDIR where that would help."""
    said = error.strerror or " ".join(str(error).split())
    where = f"{os.fsdecode(error.filename)}: " if isinstance(error.filename, (str, bytes)) else ""
    return f"{where}{said}{_advise(error)}"


def _advise(error: OSError) -> str:
    if error.errno in _NO_ROOM:
        return "; make room there, or set TMPDIR to a folder that has some"
    if error.errno in _NOT_OURS and error.filename is not None:
        return "; set TMPDIR to a folder that can be written"
    if error.errno in _GONE and error.filename is not None:
        return "; it was removed meanwhile, or TMPDIR names a folder that is not there"
    advice = _TOO_MANY.get(error.errno or 0, "")
    return f"; {advice}" if advice else ""
