"""A picture reaches the network as a viewer shows it: upright, on paper, in its proportions."""

import struct
import tracemalloc
import zlib

import numpy as np
import pytest

from tinyfractal import data
from tinyfractal.errors import DataError

Image = pytest.importorskip("PIL.Image")
rng = np.random.default_rng(11)
RAMP = np.linspace(0, 1, 64).reshape(8, 8)
GREY, COLOUR = (8, 8, 1), (8, 8, 3)


@pytest.fixture(autouse=True)
def in_an_empty_folder(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)


def read(pixels, shape=GREY, name="x.png", invert=False, **options):
    picture = pixels if isinstance(pixels, Image.Image) else Image.fromarray(pixels)
    picture.save(name, **options)
    image = data.read_image(name, shape, invert)
    assert image.dtype == np.float32
    assert image.shape == shape
    return image


@pytest.mark.parametrize("shape", [GREY, COLOUR])
def test_bytes_are_divided_by_255_and_inverted_on_demand(shape):
    pixels = rng.integers(0, 256, (8, 8), dtype=np.uint8)
    for channel in np.moveaxis(read(pixels, shape), 2, 0):
        assert np.allclose(channel, pixels / 255)
    assert np.allclose(read(pixels, shape, invert=True)[..., 0], 1 - pixels / 255)


@pytest.mark.parametrize(
    ("pixels", "name"),
    [
        ((RAMP * 65535).astype(np.uint16), "x.png"),
        ((RAMP * 65535).astype(np.uint16), "x.tif"),
        ((RAMP * 65535).astype(">u2"), "x.tif"),
        ((RAMP * 65535).astype(np.uint16), "x.pgm"),
        (RAMP.astype(np.float32), "x.tif"),
    ],
)
@pytest.mark.parametrize("shape", [GREY, COLOUR])
def test_16_bits_count_to_65535_and_floats_to_1(pixels, name, shape):
    found = read(pixels, shape, name)
    for channel in np.moveaxis(found, 2, 0):
        assert np.allclose(channel, RAMP, atol=2e-5)


@pytest.mark.parametrize(
    ("pixels", "words"),
    [
        ((RAMP * 255).astype(np.float32), "floats need to be 0 to 1, got 0 to 255"),
        ((RAMP - 0.5).astype(np.float32), "floats need .*, got -0.5 to 0.5"),
        (np.full((8, 8), np.nan, np.float32), "floats need to be 0 to 1"),
        ((RAMP * 2**31 - 1).astype(np.int32), "32-bit whole numbers"),
    ],
)
def test_numbers_of_which_nobody_knows_the_white_are_refused(pixels, words):
    Image.fromarray(pixels).save("x.tif")
    with pytest.raises(DataError, match=f"x.tif: {words}"):
        data.read_image("x.tif", GREY)


