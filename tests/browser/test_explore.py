"""The page of `tinyfractal.explore` in a real browser: what it shows is what the run did."""

import re
import threading

import numpy as np
import pytest

import tinyfractal as tf
from tinyfractal.explore import Page, examples
from tinyfractal.explore.document import FOLDER

from .conftest import IN_THE_PAGE, watch

pytestmark = [pytest.mark.browser]
SIZES = {"phone": (390, 844), "laptop": (1280, 800), "wide": (1920, 1080)}


def meeting():
    """Paths that meet at both leaves, several times; all of it single numbers."""
    w = tf.Tensor(0.3, requires_grad=True)
    x = tf.Tensor(0.5, requires_grad=True)
    return lambda: (w * x + tf.sin(x * w) * x + x) * w


def long_network():
    """More boxes than are drawn: 60 modules of two layers each."""
    nn = tf.nn
    layers = [nn.Sequential(nn.Linear(2, 2), nn.Linear(2, 2)) for _ in range(60)]
    net, x = nn.Sequential(*layers), tf.Tensor([[0.1, 0.2]])
    return lambda: tf.mean(net(x) ** 2)


def long_sum():
    """More boxes than are drawn, and no modules to fold."""
    x = tf.Tensor(0.5, requires_grad=True)

    def loss():
        y = x
        for _ in range(400):
            y = y * 1.001
        return y

    return loss


class Value:
    """A number that remembers, as in chapter 2."""

    def __init__(self, data, how, parents=(), slopes=()):
        self.data, self.how, self.parents, self.slopes = data, how, parents, slopes


def own_engine():
    w, x, b = Value(0.5, "w"), Value(2.0, "x"), Value(-0.3, "b")
    product = Value(1.0, "×", (w, x), (2.0, 0.5))
    y = Value(0.7, "+", (product, b), (1.0, 1.0))
    return Value(np.tanh(0.7), "tanh", (y,), (1 - np.tanh(0.7) ** 2,))


def small_steps():
    with tf.reference():
        return tf.explore(examples.block(2, 1, 2)["everything"], "Small steps")


PAGES = {
    "neuron": lambda: tf.explore(examples.neuron(), "A neuron"),
    "own engine": lambda: tf.explore(own_engine(), "My own engine"),
    "meeting": lambda: tf.explore(meeting(), "Paths that meet"),
    "perceptron": lambda: tf.explore(examples.perceptron(), "A perceptron"),
    "block": lambda: tf.explore(examples.block(), "A block"),
    "network": lambda: tf.explore(examples.network(), "A network"),
    "small steps": small_steps,
    "long network": lambda: tf.explore(long_network(), "A long network"),
    "long sum": lambda: tf.explore(long_sum(), "A long sum"),
}


@pytest.fixture(scope="module")
def saved(tmp_path_factory):
    """A function: the page of that name, (address, trace), made once."""
    folder, made = tmp_path_factory.mktemp("pages"), {}

    def get(name):
        if name not in made:
            tf.seed(0)
            page = PAGES[name]()
            made[name] = page.save(folder / f"{len(made)}.html").as_uri(), page.trace
        return made[name]

    return get


@pytest.fixture
def opened(page, saved):
    """A function: open the page of that name, and give its first run or the one asked for."""

    def get(name, state=""):
        address, trace = saved(name)
        page.goto(address + state)
        run = re.search(r"run=(\d)\b", state)
        return trace["runs"][int(run[1]) if run else 0]

    return get


# ----- What is read from the page -----


def number(text):
    return float(text.replace("−", "-"))


def text_of(page, selector):
    return page.locator(selector).inner_text()


def seen(page):
    """What the page shows: count, sentence, the current and the open boxes, and numbers.

    "value" and "gradient" are the numbers in the panel, None where it shows none.
    """
    return page.evaluate(
        """() => {
            const read = (cell) => Number(cell.title.replaceAll('−', '-'));
            const map = (name) => {
                const figures = [...document.querySelectorAll('.samples figure')];
                const caption = (one) => one.querySelector('figcaption').textContent;
                const figure = figures.find((one) => caption(one) === name);
                if (!figure) return null;
                const one = figure.querySelector('.one');
                const lines = [...figure.querySelectorAll('tr')].map((row) => [...row.children]);
                return (one ? [[one]] : lines).map((row) => row.map(read));
            };
            const text = (selector) => document.querySelector(selector).innerText;
            const all = (kind) => [...document.querySelectorAll(`#graph .box.${kind}`)];
            return {
                count: text('#count'),
                sentence: text('#sentence'),
                panel: text('#panel'),
                now: all('now').map((g) => g.dataset.id),
                todo: all('todo').map((g) => g.dataset.id),
                value: map('value'),
                gradient: map('gradient'),
            };
        }"""
    )


