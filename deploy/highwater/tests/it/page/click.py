"""Clicks through the page of a running Highwater in a real browser, and fails at the first thing that is not as it should be.

    click.py URL CHROMIUM FOLDER

The server asks for the token `secret`, has a generation, and takes more events and another generation by the commands `MORE` and
`ADVANCE` of the environment. Screenshots go to FOLDER.
"""

import json
import os
import subprocess
import sys
from pathlib import Path

from playwright.sync_api import expect, sync_playwright

URL, CHROMIUM, FOLDER = sys.argv[1:4]
VIEW = "departures_by_hour"
#: What the browser says of requests that are to fail here, and of reading the chart's pixels.
EXPECTED = ("status of 401", "status of 422", "net::ERR_FAILED", "net::ERR_INTERNET_DISCONNECTED", "getImageData")

#: Text whose contrast with what is behind it is less than WCAG 2.2 AA asks.
PALE = """() => {
  const parse = (text) => (text.match(/[\\d.]+/g) ?? []).map(Number);
  const light = ([r, g, b]) => [r, g, b].map((v) => v / 255).map((v) => (v <= 0.04045 ? v / 12.92 : ((v + 0.055) / 1.055) ** 2.4))
    .reduce((sum, v, i) => sum + v * [0.2126, 0.7152, 0.0722][i], 0);
  const behind = (node) => {
    for (let at = node; at; at = at.parentElement) {
      const [r, g, b, alpha = 1] = parse(getComputedStyle(at).backgroundColor);
      if (alpha === 1) return [r, g, b];
    }
    return [255, 255, 255];
  };
  const own = (node) => [...node.childNodes].some((child) => child.nodeType === 3 && child.textContent.trim());
  const shown = [...document.querySelectorAll("body *")].filter((node) => own(node) && node.checkVisibility() && !node.disabled);
  return shown.filter((node) => {
    const [a, b] = [light(parse(getComputedStyle(node).color)), light(behind(node))];
    return (Math.max(a, b) + 0.05) / (Math.min(a, b) + 0.05) < 4.5;
  }).map((node) => `${node.tagName} ${node.id} ${node.textContent.trim().slice(0, 30)}`);
}"""

#: How many pixels of the chart are of the batch shade and of the live one, left and right of the mark.
SHADES = """() => {
  const colour = (id) => getComputedStyle(document.getElementById(id)).backgroundColor.match(/\\d+/g).slice(0, 3).map(Number);
  const canvas = document.querySelector("#chart canvas");
  const mark = document.querySelector("#chart .mark").getBoundingClientRect().left - canvas.getBoundingClientRect().left;
  const { data, width } = canvas.getContext("2d").getImageData(0, 0, canvas.width, canvas.height);
  const found = { batch: [0, 0], live: [0, 0] };
  for (const layer of ["batch", "live"]) {
    const [r, g, b] = colour(`swatch-${layer}`);
    for (let i = 0; i < data.length; i += 4) {
      const near = Math.abs(data[i] - r) + Math.abs(data[i + 1] - g) + Math.abs(data[i + 2] - b) < 12 && data[i + 3] > 250;
      if (near) found[layer][(i / 4) % width < mark * devicePixelRatio + 2 ? 0 : 1] += 1;
    }
  }
  return found;
}"""


def total(cells):
    """The sum of the numbers in these cells, as an expression of the page."""
    return f"[...document.querySelectorAll('{cells}')].reduce((sum, cell) => sum + Number(cell.textContent.replaceAll(',', '')), 0)"


def watched(context):
    """A page of which everything that is wrong is collected."""
    page, wrong = context.new_page(), []
    page.on("console", lambda m: wrong.append(m.text) if m.type in ("error", "warning") else None)
    page.on("pageerror", lambda error: wrong.append(str(error)))
    page.on("request", lambda r: None if r.url.startswith(URL + "/") else wrong.append(f"asked {r.url}"))
    return page, wrong


def nothing_wrong(wrong):
    unexpected = [text for text in wrong if not any(expected in text for expected in EXPECTED)]
    assert not unexpected, unexpected


def accessible(page):
    """Whatever can be operated has a name, and whatever can be read stands out."""
    tree = page.context.new_cdp_session(page).send("Accessibility.getFullAXTree")["nodes"]
    roles = ("button", "combobox", "textbox", "slider", "link", "table", "region", "Date", "DisclosureTriangle")
    operable = [node for node in tree if not node.get("ignored") and node["role"]["value"] in roles]
    nameless = [node for node in operable if node["role"]["value"] != "table" and not node["name"]["value"].strip()]
    assert len(operable) > 10 and not nameless, nameless
    assert not (pale := page.evaluate(PALE)), pale


