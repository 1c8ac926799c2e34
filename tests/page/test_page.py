"""The HTML report in a real browser: what it shows, and what a reader does with it."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import pytest

from pytest_llmperf.reports.page.render import render
from tests.helpers.page_samples import FACTS, hostile_run, large_run, mixed_run

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence
    from pathlib import Path

    from pytest_llmperf.reports.result import TestResult
    from tests.helpers.chromium import Chromium

    Show = Callable[..., None]

ROWS = "[...document.querySelectorAll('#list tbody tr[data-state]')].filter(row => !row.hidden)"
NAMES = f"{ROWS}.map(row => row.querySelector('a').textContent.split('::')[1])"
STATES = f"{ROWS}.map(row => row.dataset.state)"
GROUPED = [
    "test_answer[long]",
    "test_answer[empty]",
    "test_answer[short]",
    "test_burst",
    "test_quiet",
    "test_plain",
]


@pytest.fixture
def show(browser: Chromium, tmp_path: Path) -> Show:
    """Writes a page and opens it in a window of 1200 by 900, in light."""

    def show(results: Sequence[TestResult], facts: Mapping[str, Any] = FACTS, fragment: str = "") -> None:
        path = tmp_path / "out.html"
        path.write_text(render(results, facts), encoding="utf-8")
        browser.emulate()
        browser.resize(1200, 900)
        browser.open(path, fragment)

    return show


def wrong_in(browser: Chromium) -> list[Any]:
    """What the browser has complained of, and what the page has asked for beside itself."""
    found: list[Any] = []
    for name, told in browser.events:
        if name in ("Runtime.exceptionThrown", "Page.javascriptDialogOpening", "Runtime.consoleAPICalled"):
            found.append(told)
        if name == "Log.entryAdded" and told["entry"]["level"] in ("warning", "error"):
            found.append(told["entry"]["text"])
        if name == "Network.requestWillBeSent" and not told["request"]["url"].startswith(("file:", "about:")):
            found.append(told["request"]["url"])
    return found


def press_until(browser: Chromium, test: str) -> None:
    """Presses Tab until the focus is on an element for which a JavaScript expression of ``it`` is true."""
    for _ in range(60):
        browser.press("Tab")
        if browser.run(f"(it => {test})(document.activeElement)"):
            return
    pytest.fail(f"no element with the focus has: {test}")


def test_every_test_has_a_row_and_a_section_and_nothing_is_asked_for_or_complained_of(
    browser: Chromium, show: Show
) -> None:
    show(mixed_run())
    assert browser.run(NAMES) == GROUPED
    assert browser.run(STATES) == ["FAIL", "INCONCLUSIVE", "PASS", "NOT MEASURED", "PASS", "MEASURED"]
    assert browser.run("document.querySelectorAll('#list tr.group').length") == 1
    assert browser.run("document.querySelectorAll('details.test').length") == 6
    assert browser.run("[...document.querySelectorAll('details.test[open]')].length") == 1
    assert browser.run("document.querySelector('h1').textContent") == "Failed: 1 of 7 budgets broken"
    assert browser.run("document.querySelector('#shown').textContent") == "6 of 6 tests shown"
    assert not wrong_in(browser)


def test_plots_that_are_packed_stand_in_their_tests(browser: Chromium, show: Show) -> None:
    show(large_run(40))
    packed = browser.run("document.querySelectorAll('[data-plots]').length")
    assert packed > 20
    browser.wait(lambda: not browser.run("document.querySelectorAll('[data-plots]:empty').length"))
    plots = "[...document.querySelectorAll('.test [data-plots]')].map(place => place.querySelectorAll('.plot').length)"
    assert min(browser.run(plots)) >= 1
    assert len(browser.run(plots)) == packed
    namespace = "document.querySelector('[data-plots] svg path').namespaceURI"
    assert browser.run(namespace) == "http://www.w3.org/2000/svg"
    assert not wrong_in(browser)


def test_columns_are_sorted_by_keyboard_and_the_sections_follow(browser: Chromium, show: Show) -> None:
    show(mixed_run())
    press_until(browser, "it.textContent.trim() === 'Duration'")
    browser.press("Enter")
    assert browser.run("document.activeElement.closest('th').getAttribute('aria-sort')") == "ascending"
    assert browser.run(NAMES)[0] == "test_quiet"
    assert browser.run("getComputedStyle(document.querySelector('#list tr.group')).display") == "none"
    assert browser.run("document.querySelector('details.test h3').textContent").endswith("test_quiet")
    browser.press(" ")
    assert browser.run("document.activeElement.closest('th').getAttribute('aria-sort')") == "descending"
    assert browser.run(NAMES)[-1] == "test_quiet"
    browser.run("document.querySelector('#grouped').click()")
    assert browser.run(NAMES) == GROUPED
    assert browser.run("[...document.querySelectorAll('th[aria-sort]')].map(th => th.ariaSort)") == ["none"] * 4


def test_tests_without_a_margin_come_last(browser: Chromium, show: Show) -> None:
    show(mixed_run())
    browser.run("document.querySelectorAll('#list thead button')[2].click()")
    names = browser.run(NAMES)
    assert names[0] == "test_answer[long]"
    assert set(names[-2:]) == {"test_burst", "test_plain"}


def test_text_and_verdict_narrow_down_rows_and_sections_and_say_how_many_are_left(
    browser: Chromium, show: Show
) -> None:
    show(mixed_run())
    press_until(browser, "it.id === 'text'")
    browser.type("ANSWER pass")
    assert browser.run(NAMES) == ["test_answer[short]"]
    assert browser.run("document.querySelector('#shown').textContent") == "1 of 6 tests shown"
    shown = "[...document.querySelectorAll('details.test')].filter(one => one.checkVisibility()).length"
    assert browser.run(shown) == 1
    browser.run("(() => { text.value = ''; state.value = 'NOT MEASURED'; state.dispatchEvent(new Event('change')) })()")
    assert browser.run(NAMES) == ["test_burst"]
    assert browser.run("document.querySelector('#list tr.group').checkVisibility()") is False


def test_a_link_to_a_test_opens_it_and_takes_the_focus_there(browser: Chromium, show: Show) -> None:
    show(mixed_run())
    anchor = browser.run("document.querySelector('details.test:not([open])').id")
    show(mixed_run(), fragment=f"#{anchor}")
    browser.wait(lambda: browser.run("document.activeElement.parentElement?.id") == anchor)
    assert browser.run(f"document.getElementById('{anchor}').open") is True
    other = browser.run("[...document.querySelectorAll('details.test:not([open])')].at(-1).id")
    browser.run(f"document.querySelector('#list a[href=\"#{other}\"]').click()")
    browser.wait(lambda: browser.run("document.activeElement.parentElement.id") == other)


def test_the_first_stop_of_the_tab_key_leads_to_the_tests_and_every_stop_can_be_seen(
    browser: Chromium, show: Show
) -> None:
    show(mixed_run())
    browser.press("Tab")
    assert browser.run("document.activeElement.textContent") == "Skip to the tests"
    stops = []
    for _ in range(12):
        assert browser.run("document.activeElement.getBoundingClientRect().left") >= 0
        assert browser.run("getComputedStyle(document.activeElement).outlineStyle") != "none"
        stops.append(browser.run("document.activeElement.id || document.activeElement.tagName"))
        browser.press("Tab")
    assert stops[:5] == ["A", "A", "A", "A", "theme"]


def test_a_screen_reader_finds_names_captions_and_the_count_of_tests(browser: Chromium, show: Show) -> None:
    show(mixed_run())
    nodes = browser.call("Accessibility.getFullAXTree")["nodes"]
    found = [(node.get("role", {}).get("value"), node.get("name", {}).get("value")) for node in nodes]
    nameless = [
        role for role, name in found if role in ("button", "link", "textbox", "searchbox", "combobox") and not name
    ]
    assert not nameless
    tables = [name for role, name in found if role == "table"]
    assert all(tables)
    assert "6 measured tests, by test function, the worst first" in tables
    assert ("status", "") in [(role, name or "") for role, name in found]
    headers = [name for role, name in found if role == "columnheader"]
    assert {"Verdict", "Budget", "Margin", "p50"} <= {(name or "").strip() for name in headers}


HOSTILE = (
    "</script><script>globalThis.hit = 1</script>",
    '"><img src=x onerror="globalThis.hit = 1"><a href="javascript:alert(1)" onfocus=alert(1) autofocus>',
    "</title></style></textarea><svg onload=alert(1)>{{ 7 * 7 }}${alert(1)}' onmouseover='alert(1)",
)


@pytest.mark.parametrize("text", HOSTILE, ids=["script", "attributes", "ends"])
def test_nothing_that_others_have_written_runs(browser: Chromium, show: Show, text: str) -> None:
    show(*hostile_run(text))
    assert not wrong_in(browser)
    assert browser.run("globalThis.hit") is None
    assert browser.run("document.images.length + document.querySelectorAll('[onfocus], [onload]').length") == 0
    assert browser.run("document.scripts.length") == 1
    assert browser.run("document.querySelector('h3').textContent").startswith("test_</" if text[0] == "<" else "test_")
    assert text in browser.run("document.querySelector('#decided').textContent")


def test_the_policy_stops_what_a_mistake_would_let_in(browser: Chromium, show: Show, tmp_path: Path) -> None:
    show(mixed_run())
    path = tmp_path / "out.html"
    added = "<script>globalThis.hit = 1</script><img src=http://127.0.0.1:9/x onerror='globalThis.hit = 1'></main>"
    path.write_text(path.read_text(encoding="utf-8").replace("</main>", added), encoding="utf-8")
    browser.open(path)
    assert browser.run("globalThis.hit") is None
    assert any("Content Security Policy" in str(one) for one in wrong_in(browser))
    assert browser.run("document.querySelector('#shown').textContent") == "6 of 6 tests shown"


def test_light_and_dark_follow_the_system_until_the_reader_chooses(browser: Chromium, show: Show) -> None:
    show(mixed_run())
    paper = "getComputedStyle(document.body).backgroundColor"
    light = browser.run(paper)
    browser.emulate(scheme="dark")
    dark = browser.run(paper)
    assert light == "rgb(255, 255, 255)"
    assert dark != light
    browser.run("document.querySelector('#theme').click()")
    assert browser.run("document.querySelector('#theme').textContent") == "Colours: light"
    assert browser.run(paper) == light
    browser.emulate()
    browser.run("document.querySelector('#theme').click()")
    assert browser.run(paper) == dark
    browser.run("document.querySelector('#theme').click()")
    assert browser.run(paper) == light


def test_paper_shows_every_section_and_no_controls(browser: Chromium, show: Show) -> None:
    show(mixed_run())
    browser.emulate(medium="print", scheme="dark")
    heights = (
        "[...document.querySelectorAll('details.test:not([open]) pre')].map(pre => pre.getBoundingClientRect().height)"
    )
    assert all(browser.run(heights))
    assert browser.run("document.querySelector('#controls').checkVisibility()") is False
    assert browser.run("getComputedStyle(document.body).backgroundColor") == "rgb(255, 255, 255)"


def test_paper_is_white_also_if_the_reader_chose_dark(browser: Chromium, show: Show) -> None:
    show(mixed_run())
    browser.run("document.documentElement.dataset.theme = 'dark'")
    browser.emulate(medium="print")
    assert browser.run("getComputedStyle(document.body).backgroundColor") == "rgb(255, 255, 255)"


def test_without_scripts_all_is_there_but_the_controls(browser: Chromium, show: Show) -> None:
    browser.call("Emulation.setScriptExecutionDisabled", value=True)
    try:
        show(mixed_run())
        assert browser.run("document.querySelectorAll('#list tbody tr[data-state]').length") == 6
        assert browser.run("document.querySelector('#controls').checkVisibility()") is False
        assert browser.run("document.querySelector('#theme').checkVisibility()") is False
        assert browser.run("document.querySelector('details.test summary').checkVisibility()") is True
    finally:
        browser.call("Emulation.setScriptExecutionDisabled", value=False)


def test_the_command_of_a_test_is_copied_without_the_words_of_the_button(browser: Chromium, show: Show) -> None:
    show(mixed_run())
    browser.run("navigator.clipboard.writeText = async text => { globalThis.copied = text }")
    browser.run("document.querySelector('details.test[open] pre button').click()")
    assert browser.run("globalThis.copied") == "pytest --llm-engine=vllm 'tests/test_chat.py::test_answer[long]'"
    assert browser.run("document.querySelector('details.test[open] pre button').textContent") == "Copied"


def test_a_narrow_window_scrolls_tables_and_not_the_page(browser: Chromium, show: Show) -> None:
    show(mixed_run())
    browser.resize(360, 640)
    assert browser.run("document.documentElement.scrollWidth") <= 360


def test_a_thousand_tests_can_be_filtered_and_sorted(browser: Chromium, show: Show) -> None:
    show(large_run(1000))
    assert browser.run("document.querySelector('#shown').textContent") == "1000 of 1000 tests shown"
    browser.run("(() => { text.value = 'answer_7 prompt-3'; text.dispatchEvent(new Event('input')) })()")
    assert browser.run(f"{ROWS}.length") == 11  # test_answer_7, and test_answer_70 to test_answer_79
    browser.run("document.querySelectorAll('#list thead button')[1].click()")
    assert browser.run(f"{ROWS}.length") == 11
    assert not wrong_in(browser)


def test_an_empty_run_says_so(browser: Chromium, show: Show) -> None:
    show([], {"run": {"exit_status": 5}})
    assert browser.run("document.querySelector('h1').textContent") == "Failed: no test ran"
    assert "No test was measured." in browser.run("document.querySelector('#tests').textContent")
    assert not wrong_in(browser)