def approximately(sample):
    return pytest.approx(rows(sample), rel=1e-5)


def box(page, identity):
    return page.locator(f'#graph [data-id="{identity}"]')


def choose(page, identity):
    box(page, identity).dispatch_event("click")


def press(page, key):
    page.keyboard.press(key)


def becomes(page, selector, text):
    expect = pytest.importorskip("playwright.sync_api").expect
    expect(page.locator(selector)).to_contain_text(text)


def drag_to(page, selector, value):
    page.locator(selector).evaluate(
        "(slider, value) => { slider.value = value;"
        " slider.dispatchEvent(new Event('input', { bubbles: true })); }",
        str(value),
    )


def steps_of(run):
    """(the steps forward, the steps backward, all nodes by id)."""
    nodes = {node["id"]: node for node in run["nodes"]}
    forward = [node for node in run["nodes"] if node["kind"] == "step"]
    return forward, [nodes[identity] for identity in run["visits"]], nodes


def rows(sample):
    return np.array(sample["rows"], float)


# ----- Every step, and every number -----


@pytest.mark.parametrize(
    ("name", "choice"),
    [("block", 0), ("block", 4), ("meeting", 0), ("perceptron", 0), ("own engine", 0)],
)
def test_every_step_forward_and_backward_shows_what_the_run_did(page, opened, name, choice):
    run = opened(name, f"#run={choice}")
    forward, backward, _ = steps_of(run)
    assert text_of(page, "#sentence").startswith("Start here")
    assert set(seen(page)["todo"]) == {node["id"] for node in forward}
    for k, node in enumerate(forward, 1):
        press(page, "ArrowRight")
        now = seen(page)
        assert now["count"] == f"Forward {k} of {len(forward)}"
        assert now["sentence"].startswith(node["forward"].rstrip("."))
        assert now["now"] == [node["id"]]
        assert set(now["todo"]) == {other["id"] for other in forward[k:]}
        assert now["value"] == approximately(node["value"])
        assert now["gradient"] is None
    press(page, "ArrowRight")
    assert seen(page)["count"] == f"Backward 0 of {len(backward)}"
    assert seen(page)["gradient"] == [[1.0]]
    for k, node in enumerate(backward, 1):
        press(page, "ArrowRight")
        now = seen(page)
        assert now["count"] == f"Backward {k} of {len(backward)}"
        assert now["sentence"].startswith(node["backward"].rstrip("."))
        assert now["now"] == [node["id"]]
        assert now["gradient"] == approximately(node["grad"])
    for node in run["nodes"]:  # at the end everything is there
        if node["kind"] in ("leaf", "step") and node["grad"]:
            choose(page, node["id"])
            assert seen(page)["gradient"] == approximately(node["grad"])
    assert page.locator("#next").get_attribute("aria-disabled") == "true"
    for _ in range(len(forward) + len(backward) + 1):
        press(page, "ArrowLeft")
    assert seen(page)["count"] == f"Forward 0 of {len(forward)}"
    assert page.locator("#graph .frame.there.of-grad").count() == 0


def test_the_numbers_are_those_of_another_run_of_the_library(page, opened):
    run = opened("block", "#mode=backward&step=99")
    tf.seed(0)
    block = tf.FractalBlock(3, 1, 2)
    rng = np.random.default_rng(0)
    x = tf.Tensor(rng.normal(size=(2, 4, 4, 1)).astype("float32"), requires_grad=True)
    error = block(x) - rng.normal(size=(2, 4, 4, 2)).astype("float32")
    loss = tf.mean(error**2)
    loss.backward()
    choose(page, run["output"])
    assert seen(page)["value"] == pytest.approx(np.array([[loss.item()]]), rel=1e-5)
    leaves = {node["name"]: node["id"] for node in run["nodes"] if node["is_parameter"]}
    parameters = dict(block.named_parameters())
    assert len(parameters) == len(leaves) == 21
    for name, parameter in parameters.items():
        own = leaves.get(name) or leaves[f"block.{name}"]
        choose(page, own)
        whole = parameter.grad.numpy()
        expected = whole[:, :, 0, 0] if whole.ndim == 4 else whole[None]
        assert seen(page)["gradient"] == pytest.approx(expected, rel=1e-4, abs=1e-7)


