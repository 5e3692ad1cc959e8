"""The page in a real Chromium: what it shows is what is stored, and everybody can use it."""

from __future__ import annotations

from functools import partial

import numpy as np
import pytest
from page_reading import move, number, point, readout, settled, shade, until

from ditscope.explorer import front_end

START = "sample=1&step=3&branch=cond&block=4&channel=70&opacity=100"
HEIGHT, WIDTH = 3, 4


@pytest.fixture
def stored(cache):
    """The values of a channel on the grid, float32 ``[y, x]``."""

    def values(channel=70, **labels):
        place = {"sample": 1, "step": 3, "branch": "cond", "block": 4} | labels
        hidden = cache.hidden(channels=[channel]).sel(channel=channel, **place)
        return hidden.values.astype(np.float32).reshape(HEIGHT, WIDTH)

    return values


def test_a_value_at_a_cell_is_the_stored_one(shown, stored) -> None:
    page = shown(START)
    values = stored()
    for y, x in ((0, 0), (2, 1), (1, 3)):
        point(page, y, x, HEIGHT, WIDTH)
        assert readout(page).startswith(f"y {y}, x {x} (token {4 * y + x}): channel 70")
        assert number(readout(page)) == pytest.approx(values[y, x], rel=6e-4)
    page.mouse.move(5, 5)
    scale = page.locator("canvas.bar").first.evaluate(
        "bar => Array.from(bar.getContext('2d').getImageData(0, 0, 256, 1).data)"
    )
    colours = np.reshape(scale, (256, 4))[:, :3]
    for y, x in np.ndindex(HEIGHT, WIDTH):
        entry = abs(colours - shade(page, y, x, HEIGHT, WIDTH)).sum(1).argmin()
        assert entry == pytest.approx(127.5 * (1 + values[y, x] / abs(values).max()), abs=1)


def test_each_slider_moves_to_what_is_stored_there_and_the_address_comes_back_to_it(shown, stored) -> None:
    page, labels = shown(START), {}
    for slider, to, label in (
        ("Block", 0, {"block": 0}),
        ("Step", 0, {"step": 1}),
        ("Branch", 1, {"branch": "uncond"}),
        ("Seed", 0, {"sample": 0}),
        ("Prompt", 1, {"sample": 2}),
    ):
        labels |= label
        move(page, slider, to)
        point(page, 1, 2, HEIGHT, WIDTH)
        assert number(readout(page)) == pytest.approx(stored(**labels)[1, 2], rel=6e-4)
        settled(page, *(f"{name}={value}" for name, value in labels.items()))
    page.mouse.move(5, 5)
    again = shown(page.url.split("#")[1])
    assert again.locator("main").inner_text() == page.locator("main").inner_text()


def test_words_of_a_prompt_lead_to_it_and_the_seed_stays_where_it_has_it(shown) -> None:
    page = shown("sample=2&step=3&block=4")
    from playwright.sync_api import expect

    field, said = page.get_by_label("Find a prompt", exact=True), page.locator("form.controls")
    field.fill("CIRCLE a")
    expect(page.locator("datalist option[value='a red circle']")).to_be_attached()
    field.press("Enter")
    expect(page.locator("main h2").first).to_have_text("a red circle")
    settled(page, "sample=0")
    assert "1 found" in said.inner_text()
    field.fill("a blue one")
    expect(said).to_contain_text("0 found")
    field.press("Enter")
    settled(page)
    assert page.locator("main h2").first.inner_text() == "a red circle"


def test_absolute_values_are_on_a_scale_from_zero(shown, stored) -> None:
    page = shown(f"{START}&sign=abs")
    values = abs(stored())
    point(page, 0, 1, HEIGHT, WIDTH)
    assert number(readout(page)) == pytest.approx(values[0, 1], rel=6e-4)
    ends = page.locator(".ends").first.inner_text().split()
    assert (ends[0], float(ends[-1])) == ("0", pytest.approx(values.max(), rel=6e-4))


def test_a_shared_scale_stays_where_steps_and_blocks_change(shown, cache) -> None:
    page = shown(f"{START}&scale=shared")
    largest = float(abs(cache.hidden(channels=[70]).sel(sample=1).values.astype(np.float32)).max())
    ends = page.locator(".ends").first.inner_text()
    assert number(ends) == pytest.approx(largest, rel=6e-4)
    move(page, "Block", 0)
    assert page.locator(".ends").first.inner_text() == ends


