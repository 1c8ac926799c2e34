"""The text of the page. What a browser makes of it is in tests/page/."""

from __future__ import annotations

import hashlib
import re
from base64 import b64encode
from dataclasses import replace
from html.parser import HTMLParser

from pytest_llmperf.reports.page.render import render
from tests.helpers.report_samples import BROKEN, ENGINE, measurement, result

HOSTILE = "</script><script>alert(1)</script><img src=x onerror=alert(1)>\" '& \u202e\x00\x1b[31m"


class Seen(HTMLParser):
    """Collects the elements of a page and their attributes."""

    def __init__(self, text: str) -> None:
        super().__init__()
        self.tags: list[str] = []
        self.attributes: list[tuple[str, str | None]] = []
        self.feed(text)

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.append(tag)
        self.attributes += attrs


def test_a_page_allows_its_own_script_and_style_and_nothing_else() -> None:
    text = render([result()], {})
    policy = re.search(r'Content-Security-Policy" content="([^"]+)"', text)
    assert policy is not None
    for kind in ("script", "style"):
        [inline] = re.findall(rf"<{kind}>(.*?)</{kind}>", text, re.DOTALL)
        assert f"{kind}-src 'sha256-{b64encode(hashlib.sha256(inline.encode()).digest()).decode()}'" in policy[1]
    assert policy[1].startswith("default-src 'none'; ")
    seen = Seen(text)
    assert not [name for name, _ in seen.attributes if name in ("src", "style") or name.startswith("on")]
    assert all((value or "").startswith("#") for name, value in seen.attributes if name == "href")


def test_texts_of_servers_and_tests_are_text() -> None:
    plain = Seen(render([result()], {})).tags
    engine = replace(ENGINE, model=HOSTILE, version=HOSTILE, arguments=((HOSTILE, HOSTILE),))
    bad = replace(result("t.py::t[x]"), nodeid=f"t.py::t[{HOSTILE}]", verdicts=(replace(BROKEN, reason=HOSTILE),))
    text = render(
        [replace(bad, measurement={**result(measured=replace(measurement(), engine=engine)).measurement})],
        {"findings": [HOSTILE], "command_line": [HOSTILE], "run": {"options": [HOSTILE], "exit_status": 1}},
    )
    tags = Seen(text).tags
    assert [tags.count(tag) for tag in ("script", "style", "img")] == [plain.count("script"), 1, 0]
    assert "\u202e" not in text
    assert "\x00" not in text
    assert "\x1b" not in text


def test_a_test_on_several_engines_tells_what_each_was_asked() -> None:
    parts = tuple(replace(measurement(), label=label, engine=replace(ENGINE, variant=label)) for label in ("a", "b"))
    text = render([result(measured=replace(measurement(), engine=None, parts=parts))], {})
    assert "<dt>engine<dd>a: vllm 0.11.0" in text
    assert "<dt>engine<dd>b: vllm 0.11.0" in text
    assert "<dt>engine" not in render([result()], {})


def test_anchors_lead_to_sections() -> None:
    text = render([result("a[1]"), result("a[2]"), result("b", (), outcome="passed")], {})
    targets = re.findall(r'href="#(t[0-9a-f]{10})"', text)
    assert set(targets) == set(re.findall(r"<details class=test id=(t[0-9a-f]{10})", text))
    assert len(set(targets)) == 3


def test_node_ids_break_before_their_function_and_parameters() -> None:
    text = render([result("a/test_a.py::test_<b>[x::y[1]]")], {"run": {"exit_status": 1}})
    assert "a/test_a.py::<wbr>test_&lt;b&gt;<wbr>[x::y[1]]</a>" in text