def test_gradients_add_before_ones_eyes_where_paths_meet(page, opened):
    run = opened("meeting", "#mode=backward&step=0")
    _, backward, nodes = steps_of(run)
    so_far, sums = {}, 0
    for node in backward:
        press(page, "ArrowRight")
        lines = page.locator(".gifts li").all()
        given = [(i, part["rows"][0][0]) for i, part in zip(node["inputs"], node["parts"]) if part]
        assert len(lines) == len(given)
        for line, (identity, part) in zip(lines, given):
            found = [
                number(x)
                for x in re.findall(r"[−\d.]+(?:e[−\d]+)?", line.inner_text().split("\n")[-1])
            ]
            if identity in so_far:
                before = so_far[identity]
                assert found == pytest.approx([before, part, before + part], rel=1e-3)
                sums += 1
            else:
                assert found == pytest.approx([part], rel=1e-3)
            so_far[identity] = so_far.get(identity, 0) + part
            shown = box(page, identity).locator(".number.grad").text_content()
        assert number(shown.removeprefix("∂ ")) == pytest.approx(so_far[identity], rel=1e-3)
    assert sums == 5  # w is used three times, x four
    for identity, total in so_far.items():
        assert total == pytest.approx(nodes[identity]["grad"]["rows"][0][0], rel=1e-4)


def test_arrays_that_add_are_shown_as_three_small_maps(page, opened):
    run = opened("block", "#mode=backward&step=99")
    assert page.locator(".gifts img").count() == 4  # a + b = c at the image, and the weight's part
    assert "gradients add" in text_of(page, "#sentence")
    image = run["nodes"][0]["grad"]
    drawn = (
        page.locator(".gifts img")
        .nth(2)
        .evaluate(
            """(image) => {
            const canvas = document.createElement('canvas');
            [canvas.width, canvas.height] = [image.naturalWidth, image.naturalHeight];
            const context = canvas.getContext('2d');
            context.drawImage(image, 0, 0);
            const { width, height } = canvas;
            return [height, width, [...context.getImageData(0, 0, width, height).data]];
        }"""
        )
    )
    height, width, data = drawn
    pixels = np.array(data).reshape(height, width, 4)
    assert (height, width) == rows(image).shape
    blue = pixels[..., 2] > pixels[..., 0]  # negative
    clear = np.abs(rows(image)) > 0.05 * np.abs(rows(image)).max()
    assert clear.any()
    assert (blue == (rows(image) < 0))[clear].all()


# ----- Drop-path, and the choice of a run -----


def test_what_drop_path_left_out_is_a_dashed_ghost_without_numbers(page, opened):
    run = opened("block", "#run=4&mode=backward&step=99")
    ghosts = [node["id"] for node in run["nodes"] if node["kind"] == "ghost"]
    assert ghosts
    assert page.locator("#graph .ghost.box").count() == len(ghosts)
    for identity in ghosts:
        ghost = box(page, identity)
        dashes = ghost.locator(".body").evaluate("(e) => getComputedStyle(e).strokeDasharray")
        assert dashes != "none"
        assert ghost.locator("image").count() == 0
        ghost.dispatch_event("click")
        assert seen(page)["value"] is seen(page)["gradient"] is None
    opened("block", "#run=0")
    assert page.locator("#graph .ghost").count() == 0


def test_another_run_keeps_the_place(page, opened):
    run = opened("block")
    forward, _, _ = steps_of(run)
    column = opened("block", "#run=3")
    same = [node["name"] for node in steps_of(column)[0]]
    page.goto(page.url.split("#")[0])
    k = next(k for k, node in enumerate(forward, 1) if node["lane"] == 2 and k > 5)
    drag_to(page, "#slider", k)
    sentence = text_of(page, "#sentence")
    page.select_option("#run", "3")
    assert text_of(page, "#sentence") == sentence
    assert text_of(page, "#count").endswith(f"of {len(same)}")
    page.select_option("#run", "0")
    assert text_of(page, "#count") == f"Forward {k} of {len(forward)}"


# ----- Layout -----


def boxes(page):
    """(id, left, top, right, bottom) of all boxes."""
    return page.evaluate(
        """() => [...document.querySelectorAll('#graph .box')].map((g) => {
            const r = g.querySelector('.body').getBoundingClientRect();
            return [g.dataset.id, r.left, r.top, r.right, r.bottom];
        })"""
    )


def overlapping(found):
    return [
        (a[0], b[0])
        for i, a in enumerate(found)
        for b in found[:i]
        if min(a[3], b[3]) - max(a[1], b[1]) > 0.5 and min(a[4], b[4]) - max(a[2], b[2]) > 0.5
    ]


@pytest.fixture
def settings(request):
    """The window: a laptop's, or one of `SIZES`; a phone is touched."""
    width, height = SIZES[getattr(request, "param", "laptop")]
    touched = width < 500
    return {
        "viewport": {"width": width, "height": height},
        "has_touch": touched,
        "is_mobile": touched,
    }