def shot(page, name):
    page.screenshot(path=str(Path(FOLDER) / f"{name}.png"), full_page=True)


def run(command):
    subprocess.run(json.loads(os.environ[command]), check=True, stdout=subprocess.DEVNULL)


def enter_token(page):
    """A wrong token is told apart from none; the right one opens the page. By the keyboard alone."""
    expect(page.locator("#token")).to_be_focused()
    page.keyboard.type("guessed")
    page.keyboard.press("Enter")
    expect(page.locator("#token-problem")).to_have_text("the token is not known")
    expect(page.locator("#token")).to_be_focused()
    page.keyboard.type("secret")
    page.keyboard.press("Enter")
    expect(page.locator("#token-form")).to_be_hidden()
    expect(page.locator("#freshness")).to_have_text("live, complete")
    assert "secret" not in page.url


def layers_meet_at_the_mark(page):
    """All is batch; then live events come, and stand on the other side of the mark; then another generation takes them in."""
    expect(page.locator(".mark")).to_contain_text("generation 1")
    expect(page.locator("#fact-audit")).to_contain_text("equal")
    before = page.evaluate(SHADES)
    assert before["batch"][0] > 500 and before["live"] == [0, 0], before
    run("MORE")
    expect(page.locator("#readout")).to_contain_text("live")
    expect(page.locator("#fact-generation")).to_contain_text("1")
    page.wait_for_function(f"() => {{ const shades = ({SHADES})(); return shades.live[1] > 200; }}")
    after = page.evaluate(SHADES)
    assert after["batch"][0] > 500 and after["batch"][1] == 0, after
    expect(page.locator(".share .live").first).to_be_visible()
    expect(page.locator("#freshness-detail")).to_contain_text("as of")
    page.get_by_text("As a table").click()
    page.wait_for_function(f"() => {total('#buckets-body td:last-child')} === {total('#table-body td:nth-child(3)')}")
    page.get_by_text("As a table").click()
    shot(page, "light")


def pickers(page):
    """Each picker does what it says, and the address keeps it."""
    title, rows = page.locator("#chart-title"), page.locator("#table-body tr")
    page.get_by_label("Measure").select_option("p95_delay")
    expect(title).to_have_text("P95 delay per hour")
    expect(page.get_by_text("all layers together")).to_be_visible()
    page.get_by_label("Range").select_option("2")
    page.get_by_label("Step").select_option("day")
    expect(title).to_have_text("P95 delay per day")
    page.get_by_label("top").select_option("5")
    expect(rows).to_have_count(6)
    expect(rows.last).to_contain_text("all others")
    rows.first.get_by_role("button").click()
    expect(rows).to_have_count(1)
    assert "only.carrier=" in page.url and "measure=p95_delay" in page.url
    page.reload()
    expect(title).to_have_text("P95 delay per day")
    expect(rows).to_have_count(1)
    page.get_by_label("carrier").first.select_option("")
    expect(rows).to_have_count(6)
    page.get_by_label("Range").select_option("dates")
    page.get_by_label("From").fill("2013-02-05")
    page.get_by_label("Through").fill("2013-02-06")
    page.get_by_text("As a table").click()
    expect(page.locator("#buckets-body tr")).to_have_count(2)
    page.get_by_label("From").fill("2033-02-05")
    expect(page.locator("#problem")).to_contain_text("must be after `from`")
    page.get_by_label("Through").fill("2033-02-06")
    expect(page.locator("#empty")).to_be_visible()
    expect(page.locator("#problem")).to_be_hidden()
    page.get_by_label("View").select_option("routes_by_week")
    expect(title).to_contain_text("Flights per week")
    expect(page.get_by_label("Clock").locator("option").first).to_have_text("America/New_York")
    expect(page.get_by_label("Clock")).to_have_value("")


def pause_and_resume(page):
    """What is paused stands still while a generation is published; resumed, it shows it."""
    # Nothing of what was picked before: else only the part of the address after the `#` would be another.
    page.goto("about:blank")
    page.goto(f"{URL}/#view={VIEW}")
    expect(page.locator(".mark")).to_contain_text("generation 1")
    page.get_by_role("button", name="Pause").click()
    expect(page.locator("#freshness")).to_have_text("paused")
    asked = []
    page.on("request", lambda request: asked.append(request.url))
    run("ADVANCE")
    expect(page.locator(".mark")).to_contain_text("generation 1")
    assert not asked, asked
    page.get_by_role("button", name="Pause").click()
    expect(page.locator(".mark")).to_contain_text("generation 2")
    expect(page.locator("#freshness")).to_have_text("live, complete")
    expect(page.locator(".share .live")).to_have_count(0)


