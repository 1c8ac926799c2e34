"""Undoes the compression of bodies, as far as Python's own library can."""

from __future__ import annotations

import zlib

# What is longer once it is decompressed is not read.
MOST_BODY_BYTES = 16 << 20
_GZIP_OR_ZLIB = 32 + zlib.MAX_WBITS


def create_decoder(encoding: str) -> zlib._Decompress | None:
    """What undoes a Content-Encoding; None for one that cannot be undone."""
    return zlib.decompressobj(_GZIP_OR_ZLIB) if encoding in ("gzip", "x-gzip", "deflate") else None


def decode_body(body: bytes, encoding: str) -> bytes:
    """The body of a request without its Content-Encoding; as it came if that cannot be undone."""
    decoder = create_decoder(encoding)
    if decoder is None:
        return body
    try:
        whole = decoder.decompress(body, MOST_BODY_BYTES)
    except zlib.error:
        return body
    return body if decoder.unconsumed_tail else whole