def test_the_ranking_chooses_a_channel(shown, cache) -> None:
    page = shown("sample=1&step=3&block=4")
    scores = cache.stats()["mean_abs"].sel(sample=1, step=3, branch="cond", block=4)
    order = scores["channel"].values[np.argsort(-scores.values, kind="stable")]
    bars = page.locator(".bars button")
    assert [int(text) for text in bars.all_inner_texts()] == order[:32].tolist()
    assert page.locator(".bars .massive").count() == 6
    assert page.get_by_role("heading", name=f"Channel {order[0]}", exact=True).count() == 1
    name = f"Channel {order[2]}, rank 3, mean |x| "
    assert bars.nth(2).get_attribute("aria-label").startswith(name)
    bars.nth(2).click()
    settled(page, f"channel={order[2]}")
    assert page.get_by_role("heading", name=f"Channel {order[2]}", exact=True).count() == 1


def test_a_token_has_its_norm_and_largest_channels(shown, cache) -> None:
    page = shown(f"{START}&token=6")
    values = cache.hidden().sel(sample=1, step=3, branch="cond", block=4, token=6).values.astype(np.float32)
    text = page.locator("section.panel", has=page.get_by_role("heading", name="Token 6")).inner_text()
    assert float(text.split("Norm ")[1].split()[0]) == pytest.approx(np.linalg.norm(values), rel=6e-4)
    largest = 3 + int(abs(values).argmax())
    assert page.locator("ol.token li").first.inner_text().split("\n")[0] == f"channel {largest}"


def test_two_places_stand_side_by_side_with_linked_sliders(shown, stored) -> None:
    page = shown(START)
    page.get_by_role("button", name="Side by side").click()
    until(page, lambda: page.locator(".pane").count() == 2)
    settled(page)
    page.get_by_role("button", name="Step: linked").click()
    settled(page)
    move(page, "Step, second", 0)
    move(page, "Block", 1)
    settled(page, "two=1", "b.step=1", "block=1")
    point(page, 2, 2, HEIGHT, WIDTH)
    for nth, step in ((0, 3), (1, 1)):
        assert number(readout(page, nth)) == pytest.approx(stored(step=step, block=1)[2, 2], rel=6e-4)
    again = shown(page.url.split("#")[1])
    assert again.locator(".facts").all_inner_texts() == page.locator(".facts").all_inner_texts()
    assert "IoU" in again.locator(".pane").nth(1).inner_text()


def test_the_keyboard_moves_the_token_and_the_sliders(shown, stored) -> None:
    page = shown(START)
    page.locator("canvas.map").first.focus()
    for key in ("ArrowRight", "ArrowRight", "ArrowDown"):
        page.keyboard.press(key)
    assert readout(page).startswith("y 1, x 2")
    page.keyboard.press("[")
    settled(page, "block=1")
    assert number(readout(page)) == pytest.approx(stored(block=1)[1, 2], rel=6e-4)
    page.keyboard.press("Escape")
    assert readout(page).startswith("Point at a token")


def test_everything_can_be_reached_and_has_a_name(shown) -> None:
    page = shown(f"{START}&two=1")
    unnamed = page.evaluate(
        """() => {
          const named = (each) => each.getAttribute("aria-label") || each.labels?.length || each.innerText?.trim();
          const what = "button, input, select, canvas:not([aria-hidden]), [tabindex], [role=img]";
          const all = [...document.querySelectorAll(what)].filter((each) => each.checkVisibility());
          return all.filter((each) => !named(each)).map((each) => each.outerHTML);
        }"""
    )
    assert unnamed == []
    snapshot = page.locator("body").aria_snapshot()
    for words in (
        'slider "Step"',
        'slider "Block"',
        'combobox "Ranked by"',
        'toolbar "Channels, the largest first"',
        'form "Where to look"',
    ):
        assert words in snapshot
    assert (
        page.get_by_label("Step", exact=True).get_attribute("aria-valuetext")
        == "3 · \N{GREEK SMALL LETTER SIGMA} 0.25"
    )
    seen = set()
    for _ in range(60):
        page.keyboard.press("Tab")
        seen.add(
            page.evaluate(
                "document.activeElement.getAttribute('aria-label') ?? document.activeElement.labels?.[0]?.innerText"
            )
        )
    assert {"Step", "Block", "Channel"} <= seen
    assert any(str(name).startswith("Map of channel 70") for name in seen)


def test_a_narrow_window_is_not_scrolled_sideways(shown) -> None:
    for state in (START, f"{START}&two=1", "store=1"):
        page = shown(state)
        for width in (360, 420, 800):
            page.set_viewport_size({"width": width, "height": 800})
            fits = f"document.documentElement.scrollWidth <= {width}"
            until(page, partial(page.evaluate, fits))