def keyboard(page):
    """Everything is reached in the order in which it stands, and the chart is read by arrows."""
    page.locator("h1").click()
    reached = []
    for _ in range(17):
        page.keyboard.press("Tab")
        reached.append(page.evaluate("document.activeElement.id || document.activeElement.name"))
    expected = ["pause", "theme", "view", "measure", "range", "grain", "carrier", "origin", "chart"]
    assert [name for name in reached if name in expected] == expected, reached
    chart = page.get_by_role("slider")
    chart.focus()
    page.keyboard.press("Home")
    first = chart.get_attribute("aria-valuetext")
    page.keyboard.press("ArrowRight")
    assert chart.get_attribute("aria-valuenow") == "1" and chart.get_attribute("aria-valuetext") != first
    expect(page.locator("#readout")).to_have_text(chart.get_attribute("aria-valuetext"))
    page.keyboard.press("Escape")
    expect(page.locator("#readout")).to_contain_text("Latest")


def theme(page):
    button = page.get_by_role("button", name="Dark")
    ground = "() => getComputedStyle(document.documentElement).backgroundColor"
    light = page.evaluate(ground)
    button.click()
    expect(button).to_have_attribute("aria-pressed", "true")
    assert page.evaluate(ground) != light
    accessible(page)
    shot(page, "dark")
    page.reload()
    expect(button).to_have_attribute("aria-pressed", "true")
    button.click()
    expect(button).to_have_attribute("aria-pressed", "false")


def cut(page):
    """Without the stream the page polls and says so; without the server it says that it is stale; then it goes on where it was."""
    state, detail, pause = page.locator("#freshness"), page.locator("#freshness-detail"), page.get_by_role("button", name="Pause")
    told = "event: generation\nid: of-the-test\ndata: {}\n\n"
    streams = []

    def short(route):
        streams.append(route.request.headers.get("last-event-id"))
        # The first one ends after an event, and those after it never begin.
        if len(streams) == 1:
            route.fulfill(status=200, content_type="text/event-stream", body=told)
        else:
            route.abort()

    page.route("**/v1/live**", short)
    pause.click()
    pause.click()
    expect(detail).to_contain_text("the stream is cut")
    expect(state).to_have_text("complete")
    page.wait_for_event("requestfailed")
    page.context.set_offline(True)
    expect(state).to_have_text("stale")
    expect(page.locator("#problem")).to_contain_text("cannot be reached")
    page.context.set_offline(False)
    page.unroute("**/v1/live**")
    expect(state).to_have_text("live, complete")
    expect(page.locator("#problem")).to_be_hidden()
    assert streams[0] is None and set(streams[1:]) == {"of-the-test"}, streams


def phone(browser, token):
    context = browser.new_context(viewport={"width": 390, "height": 844}, device_scale_factor=2, is_mobile=True, has_touch=True)
    page, wrong = watched(context)
    page.add_init_script(f"sessionStorage.setItem('highwater-token', '{token}')")
    page.goto(f"{URL}/#view={VIEW}")
    expect(page.locator(".mark")).to_contain_text("generation 2")
    assert page.evaluate("document.documentElement.scrollWidth <= innerWidth"), "the page is wider than the phone"
    small = "() => [...document.querySelectorAll('button, select, summary')].filter((n) => n.checkVisibility() && n.getBoundingClientRect().height < 24).map((n) => n.id || n.textContent)"
    assert not (found := page.evaluate(small)), found
    page.get_by_label("Measure").select_option("mean_delay")
    expect(page.locator("#chart-title")).to_contain_text("Mean delay")
    expect(page.locator("#table-title")).to_contain_text("Mean delay")
    accessible(page)
    shot(page, "phone")
    nothing_wrong(wrong)


def main():
    # How long what is waited for may take at most, on a machine that has much else to do.
    expect.set_options(timeout=30_000)
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=CHROMIUM, args=["--no-sandbox"])
        context = browser.new_context(viewport={"width": 1280, "height": 900}, color_scheme="light", timezone_id="Europe/Vienna")
        page, wrong = watched(context)
        page.goto(f"{URL}/#view={VIEW}")
        enter_token(page)
        layers_meet_at_the_mark(page)
        accessible(page)
        pickers(page)
        pause_and_resume(page)
        keyboard(page)
        theme(page)
        cut(page)
        nothing_wrong(wrong)
        phone(browser, "secret")
        browser.close()
    print("clicked through")


if __name__ == "__main__":
    main()