@pytest.mark.parametrize("settings", SIZES, indirect=True)
def test_nothing_overlaps_and_nothing_is_wider_than_the_window(page, opened, saved, settings):
    width = settings["viewport"]["width"]
    for name in PAGES:
        for choice in range(len(saved(name)[1]["runs"])):
            opened(name, f"#run={choice}&mode=backward&step=99")
            found = boxes(page)
            assert 1 < len(found) <= 300
            assert overlapping(found) == [], (name, choice)
            assert page.evaluate("document.documentElement.scrollWidth") <= width
            controls = page.evaluate(
                """() => [...document.querySelectorAll('select, button, #slider')]
                    .filter((e) => !e.closest('main'))
                    .map((e) => e.getBoundingClientRect()).filter((r) => r.width)
                    .map((r) => ['', r.left, r.top, r.right, r.bottom])"""
            )
            assert len(controls) >= 8
            assert overlapping(controls) == []
            assert all(left >= 0 and right <= width for _, left, _, right, _ in controls)
            if settings["has_touch"]:
                assert all(bottom - top >= 44 for _, _, top, _, bottom in controls)


def test_time_runs_down_and_columns_stand_beside_each_other(page, opened):
    run = opened("block", "#run=0")
    forward, _, nodes = steps_of(run)
    place = {identity: rest for identity, *rest in boxes(page)}
    middle = {i: ((a + c) / 2, (b + d) / 2) for i, (a, b, c, d) in place.items()}
    for node in forward:
        for identity in node["inputs"]:
            if identity and nodes[identity]["kind"] == "step":
                assert middle[identity][1] < middle[node["id"]][1]
    lanes = {}
    for node in forward:
        if node["lane"] is not None and node["name"] != "join":
            lanes.setdefault(node["lane"], []).append(middle[node["id"]])
    across = {lane: {round(x) for x, _ in found} for lane, found in lanes.items()}
    assert all(len(xs) == 1 for xs in across.values())  # a column is a straight line
    assert max(across[0]) < min(across[1]) <= max(across[1]) < min(across[2])
    heights = {lane: np.mean([y for _, y in found]) for lane, found in lanes.items()}
    assert heights[0] == pytest.approx(heights[2], abs=2)  # the shallow column lies in the middle
    last = [node for node in forward if node["name"] == "join"][-1]
    left, _, right, _ = place[last["id"]]
    assert all(left < x < right for xs in across.values() for x in xs)  # a bar over its columns
    shallow = next(node for node in forward if node["lane"] == 0)
    weight = place[shallow["inputs"][1]]
    assert weight[2] < place[shallow["id"]][0]  # small, at its left
    assert weight[3] - weight[1] < place[shallow["id"]][3] - place[shallow["id"]][1]


# ----- Folding -----


@pytest.mark.parametrize("name", ["long network", "long sum"])
def test_more_than_300_boxes_are_folded_and_a_click_opens_them(page, opened, name):
    run = opened(name)
    assert len(run["nodes"]) > 300
    assert page.locator("#graph .box").count() <= 300
    assert "at most 300 boxes are drawn" in text_of(page, "#folds")
    before = page.locator("#graph .box.group").count()
    first = page.locator("#graph .box.group").first
    path = first.get_attribute("data-id").removeprefix("group:")
    first.focus()
    press(page, "Enter")
    inside = [node["id"] for node in run["nodes"] if box(page, node["id"]).count()]
    assert inside
    assert page.locator("#graph .box").count() <= 300
    assert box(page, f"group:{path}").count() == 0
    page.locator(f'#panel button[aria-label="Fold {path}"]').click()
    assert box(page, f"group:{path}").count() == 1
    assert page.locator("#graph .box.group").count() == before


def test_the_steps_in_a_folded_box_count_as_one(page, opened):
    run = opened("long network")
    folded = page.locator("#graph .box.group").count()
    plain = [
        node for node in run["nodes"] if node["kind"] == "step" and box(page, node["id"]).count()
    ]
    stops = 0
    while not text_of(page, "#count").startswith("Backward"):
        press(page, "ArrowRight")
        stops += 1
    assert stops == folded + len(plain) + 1
    assert "folded" in page.locator("#panel").inner_text() or plain


def test_small_steps_of_a_definition_begin_folded_and_open(page, opened):
    opened("small steps")
    path = "conv.norm.batch_norm()"
    found = page.locator(f'#graph [data-id="group:{path}"], #graph [data-id="group:block.{path}"]')
    assert found.count() == 1
    before = page.locator("#graph .box").count()
    found.dispatch_event("click")
    assert page.locator("#graph .box").count() > before + 3
    assert "open=" in page.url
    assert overlapping(boxes(page)) == []
    page.reload()
    assert found.count() == 0