def test_dark_mode_follows_the_system_and_can_be_read(shown) -> None:
    light, dark = (shown(START, color_scheme=scheme) for scheme in ("light", "dark"))

    def brightness(page, what):
        colour = page.evaluate(f"getComputedStyle(document.body).{what}")
        channels = [int(part) / 255 for part in colour[4:-1].split(",")[:3]]
        return sum(
            w * (c / 12.92 if c <= 0.04045 else ((c + 0.055) / 1.055) ** 2.4)
            for w, c in zip((0.2126, 0.7152, 0.0722), channels, strict=True)
        )

    for page, is_dark in ((light, False), (dark, True)):
        paper, ink = brightness(page, "backgroundColor"), brightness(page, "color")
        assert (paper < ink) == is_dark
        assert (max(paper, ink) + 0.05) / (min(paper, ink) + 0.05) > 7


def test_a_refusal_is_shown_where_it_belongs_and_the_rest_stays(shown) -> None:
    page = shown(START.replace("channel=70", "channel=2"), refused=True)
    assert "Found channel 2" in page.locator(".panel.large .said").inner_text()
    assert page.locator(".bars button").count() == 32


def test_words_of_a_store_are_text(shown) -> None:
    page = shown("sample=2")
    assert page.get_by_role("heading", name="ein grünes Dreieck <b>").count() == 1
    assert page.locator("h2 b").count() == 0


def test_the_python_that_is_shown_gives_the_map(shown, stored) -> None:
    page = shown(f"{START}&sign=abs")
    page.get_by_role("button", name="Copy as Python").click()
    names: dict = {}
    exec(page.locator("header .code").inner_text(), names)
    assert names["values"].values.astype(np.float32).reshape(HEIGHT, WIDTH).tolist() == abs(stored()).tolist()


def test_text_and_modulation_are_shown_too(shown, cache) -> None:
    page = shown("sample=1&stream=text&block=4&channel=3&token=2")
    values = cache.hidden("text", channels=[3]).sel(sample=1, step=3, branch="cond", block=4, channel=3)
    assert number(readout(page)) == pytest.approx(float(values[2]), rel=6e-4)
    page = shown("sample=1&site=attn_gate")
    assert "the ranking is what there is" in page.locator(".panel.large").inner_text()
    assert page.locator(".bars button").count() == 32


def test_a_comparison_has_images_difference_and_intervals(shown, stores) -> None:
    result = stores[1].result
    page = shown("store=1&edit=1&draw=1&sample=1")
    place = {"block": 0, "edit": 1, "draw": 1, "sample": 1}
    images = [result["baseline_images"].isel(sample=1).values, result["images"].isel(place).values]
    for nth, image in enumerate(images):
        assert shade(page, 3, 2, 4, 5, nth) == image[3, 2].tolist()
    point(page, 3, 2, 4, 5, 2)
    difference = abs(images[1].astype(float) - images[0])[3, 2].mean()
    assert number(readout(page)) == pytest.approx(difference, rel=6e-4)
    row = page.locator("tbody tr").nth(1).inner_text()
    here = result.isel(block=0, metric=0, edit=1)
    for value in (here["mean"], here["low"], here["high"], here["effect"].isel(draw=1, sample=1)):
        assert f"{float(value):.4g}".rstrip("0").rstrip(".") in row
    assert "control" in row
    page.get_by_role("button", name="block single.5").click()
    settled(page, "grid.block=1")
    assert "1 runs are not finished" in page.locator("main").inner_text()


@pytest.mark.parametrize("sign", ["abs", "signed"])
def test_colours_are_even_to_the_eye(shown, sign) -> None:
    page = shown(f"{START}&sign={sign}")
    pixels = page.locator("canvas.bar").first.evaluate(
        "bar => Array.from(bar.getContext('2d').getImageData(0, 0, 256, 1).data)"
    )
    rgb = np.reshape(pixels, (256, 4))[:, :3] / 255
    linear = np.where(rgb <= 0.04045, rgb / 12.92, ((rgb + 0.055) / 1.055) ** 2.4)
    lightness = 116 * np.cbrt(linear @ [0.2126, 0.7152, 0.0722]) - 16
    halves = [lightness] if sign == "abs" else [lightness[:128][::-1] * -1, -lightness[128:]]
    for half in halves:
        steps = np.diff(half[::8])
        assert steps.min() > 0
        assert steps.max() < 2.5 * np.median(steps)
    if sign == "signed":
        assert abs(lightness - lightness[::-1]).max() < 8


def test_the_module_is_put_together_from_the_views() -> None:
    module = front_end.module()
    assert module.count("export default") == 1
    for name in ("channel_map", "channel_ranking", "tokens", "mask", "edited", "scores"):
        assert f'"{name}"' in module
    assert "://" not in module.replace("http://www.w3.org", "")
    assert "@import" not in front_end.style()
    assert "url(" not in front_end.style()
