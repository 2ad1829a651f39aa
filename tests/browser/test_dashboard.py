"""The dashboard in a real Chromium: what an operator does there, by hand and by keyboard, and what axe-core finds."""

import threading
from pathlib import Path
from typing import Any

import httpx
import pytest

from tests.admin.admin_gateway import READ, WRITE
from tests.browser.callers import call, play_a_day
from tests.browser.conftest import AXE

pytestmark = pytest.mark.browser

IMAGES = Path(__file__).parents[2] / "docs" / "images"
PAGES = ["/", "/account?name=team:search", "/reservations", "/refusals", "/limits", "/alerts", "/doctor"]
WIDE, NARROW = {"width": 1180, "height": 900}, {"width": 360, "height": 740}


@pytest.fixture(scope="module", autouse=True)
def day(gateway_url: str) -> None:
    play_a_day(gateway_url)


def test_a_wrong_token_is_said_and_the_right_one_signs_in(open_page: Any, complaints: list[str]):
    page = open_page(token="")
    page.get_by_label("Token").fill("wrong")
    page.keyboard.press("Enter")
    assert page.get_by_role("alert").inner_text() == "That is not the token."
    page.get_by_label("Token").fill(WRITE)
    page.keyboard.press("Enter")
    page.get_by_role("heading", name="Accounts", exact=True).wait_for()
    page.get_by_role("button", name="Sign out").click()
    page.get_by_label("Token").wait_for()
    # The browser itself reports the answer 401.
    assert [each for each in complaints if "401" not in each] == []


def test_a_request_appears_while_it_runs_and_goes_when_it_ends(open_page: Any, gateway_url: str, complaints: list[str]):
    page = open_page("/reservations")
    page.get_by_text("Nothing is reserved now").wait_for()
    page.wait_for_selector("body[data-connected]")
    client = threading.Thread(target=call, args=(gateway_url,), kwargs={"team": "assistants", "user": "waits"})
    client.start()
    row = page.get_by_role("row").filter(has_text="team:assistants")
    row.wait_for()
    assert "$" in row.inner_text()
    httpx.get(f"{gateway_url}/let-go")
    client.join(60)
    page.get_by_text("Nothing is reserved now").wait_for()
    assert complaints == []


def test_a_counter_moves_and_the_journal_grows_while_one_looks(open_page: Any, gateway_url: str, complaints: list[str]):
    page = open_page("/?match=team:research")
    page.wait_for_selector("body[data-connected]")
    call(gateway_url, team="research", key="sk-moves", max_tokens=700)
    page.locator("[data-counters] tr.changed").first.wait_for()
    page.locator("[data-entries] tr").filter(has_text="finalized").first.wait_for()
    page.get_by_role("button", name="Pause").click()
    assert page.get_by_role("button", name="Go on").get_attribute("aria-pressed") == "true"
    assert complaints == []


def test_a_limit_is_previewed_and_set(open_page: Any, complaints: list[str]):
    page = open_page("/limits")
    page.get_by_label("Account or pattern").fill("team:research")
    page.get_by_role("textbox", name="Limits").fill("0.01/day")
    page.get_by_label("Why").fill("it has spent too much")
    page.get_by_role("button", name="Preview").click()
    page.get_by_text("everything that costs something").wait_for()
    assert "have nothing left" in page.get_by_role("status").inner_text().replace("has nothing", "have nothing")
    page.get_by_role("button", name="Set the limit").click()
    page.get_by_text("The limit is set").wait_for()
    row = page.get_by_role("row").filter(has_text="team:research")
    assert "0.01/day" in row.inner_text()
    row.get_by_text("Clear").first.click()
    row.get_by_placeholder("why").fill("it was a test")
    row.get_by_role("button", name="Clear").click()
    page.get_by_text("The limit is cleared").wait_for()
    assert complaints == []