# ----- Predict, then reveal -----


@pytest.mark.parametrize("name", ["neuron", "own engine"])
def test_what_is_to_be_predicted_is_nowhere_on_the_page(page, opened, name):
    secret = str(2 * (1 - np.tanh(0.7) ** 2))[:5]  # what w gets from its product with x
    opened(name, "#mode=backward&step=3")
    assert secret in page.evaluate(WITHOUT_SCRIPTS)
    opened(name, "#mode=backward&step=3&predict=1")
    assert "reveal" in text_of(page, "#sentence")
    assert page.locator(".gifts .cover").count() == 2
    assert secret not in page.evaluate(WITHOUT_SCRIPTS)
    press(page, "r")
    assert secret in text_of(page, ".gifts")
    assert page.locator(".cover").count() == 0
    press(page, "ArrowLeft")
    assert page.locator(".gifts .cover").count() > 0
    assert secret not in page.evaluate(WITHOUT_SCRIPTS)


WITHOUT_SCRIPTS = """() => {
    const copy = document.documentElement.cloneNode(true);
    copy.querySelectorAll('script').forEach((script) => script.remove());
    return copy.outerHTML;
}"""


def test_a_guess_is_judged_kindly(page, opened):
    opened("neuron", "#mode=backward&step=1&predict=1")
    field, said = page.get_by_label("Your guess"), page.locator(".guess [role=status]")
    for guess, answer in [
        ("", "A number"), ("x", "A number"), ("-0.6", "sign"), ("0.2", "further from zero"),
        ("2", "nearer to zero"), ("0.64", "well done"), ("0,635", "well done"),
    ]:  # fmt: skip
        field.fill(guess)
        press(page, "Enter")
        assert answer in said.inner_text(), guess
    page.locator("#reveal").click()
    assert page.locator(".guess").count() == 0


# ----- Nudge and drag -----


def test_a_nudge_is_measured_and_compared_with_the_gradient(page, opened):
    run = opened("neuron", "#mode=backward&step=3")
    w = next(node for node in run["nodes"] if node["name"] == "w")
    choose(page, w["id"])
    by = next(nudge["by"] for nudge in run["nudges"] if nudge["leaf"] == w["id"])
    change = np.tanh((0.5 + by) * 2 - 0.3) - np.tanh(0.7)
    predicted = 2 * (1 - np.tanh(0.7) ** 2) * by
    assert number(text_of(page, "#measured")) == pytest.approx(change, rel=1e-3)
    assert number(text_of(page, "#predicted").split("=")[1]) == pytest.approx(predicted, rel=1e-3)
    assert number(text_of(page, "#ratio")) == pytest.approx(change / predicted, rel=1e-3)


def test_a_number_of_an_array_is_chosen_in_its_map(page, opened):
    run = opened("block", "#mode=backward&step=99")
    nudge = next(one for one in run["nudges"] if one["cell"] == [1, 2])
    choose(page, nudge["leaf"])
    cell = page.locator("#panel .heat").first.locator("tr").nth(1).locator("td").nth(2)
    cell.click()
    assert "chosen" in cell.get_attribute("class")
    change = nudge["after"] - nudge["before"]
    assert number(text_of(page, "#measured")) == pytest.approx(change, rel=1e-3)


def test_dragging_moves_every_number(page, opened):
    run = opened("neuron", "#mode=backward&step=3")
    handle = next(one for one in run["handles"] if one["label"] == "w")
    page.select_option("#handle", str(run["handles"].index(handle)))
    slider = page.locator("#drag")
    nodes = {node["name"]: node["id"] for node in run["nodes"]}
    for at, w in enumerate(handle["values"]):
        drag_to(page, "#drag", at)
        y = np.tanh(w * 2 - 0.3)
        said = text_of(page, "#dragged")
        loss = float(re.search(r"loss = ([−\d.e]+)", said)[1].replace("−", "-"))
        slope = float(re.search(r"\(slope\) = ([−\d.e]+)", said)[1].replace("−", "-"))
        assert (loss, slope) == pytest.approx((y, 2 * (1 - y * y)), rel=2e-3, abs=1e-5)
        for name, value in {"w": w, "mul": 2 * w, "tanh": y}.items():
            shown = box(page, nodes[name]).locator(".number").first.text_content()
            assert number(shown) == pytest.approx(value, rel=1e-3, abs=1e-5), name
        shown = box(page, nodes["w"]).locator(".number.grad").text_content()
        assert number(shown.removeprefix("∂ ")) == pytest.approx(2 * (1 - y * y), rel=2e-3)
        assert page.locator(".curve .tangent").count() == 1
    assert slider.get_attribute("aria-valuetext").startswith(f"{handle['values'][-1]:.4g}")
    page.get_by_role("button", name="As it was").click()
    assert slider.input_value() == str(handle["at"])


