"""The key of an engine stays between this run and its server, whatever the server says; so does a relay's token."""

from __future__ import annotations

import base64
from itertools import cycle
from typing import TYPE_CHECKING
from urllib.parse import quote

from pytest_llmperf.plugin.measuring import app_relays
from tests.helpers.hostile_server import HostileServer, Reply, stream, text, usage, whole

if TYPE_CHECKING:
    from pathlib import Path

    import pytest

    from tests.conftest import Runs

KEY = "Zq7/pl+own=kEy9x"
SPELLINGS = (KEY, quote(KEY, safe=""), base64.b64encode(KEY.encode()).decode(), KEY.replace("/", "\\/"))
QUOTED = f"{' '.join(SPELLINGS)} \x1b]0;title\x07\x9b31m\u202e<script>alert(1)</script>"
SUITE = """
import os, subprocess, tempfile, urllib.request
from pathlib import Path

@pytest.mark.latency_budget(e2e_max="1 us")
@pytest.mark.parametrize("number", range(5))
def test_answers(llm_client, number):
    llm_client.generate("one two three", max_tokens=4)

@pytest.mark.latency_budget(e2e_max="1 us")
def test_load(llm_client):
    llm_client.run([f"prompt {number}" for number in range(5)], max_tokens=4)

@pytest.mark.latency_budget(e2e_max="1 us")
def test_app(llm_client, llm_engine_factory):
    llm_engine_factory("simulated", args={"ttft": "1 ms"})
    token = llm_client.base_url.rsplit("/", 2)[1]
    Path("token").write_text(token, encoding="utf-8")
    mine = Path(f"/proc/{os.getpid()}/task/{os.getpid()}/children").read_text(encoding="utf-8").split()
    assert mine
    words = [Path(f"/proc/{pid}/cmdline").read_text(encoding="utf-8") for pid in mine]
    assert not any(secret in line for line in words for secret in (os.environ["OPENAI_API_KEY"], token))
    ours = [path for path in Path(tempfile.gettempdir()).rglob("*") if "llmperf" in str(path) and not path.is_symlink()]
    assert ours
    tops = [path for path in ours if "llmperf" not in str(path.parent)]
    assert not [str(path) for path in tops if path.stat().st_mode & 0o077]
    try:
        headers = {"Authorization": f"Bearer {llm_client.api_key}", "Content-Type": "application/json"}
        url = f"{llm_client.base_url}/completions"
        urllib.request.urlopen(urllib.request.Request(url, b'{"prompt": "x"}', headers))
    except OSError as error:
        error.close()
    raise ValueError(f"the app says {llm_client.base_url} {llm_client.api_key}")
"""


def _answers() -> list[Reply]:
    quoting = QUOTED.encode()
    cut = text("", QUOTED)
    return [
        whole({"error": {"message": QUOTED}}, status=401),
        whole(quoting, status=500, content_type="text/html"),
        stream(text("a"), b'data: {"error": {"message": "', quoting[:9], quoting[9:].replace(b"\\", b""), b'"}}\n\n'),
        stream(text("a"), cut, usage(4), "[DONE]"),
        whole({}, status=302, headers={"Location": f"http://127.0.0.9:9/{quote(KEY)}", "X-Error": KEY}),
    ]


def test_nothing_shows_a_key(
    runs: Runs, pytester: pytest.Pytester, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    (tmp_path / "private").mkdir()
    monkeypatch.setattr("tempfile.tempdir", str(tmp_path / "private"))
    monkeypatch.setenv("OPENAI_API_KEY", KEY)
    monkeypatch.setattr(app_relays, "is_loopback", lambda _: False)
    replies = cycle(_answers())
    server = HostileServer(lambda _: next(replies))
    with server.running():
        result = runs.plain(
            SUITE,
            *server.options,
            *("--llmperf-relay-host=127.0.0.3", "--showlocals", "-rA", "--log-file=log", "--log-level=DEBUG"),
            *(
                "--llmperf-report=out.json",
                "--llmperf-report=out.md",
                "--llmperf-report=out.html",
                "--junitxml=out.xml",
            ),
            *("--llmperf-save=main", "--llmperf-save-anyway", "--llmperf-store=store"),
        )
    token = (pytester.path / "token").read_text(encoding="utf-8")
    stored = list((pytester.path / "store").rglob("*.json"))
    files = [pytester.path / name for name in ("out.json", "out.md", "out.html", "out.xml", "log")] + stored
    assert stored
    written = {path.name: path.read_text(encoding="utf-8") for path in files}
    written |= {"stdout": result.stdout.str(), "stderr": result.stderr.str()}
    result.stdout.fnmatch_lines(["*the app says http://127.0.0.3:*/****"])
    for name, content in written.items():
        assert not [secret for secret in (*SPELLINGS, token) if secret in content], name
        if name != "out.xml":  # pytest's own
            assert not {char for char in content if not char.isprintable()} - {"\n", "\t"}, name
