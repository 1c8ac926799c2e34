from __future__ import annotations

import gc
import os
import tracemalloc
from pathlib import Path

import pytest

from pytest_llmperf.traffic.workloads.files.parsed import FurtherTurn, ParsedRequest
from pytest_llmperf.traffic.workloads.files.store import RequestStore, TextStore

REQUESTS = [
    ParsedRequest(None, 40, 3, [1, 2, 3]),
    ParsedRequest(None, 40, None, []),
    ParsedRequest(None, 40, 7, [5], {"nvext": {"priority": 9}}),
    ParsedRequest("ä", None, 3),
    ParsedRequest([{"role": "user", "content": "a"}], None, None, fields={"stop": ["."]}),
    ParsedRequest([{"role": "user", "content": "a"}], None, 9, further=[FurtherTurn("b", None, 0.5)]),
    ParsedRequest(None, 40, 3, [2**40, -1]),
]


def plain(request: ParsedRequest) -> ParsedRequest:
    return request._replace(blocks=tuple(request.blocks), further=tuple(request.further))


def test_requests_are_read_as_they_were_added() -> None:
    store = RequestStore()
    for request in REQUESTS:
        store.add(request)
    assert len(store) == len(REQUESTS)
    assert [plain(store.read(number)) for number in range(len(store))] == list(map(plain, REQUESTS))
    assert store.needs_texts


def test_blocks_of_any_size_stay_apart() -> None:
    store = RequestStore()
    blocks = [1, 2**63, -(2**63) - 1, 2**70, 2**70 + 2**63]
    for block in blocks:
        store.add_lengths(9, 1, [block])
    read = [store.read(number).blocks[0] for number in range(len(blocks))]
    assert read[0] == 1
    assert len(set(read)) == len(blocks)


@pytest.mark.parametrize("changed", range(len(REQUESTS)))
def test_the_digest_tells_every_request(changed: int) -> None:
    digests = []
    for different in (False, True):
        store = RequestStore()
        for number, request in enumerate(REQUESTS):
            store.add(request._replace(output_tokens=77) if different and number == changed else request)
        digests.append(store.digest(b"16"))
    assert digests[0] != digests[1]


def list_texts_files() -> list[str]:
    found = []
    for link in Path("/proc/self/fd").iterdir():
        try:
            found.append(os.readlink(link))
        except OSError:
            continue
    return [name for name in found if "llmperf-texts-" in name]


def test_texts_beyond_a_few_are_not_in_memory_and_their_file_goes_with_them() -> None:
    text = os.urandom(2**20).hex().encode()
    tracemalloc.start()
    try:
        texts = TextStore()
        ends = [texts.add(text) for _ in range(40)]
        _, peak = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()
    assert peak < 0.5 * len(text) * 40
    assert all(texts.read(end - len(text), end) == text for end in ends)
    (name,) = list_texts_files()
    assert not Path(name.removesuffix(" (deleted)")).exists()
    del texts
    gc.collect()
    assert not list_texts_files()