def test_a_mistake_in_a_limit_is_said_where_it_was_made(open_page: Any):
    page = open_page("/limits")
    page.get_by_label("Account or pattern").fill("team:research")
    page.get_by_role("textbox", name="Limits").fill("ten a day")
    page.get_by_role("button", name="Preview").click()
    assert "ten a day" in page.get_by_role("alert").inner_text()
    assert page.get_by_role("textbox", name="Limits").input_value() == "ten a day"


def test_an_explanation_is_read(open_page: Any):
    page = open_page("/")
    page.get_by_role("link", name="team:search").first.click()
    page.get_by_text("How it came to this").first.wait_for()
    assert "requests came in and reserved" in page.locator(".story").first.inner_text()
    assert page.get_by_role("img", name="day").count() >= 0
    assert page.locator(".burn-down svg[role=img]").count() >= 1


def test_a_refusal_says_what_would_have_let_it_pass(open_page: Any):
    page = open_page("/refusals")
    card = page.locator(".refusal").first
    assert "What would have let it pass" in card.inner_text()
    assert "A limit of $" in card.inner_text()


def test_the_keyboard_reaches_the_search_and_skips_to_the_content(open_page: Any):
    page = open_page("/")
    page.keyboard.press("Tab")
    assert page.evaluate("document.activeElement.textContent") == "Skip to the content"
    page.keyboard.press("/")
    assert page.evaluate("document.activeElement.name") == "match"
    page.keyboard.type("assistants")
    page.keyboard.press("Enter")
    page.wait_for_url("**match=assistants**")
    assert page.locator("[data-counters] tr").count() == 2


def test_colours_are_chosen_and_stay(open_page: Any):
    page = open_page("/", color_scheme="light")
    light = page.evaluate("getComputedStyle(document.body).backgroundColor")
    switch = page.locator("[data-theme-switch]")
    switch.click()
    switch.click()
    page.reload()
    assert page.evaluate("document.documentElement.dataset.theme") == "dark"
    assert page.evaluate("getComputedStyle(document.body).backgroundColor") != light


def test_the_read_token_is_offered_no_change(open_page: Any):
    page = open_page("/limits", token=READ)
    assert page.get_by_role("button", name="Preview").count() == 0
    assert page.locator("[data-release]:visible").count() == 0


@pytest.mark.parametrize("path", PAGES)
def test_nothing_is_wider_than_a_narrow_screen(open_page: Any, path: str):
    page = open_page(path, viewport=NARROW)
    assert page.evaluate("document.documentElement.scrollWidth") <= NARROW["width"]


@pytest.mark.parametrize("colours", ["light", "dark"])
@pytest.mark.parametrize("path", PAGES)
def test_axe_finds_nothing(open_page: Any, path: str, colours: str):
    page = open_page(path, color_scheme=colours, bypass_csp=True)
    page.add_script_tag(path=AXE)
    found = page.evaluate("axe.run()")["violations"]
    assert [(each["id"], [node["html"] for node in each["nodes"]]) for each in found] == []


@pytest.mark.parametrize("colours", ["light", "dark"])
def test_axe_finds_nothing_where_one_signs_in(open_page: Any, colours: str):
    page = open_page("/", token="", color_scheme=colours, bypass_csp=True)
    page.add_script_tag(path=AXE)
    assert page.evaluate("axe.run()")["violations"] == []


@pytest.mark.parametrize(
    ("name", "path", "colours"),
    [
        ("dashboard-accounts", "/", "light"),
        ("dashboard-account", "/account?name=team:search", "dark"),
        ("dashboard-refusals", "/refusals", "light"),
    ],
)
def test_pictures_of_the_docs_are_made(open_page: Any, tmp_path: Path, name: str, path: str, colours: str):
    page = open_page(path, viewport=WIDE, color_scheme=colours)
    page.wait_for_load_state()
    picture = tmp_path / f"{name}.png"
    page.screenshot(path=picture)
    assert picture.stat().st_size > 10_000
    if not (IMAGES / picture.name).exists():
        (IMAGES / picture.name).write_bytes(picture.read_bytes())