def test_dragging_a_weight_of_the_block_changes_the_arrays(page, opened):
    run = opened("block", "#mode=backward&step=99")
    for at, handle in enumerate(run["handles"]):
        page.select_option("#handle", str(at))
        drag_to(page, "#drag", 8)
        step = handle["steps"][8]
        assert f"{step['loss']:.4g}" in text_of(page, "#dragged")
        for kind, name in [("value", "value"), ("grad", "gradient")]:
            for identity, expected in list(step[kind].items())[:12]:
                choose(page, identity)
                assert seen(page)[name] == pytest.approx(np.array(expected), rel=1e-5)


# ----- Keyboard, address, words -----


def test_everything_by_keyboard(page, opened):
    run = opened("neuron")
    _, backward, _ = steps_of(run)
    press(page, "End")
    assert text_of(page, "#count") == f"Backward {len(backward)} of {len(backward)}"
    press(page, "Home")
    assert text_of(page, "#count").startswith("Forward 0")
    page.select_option("#speed", "450")
    page.locator("#speed").blur()
    press(page, "f")
    becomes(page, "#count", "Forward 3 of 3")
    becomes(page, "#play", "Play")
    press(page, "b")
    assert text_of(page, "#play") == "Pause"
    press(page, " ")
    assert text_of(page, "#play") == "Play"
    at = text_of(page, "#count")
    page.wait_for_timeout(700)
    assert text_of(page, "#count") == at
    press(page, " ")
    becomes(page, "#count", "Backward 3 of 3")
    reached = []
    for _ in range(40):
        press(page, "Tab")
        identity = page.evaluate("document.activeElement.dataset.id")
        if identity:
            reached.append(identity)
            press(page, "Enter")
            assert box(page, identity).get_attribute("aria-pressed") == "true"
            assert page.evaluate("document.activeElement.dataset.id") == identity
    assert sorted(set(reached)) == sorted(node["id"] for node in run["nodes"])
    press(page, "?")
    assert page.locator("#help").is_visible()
    press(page, "Escape")
    assert not page.locator("#help").is_visible()


def test_arrow_keys_inside_a_map_read_its_numbers(page, opened):
    run = opened("perceptron", "#mode=forward&step=1")
    value = next(node for node in run["nodes"] if node["kind"] == "step")["value"]
    page.locator("#panel .heat").first.focus()
    count = text_of(page, "#count")
    press(page, "ArrowDown")
    press(page, "ArrowRight")
    assert text_of(page, "#count") == count
    at = page.locator("#panel .heat td.at")
    assert number(at.get_attribute("title")) == pytest.approx(value["rows"][1][1], rel=1e-5)


def test_the_address_leads_back_to_the_step(page, opened):
    opened("block")
    page.select_option("#run", "4")
    page.locator("#predict").check()
    drag_to(page, "#slider", 22)
    page.locator("#graph .box.leaf").nth(2).dispatch_event("click")
    drag_to(page, "#drag", 6)
    assert re.search(r"run=4&mode=backward&step=6&node=n\d+&predict=1&drag=\d-6", page.url)
    see = "document.body.innerText + document.querySelector('#graph').innerHTML"
    before = page.evaluate(see)
    page.goto("about:blank")
    page.go_back()
    page.reload()
    assert page.evaluate(see) == before
    page.evaluate("location.hash = '#run=0&mode=forward&step=3'")
    becomes(page, "#count", "Forward 3")
    for nonsense in ["#run=77&mode=x&step=-3&node=%3Cb%3E&drag=9-9&fold=none", "#step=1e9", "#%"]:
        opened("neuron", nonsense)
        assert text_of(page, "#count").startswith("Forward")


def test_the_steps_are_a_list_in_words(page, opened):
    run = opened("block")
    forward, backward, _ = steps_of(run)
    for mode, nodes in [("forward", forward), ("backward", backward)]:
        items = page.locator(f'ol[data-mode="{mode}"] > li')
        assert items.all_inner_texts() == [node[mode] for node in nodes]
        items.nth(4).get_by_role("button").click()
        assert text_of(page, "#count") == f"{mode.capitalize()} 5 of {len(nodes)}"
        assert page.locator("[aria-current=step]").inner_text() == nodes[4][mode]
    assert page.locator("#sentence").get_attribute("aria-live") == "polite"