def transparent_digit(mode):
    """Black ink on nothing, four kinds of transparency."""
    alpha = np.zeros((8, 8), np.uint8)
    alpha[2:6, 3:5] = 255
    ink = np.zeros((8, 8), np.uint8)
    if mode == "RGBA":
        return Image.fromarray(np.dstack([ink, ink, ink, alpha]))
    if mode == "LA":
        return Image.merge("LA", [Image.fromarray(ink), Image.fromarray(alpha)])
    if mode == "P":  # colour 0 is transparent red, colour 1 black
        picture = Image.fromarray(alpha // 255).convert("P")
        picture.putpalette([255, 0, 0, 0, 0, 0])
    else:  # the grey 9 is transparent
        picture = Image.fromarray(np.where(alpha, 0, 9).astype(np.uint8))
    picture.info["transparency"] = 0 if mode == "P" else 9
    return picture


@pytest.mark.parametrize("mode", ["RGBA", "LA", "P", "L"])
@pytest.mark.parametrize("shape", [GREY, COLOUR])
def test_what_is_transparent_lies_on_white_paper(mode, shape):
    wanted = np.ones((8, 8))
    wanted[2:6, 3:5] = 0
    for channel in np.moveaxis(read(transparent_digit(mode), shape), 2, 0):
        assert np.allclose(channel, wanted)
    assert np.allclose(read(transparent_digit(mode), shape, invert=True)[..., 0], 1 - wanted)


def test_what_is_transparent_in_16_bits_is_white():
    Image.fromarray((RAMP * 65535).astype(np.uint16)).save("x.png", transparency=0)
    expected = np.where(RAMP == 0, 1, RAMP)
    assert np.allclose(data.read_image("x.png", GREY)[..., 0], expected, atol=2e-5)


def test_colours_that_nobody_sees_do_not_bleed_into_those_that_are_seen():
    pixels = np.zeros((16, 16, 4), np.uint8)
    pixels[:, ::2] = (255, 0, 0, 0)  # invisible red
    pixels[:, 1::2] = (0, 0, 255, 255)  # blue
    assert np.allclose(read(pixels, COLOUR)[0, 0], [0.5, 0.5, 1], atol=0.01)


@pytest.mark.parametrize("orientation", range(1, 9))
@pytest.mark.parametrize("kind", ["grey.jpg", "deep.png", "deep.tif", "clear.png"])
def test_a_picture_is_turned_as_its_exif_tag_says(orientation, kind):
    upright = np.zeros((8, 8))
    upright[0], upright[:4, 0] = 1, 0.5  # a bar above, a shorter one on the left
    # How a camera stores it, from the table of the EXIF standard: where row 0 and column 0 are.
    stored = {
        1: upright, 2: upright[:, ::-1], 3: upright[::-1, ::-1], 4: upright[::-1],
        5: upright.T, 6: np.rot90(upright), 7: upright[::-1, ::-1].T, 8: np.rot90(upright, -1),
    }[orientation]  # fmt: skip
    tags = Image.Exif()
    tags[0x0112] = orientation
    bytes_ = (stored * 255).astype(np.uint8)
    if kind.startswith("deep"):
        found = read((stored * 65535).astype(np.uint16), GREY, kind, exif=tags)
    elif kind == "clear.png":
        found = read(np.dstack([bytes_] * 3 + [np.full_like(bytes_, 255)]), GREY, kind, exif=tags)
    else:
        found = read(bytes_, GREY, kind, exif=tags, quality=100)
    assert np.allclose(found[..., 0], upright, atol=0.05)


def test_a_wide_picture_is_not_squeezed_and_lies_on_its_own_paper():
    ink = np.full((8, 32), 255, np.uint8)
    ink[:, 14:18] = 0  # a line in the middle
    found = read(ink)[..., 0]
    wanted = np.ones((8, 8))
    wanted[3:5, 3:5] = [[0.5, 0.5]] * 2  # 32 x 8 becomes 8 x 2, the line one pixel of two halves
    assert np.allclose(found, wanted, atol=0.01)
    assert np.allclose(read(ink, invert=True)[..., 0], 1 - wanted, atol=0.01)
    assert np.allclose(read(255 - ink.T)[..., 0], 1 - wanted.T, atol=0.01)
    sky = np.full((8, 24, 3), (10, 20, 240), np.uint8)
    assert np.allclose(read(sky, COLOUR), np.array([10, 20, 240]) / 255, atol=0.01)


@pytest.mark.parametrize("size", [(1, 1000), (1000, 1), (3, 5), (1, 1)])
@pytest.mark.filterwarnings("ignore:.*pixels were")
def test_any_proportions_fit(size):
    assert np.allclose(read(np.full(size, 51, np.uint8)), 0.2)


@pytest.mark.parametrize("mode", ["1", "P", "CMYK", "YCbCr", "RGBX"])
def test_the_other_ways_to_write_colours_are_understood(mode):
    picture = Image.new("RGB", (8, 8), "white")
    picture.paste((0, 0, 0), (2, 2, 6, 6))
    wanted = np.ones((8, 8))
    wanted[2:6, 2:6] = 0
    name = "x.png" if mode in "1P" else "x.tif"
    for shape in (GREY, COLOUR):
        assert np.allclose(read(picture.convert(mode), shape, name)[..., 0], wanted, atol=0.02)


def test_colours_become_the_grey_that_the_eye_finds_equally_bright():
    for colour, grey in (((255, 0, 0), 0.299), ((0, 255, 0), 0.587), ((0, 0, 255), 0.114)):
        assert np.allclose(read(Image.new("RGB", (8, 8), colour)), grey, atol=0.003)


def test_an_animation_is_its_first_frame():
    frames = [Image.new("RGB", (8, 8), colour) for colour in ("red", "blue")]
    found = read(frames[0], COLOUR, "x.gif", save_all=True, append_images=frames[1:])
    assert np.allclose(found, [1, 0, 0])


def test_a_photograph_in_a_tiny_network_and_a_dot_in_a_large_one_are_remarked_on(recwarn):
    with pytest.warns(UserWarning, match=r"400 x 300 pixels were reduced to fit into the 8 x 8"):
        read(np.zeros((300, 400, 3), np.uint8), COLOUR)
    with pytest.warns(UserWarning, match=r"8 x 8 pixels were enlarged to fit into the 64 x 64"):
        read(np.zeros((8, 8), np.uint8), (64, 64, 1))
    recwarn.clear()
    read(np.zeros((280, 280), np.uint8), (28, 28, 1))
    read(np.zeros((8, 8), np.uint8), (32, 32, 1))
    assert not recwarn.list


def png_of(width, height):
    """A PNG that says how large it is, with nothing in it."""

    def chunk(kind, content):
        check = zlib.crc32(kind + content)
        return struct.pack(">I", len(content)) + kind + content + struct.pack(">I", check)

    header = struct.pack(">IIBBBBB", width, height, 8, 0, 0, 0, 0)
    return (
        b"\x89PNG\r\n\x1a\n"
        + chunk(b"IHDR", header)
        + chunk(b"IDAT", zlib.compress(bytes(1000)))
        + chunk(b"IEND", b"")
    )


@pytest.mark.parametrize("side", [8193, 10_000, 60_000, 2**31 - 1])
def test_too_many_pixels_are_refused_before_they_are_decoded(side, tmp_path, recwarn):
    (tmp_path / "bomb.png").write_bytes(png_of(side, side))
    tracemalloc.start()
    with pytest.raises(DataError, match=r"bomb.png: .*pixels"):
        data.read_image("bomb.png", GREY)
    assert tracemalloc.get_traced_memory()[1] < 2**21
    tracemalloc.stop()
    assert not recwarn.list


def test_what_is_no_picture_is_refused_in_one_line(tmp_path):
    (tmp_path / "text.png").write_text("hello")
    (tmp_path / "program.eps").write_text("%!PS-Adobe-3.0 EPSF-3.0\n%%BoundingBox: 0 0 8 8\n")
    read(rng.integers(0, 256, (90, 90), dtype=np.uint8), (90, 90, 1), "cut.png")
    (tmp_path / "cut.png").write_bytes((tmp_path / "cut.png").read_bytes()[:2000])
    for name, words in (
        ("none.png", "there is no such file"),
        (".", "it is a folder"),
        ("text.png", "cannot identify image file; save the picture as PNG"),
        ("program.eps", "cannot identify image file"),
        ("cut.png", "truncated"),
    ):
        with pytest.raises(DataError, match=words) as error:
            data.read_image(name, GREY)
        assert str(error.value).startswith(name)
        assert "\n" not in str(error.value)


@pytest.mark.parametrize("shape", [(8, 8), (8, 8, 0), (0, 8, 1), "881", None, (8, 8, 2)])
def test_a_shape_that_is_none_is_refused(shape):
    with pytest.raises((ValueError, TypeError), match="read_image: shape needs"):
        data.read_image("x.png", shape)


def test_a_picture_in_the_home_folder_is_found(tmp_path, monkeypatch):
    monkeypatch.setenv("HOME", str(tmp_path))
    monkeypatch.setenv("USERPROFILE", str(tmp_path))
    Image.fromarray(np.full((8, 8), 255, np.uint8)).save("x.png")
    assert data.read_image("~/x.png", GREY).min() == 1