def test_everything_that_can_be_used_has_a_name(page, opened):
    for state in ["", "#mode=backward&step=4&predict=1"]:
        opened("meeting", state)
        unnamed = page.evaluate(
            """() => {
                const used = 'button, input, select, [role=button], [tabindex="0"], svg[role=img]';
                const named = (e) => e.getAttribute('aria-label') || e.textContent.trim()
                    || (e.labels && e.labels.length > 0);
                const all = [...document.querySelectorAll(used)];
                return all.filter((e) => !named(e)).map((e) => e.outerHTML);
            }"""
        )
        assert unnamed == []


# ----- Where it is shown -----


def test_it_works_in_the_frame_of_a_notebook(page):
    made = tf.explore(examples.neuron(), "In a notebook")
    page.set_viewport_size({"width": 900, "height": 760})
    page.set_content(f"<h1>A notebook</h1>{made._repr_html_()}")
    frame = page.frame_locator("iframe")
    frame.locator("#next").click()
    assert frame.locator("#count").inner_text() == "Forward 1 of 3"
    frame.locator("#last").click()
    assert frame.locator("#count").inner_text() == "Backward 3 of 3"
    inner = page.frames[1]
    assert inner.evaluate("document.querySelector('#scroll').clientHeight") > 250
    frame.locator("#skip").dispatch_event("click")
    assert inner.evaluate("document.activeElement.id") == "panel"
    assert frame.locator("#count").inner_text() == "Backward 3 of 3"


HOSTILE = (
    '<img src=x onerror="document.title=1"></script><script>document.title=2</script>{{trace}}'
)


def test_names_are_text_and_nothing_else(page, tmp_path):
    trace = tf.explore(examples.neuron(), HOSTILE, HOSTILE).trace
    run = trace["runs"][0]
    run["name"] = HOSTILE
    trace["runs"].append({**run, "name": "second"})
    for node in run["nodes"]:
        node |= dict.fromkeys(("name", "label", "forward", "backward", "settings"), HOSTILE)
        node["group"] = [HOSTILE]
    for rule in trace["rules"].values():
        rule |= {"formula": HOSTILE, "file": HOSTILE, "code": [HOSTILE] * len(rule["code"])}
    for source in trace["sources"]:
        source |= dict.fromkeys(("file", "function", "code"), HOSTILE)
    for handle in run["handles"]:
        handle["label"] = HOSTILE
    page.goto(Page(trace).save(tmp_path / "page.html").as_uri())
    for _ in range(8):
        press(page, "ArrowRight")
        assert text_of(page, "#sentence").startswith(HOSTILE) or "Backward" in text_of(
            page, "#sentence"
        )
    page.get_by_role("button", name="Fold", exact=False).first.click()
    page.locator("#graph .box.group").dispatch_event("click")
    assert page.title() == HOSTILE
    assert page.locator("img[src=x]").count() == 0
    assert HOSTILE in page.locator("#panel").inner_text()


def test_numbers_that_are_not_finite_do_no_harm(page, tmp_path):
    w = tf.Tensor([1e30, 2.0, float("nan")], requires_grad=True)
    with np.errstate(all="ignore"):
        made = tf.explore(lambda: tf.sum(w * w * w + w), "Too large")
    page.goto(made.save(tmp_path / "page.html").as_uri())
    for _ in range(2 + len(steps_of(made.trace["runs"][0])[0]) * 2):
        press(page, "ArrowRight")
        assert "nan" in text_of(page, "#panel").lower()
    drag = page.locator("#drag")
    for at in range(9 if drag.count() else 0):
        drag_to(page, "#drag", at)


def test_nothing_moves_for_those_who_want_stillness(page, opened):
    moving = "document.getAnimations().length"
    for how, expected in [("no-preference", True), ("reduce", False)]:
        page.emulate_media(reduced_motion=how)
        opened("meeting", "#mode=backward&step=2")
        press(page, "ArrowRight")
        assert (page.evaluate(moving) > 0) == expected


def test_light_and_dark_are_legible(page, opened):
    for scheme in ("light", "dark"):
        page.emulate_media(color_scheme=scheme)
        opened("block", "#run=4&mode=backward&step=6&predict=1")
        poor = page.evaluate(CONTRAST)
        assert poor == [], scheme


CONTRAST = """() => {
    const rgb = (text) => (text.match(/[\\d.]+/g) || [0, 0, 0, 0]).map(Number);
    const light = (c) => {
        const linear = (x) => (x <= 0.03928 ? x / 12.92 : ((x + 0.055) / 1.055) ** 2.4);
        const [r, g, b] = c.slice(0, 3).map((x) => linear(x / 255));
        return 0.2126 * r + 0.7152 * g + 0.0722 * b;
    };
    const behind = (e) => {
        for (let one = e; one; one = one.parentElement) {
            const c = rgb(getComputedStyle(one).backgroundColor);
            if (c.length === 3 || c[3] > 0) return c;
        }
        return [255, 255, 255];
    };
    const found = [];
    for (const e of document.querySelectorAll('body *:not(svg *, script, option)')) {
        const own = [...e.childNodes].some((n) => n.nodeType === 3 && n.textContent.trim());
        if (!own || !e.getClientRects().length || e.closest('[aria-disabled=true]')) continue;
        const [a, b] = [light(rgb(getComputedStyle(e).color)), light(behind(e))];
        const ratio = (Math.max(a, b) + 0.05) / (Math.min(a, b) + 0.05);
        if (ratio < 4) found.push([e.tagName, e.className, e.textContent.slice(0, 40), ratio]);
    }
    return found;
}"""


def test_on_paper_there_is_the_graph_the_step_and_the_list(page, opened):
    opened("block", "#mode=backward&step=5")
    page.emulate_media(media="print", color_scheme="dark")
    for selector in ("#graph", "#sentence", "#panel", "ol.steps"):
        assert page.locator(selector).first.is_visible()
    assert page.locator("#graph .box.small").first.is_visible()
    for selector in (".bar", "#help-button", ".strip", "#run"):
        assert not page.locator(selector).is_visible()
    paper = page.evaluate("getComputedStyle(document.body).backgroundColor")
    assert paper == "rgb(255, 255, 255)"
    pane, graph = (page.locator(s).bounding_box() for s in ("#scroll", "#graph"))
    assert graph["height"] <= pane["height"] + 1  # nothing is cut off


def test_python_behind_the_page_runs_any_value(browser):
    live = pytest.importorskip("tinyfractal.explore.live")
    from http.server import HTTPServer

    served = live.Live(examples.neuron(), "Live")
    server = HTTPServer(("127.0.0.1", 0), live.handler_of(served, "/secret/"))
    threading.Thread(target=server.serve_forever, daemon=True).start()
    home = f"http://127.0.0.1:{server.server_address[1]}/secret/"
    trouble = []
    page = browser.new_page()
    watch(page, (*IN_THE_PAGE, home), trouble)
    try:
        page.goto(home)
        press(page, "End")
        run = served.page.trace["runs"][0]
        handle = next(one for one in run["handles"] if one["label"] == "w")
        page.select_option("#handle", str(run["handles"].index(handle)))
        page.locator("#live-drag").fill("0.123")
        press(page, "Enter")
        becomes(page, "#dragged", "w = 0.123")
        y = np.tanh(0.123 * 2 - 0.3)
        assert f"loss = {y:.4g}".replace("-", "−") in text_of(page, "#dragged")
        assert text_of(page, "#count") == "Backward 3 of 3"
    finally:
        page.close()
        server.shutdown()
        server.server_close()
    assert trouble == []


# ----- Limits, and the watch itself -----


def test_the_page_is_small(saved):
    parts = sum(path.stat().st_size for path in FOLDER.iterdir())
    assert parts < 110_000  # what each page brings along, whatever it shows
    _, block = saved("block")
    assert len(Page(block).html.encode()) < 1_000_000


def test_errors_and_requests_do_not_go_unseen(browser):
    for body, what in [
        ("<script>throw new Error('a')</script>", "not caught: a"),
        ("<script>console.error('b')</script>", "console: b"),
        ("<img src='http://127.0.0.1:1/c.png'>", "request: http://127.0.0.1:1/c.png"),
    ]:
        trouble = []
        page = browser.new_page()
        watch(page, IN_THE_PAGE, trouble)
        page.set_content(body)
        page.wait_for_timeout(100)
        page.close()
        assert what in trouble


def test_what_one_step_gives_twice_adds_up_in_one_sum(page, tmp_path):
    w = tf.Tensor(2.0, requires_grad=True)
    file = tf.explore(lambda: w * w + w, "Twice").save(tmp_path / "page.html")
    page.goto(file.as_uri())
    press(page, "End")
    assert "gradients add: 1 + 2 + 2 = 5." in text_of(page, "#sentence")


def test_play_waits_at_a_question(page, tmp_path):
    page.goto(tf.explore(examples.neuron(), "Wait").save(tmp_path / "page.html").as_uri())
    page.locator("#predict").check()
    page.locator("#speed").select_option("450")
    page.locator("#backward").click()
    page.locator("#reveal").wait_for()
    page.wait_for_timeout(1500)
    assert page.locator("#reveal").is_visible()
    assert text_of(page, "#play") == "Play"
