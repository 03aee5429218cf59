"""A recording becomes a picture: read whole or refused, and by the formula that stands there."""

import io
import math
import struct
import wave

import numpy as np
import pytest

from tinyfractal import data
from tinyfractal.data.sound import mel_bands
from tinyfractal.errors import DataError, DTypeError, ShapeError

RATE = 8000


def tone(hertz, seconds=1.0, rate=RATE, amplitude=0.5, phase=0.3):
    t = np.arange(round(seconds * rate)) / rate
    return (amplitude * np.sin(2 * np.pi * hertz * t + phase)).astype(np.float32)


def packed(samples, bits):
    """Floats (T,) or (T, channels) as whole numbers, little end first."""
    whole = np.rint(np.asarray(samples, np.float64) * 2 ** (bits - 1)).astype(np.int64)
    whole = np.clip(whole, -(2 ** (bits - 1)), 2 ** (bits - 1) - 1)
    if bits == 8:
        return (whole + 128).astype(np.uint8).tobytes()
    return b"".join(int(n).to_bytes(bits // 8, "little", signed=True) for n in whole.ravel())


def wav(samples, rate=RATE, bits=16):
    """The bytes of a WAV file as Python's own `wave` writes it."""
    samples = np.asarray(samples)
    stream = io.BytesIO()
    with wave.open(stream, "wb") as file:
        file.setnchannels(1 if samples.ndim == 1 else samples.shape[1])
        file.setsampwidth(bits // 8)
        file.setframerate(rate)
        file.writeframes(packed(samples, bits))
    return stream.getvalue()


def chunks(*parts, size=None):
    body = b"WAVE" + b"".join(
        kind + struct.pack("<I", len(content)) + content + b"\0" * (len(content) % 2)
        for kind, content in parts
    )
    return b"RIFF" + struct.pack("<I", len(body) if size is None else size) + body


def fmt(code=1, channels=1, rate=RATE, bits=16, block=None, more=b""):
    block = channels * bits // 8 if block is None else block
    return struct.pack("<HHIIHH", code, channels, rate, rate * block, block, bits) + more


# ----- Reading -----


@pytest.mark.parametrize("bits", [8, 16, 24, 32])
@pytest.mark.parametrize("channels", [1, 2, 3])
def test_whole_numbers_of_all_sizes_are_read_and_channels_averaged(bits, channels, tmp_path):
    rng = np.random.default_rng(bits)
    samples = rng.uniform(-1, 1, (101, channels))
    samples[:3, :] = [[-1], [0], [1 - 2.0 ** (1 - bits)]]  # the least, silence, the most
    (tmp_path / "a.wav").write_bytes(wav(samples, 11025, bits))
    found, rate = data.read_wav(tmp_path / "a.wav")
    assert rate == 11025
    assert found.dtype == np.float32
    assert found.shape == (101,)
    assert np.allclose(found, samples.mean(axis=1), atol=1.01 * 2.0 ** (1 - bits))
    assert found[0] == -1
    assert found[1] == 0
    assert np.abs(found).max() <= 1


def test_a_24_bit_stereo_file_is_the_mean_of_its_sides():
    left, right = tone(440), tone(660)
    found, rate = data.read_wav(wav(np.stack([left, right], axis=1), bits=24))
    assert rate == RATE
    assert np.allclose(found, (left + right) / 2, atol=2e-7)


def test_the_extensible_header_that_24_bit_files_usually_have_is_read():
    samples = tone(300, 0.01)
    guid = bytes.fromhex("0100000000001000800000aa00389b71")  # PCM
    header = fmt(0xFFFE, bits=24, more=struct.pack("<HHI", 22, 24, 4) + guid)
    found, _ = data.read_wav(chunks((b"fmt ", header), (b"data", packed(samples, 24))))
    assert np.allclose(found, samples, atol=2e-7)
    floats = fmt(0xFFFE, bits=32, more=struct.pack("<HHI", 22, 32, 4) + b"\x03" + guid[1:])
    with pytest.raises(DataError, match="its samples are floats"):
        data.read_wav(chunks((b"fmt ", floats), (b"data", samples.tobytes())))


def test_other_chunks_are_skipped_odd_ones_with_their_padding():
    samples = tone(300, 0.01)
    parts = (
        (b"LIST", b"abc"),
        (b"fmt ", fmt()),
        (b"fact", b"1234"),
        (b"data", packed(samples, 16)),
    )
    found, _ = data.read_wav(chunks(*parts, (b"id3 ", b"hello")))
    assert np.allclose(found, samples, atol=1e-4)


SOUND = packed(tone(300, 0.01), 16)
GOOD = wav(tone(300, 0.01))
TROUBLE = {
    "an mp3 renamed": (b"ID3\x03\x00" + b"\x00" * 500, "is no WAV file; .* look like MP3"),
    "an mp3 without tag": (b"\xff\xfb\x90\x64" + b"\x00" * 500, "is no WAV file; .* look like MP3"),
    "nothing": (b"", "is no WAV file; save it as WAV"),
    "a text": (b"hello, this is no sound at all", "is no WAV file"),
    "an AVI": (b"RIFF" + struct.pack("<I", 4) + b"AVI ", "is no WAV file"),
    "big endian": (b"RIFX" + GOOD[4:], "is no WAV file.*RIFX"),
    "floats": (
        chunks((b"fmt ", fmt(3, bits=32)), (b"data", b"\0" * 8)),
        "floats, not whole numbers",
    ),
    "A-law": (chunks((b"fmt ", fmt(6, bits=8)), (b"data", b"\0" * 8)), "A-law, not whole"),
    "MP3 inside": (chunks((b"fmt ", fmt(0x55, bits=0)), (b"data", b"\0" * 8)), "are MP3, not"),
    "unknown": (chunks((b"fmt ", fmt(77)), (b"data", b"\0" * 8)), "of format 77, not"),
    "0 samples": (wav(np.zeros(0)), "empty, no sound in it"),
    "0 channels": (chunks((b"fmt ", fmt(channels=0)), (b"data", SOUND)), "0 channels of 16 bits"),
    "a wrong block": (chunks((b"fmt ", fmt(block=3)), (b"data", SOUND)), "and 3 bytes for each"),
    "64 bits": (chunks((b"fmt ", fmt(bits=64)), (b"data", SOUND)), "have 64 bits, 8 to 32"),
    "0 bits": (chunks((b"fmt ", fmt(bits=0)), (b"data", SOUND)), "have 0 bits"),
    "rate 0": (chunks((b"fmt ", fmt(rate=0)), (b"data", SOUND)), "damaged, says 0 samples a sec"),
    "a huge rate": (
        chunks((b"fmt ", fmt(rate=2**32 // 2 - 1, block=2)), (b"data", SOUND)),
        "damaged",
    ),
    "no data": (chunks((b"fmt ", fmt())), "cut short, there is no sound"),
    "data first": (chunks((b"data", SOUND), (b"fmt ", fmt())), "does not say how its sound"),
    "half a header": (chunks((b"fmt ", fmt()[:9]), (b"data", SOUND)), "cut short, no WAV header"),
    "cut short": (GOOD[:-20], "cut short, 140 bytes of sound where its header says 160"),
    "half a number": (chunks((b"fmt ", fmt()), (b"data", SOUND[:-1])), "cut short, 159 bytes"),
    "a stream": (GOOD[:40] + b"\xff" * 4 + GOOD[44:], "cut short, 160 bytes .* 4,294,967,295"),
}


@pytest.mark.parametrize("name", TROUBLE)
def test_what_is_no_whole_file_is_refused_in_a_sentence_that_names_it(name, tmp_path):
    content, words = TROUBLE[name]
    path = tmp_path / "strange.wav"
    path.write_bytes(content)
    for read in (data.read_wav, data.decode_sound):
        with pytest.raises(DataError, match=words) as error:
            read(path)
        assert str(error.value).startswith(f"{path}: ")
        with pytest.raises(DataError, match=words) as error:
            read(content, name="archive: a.wav")
        assert str(error.value).startswith("archive: a.wav: ")


def test_every_prefix_and_many_damaged_bytes_are_read_or_refused():
    rng = np.random.default_rng(0)
    damaged = [GOOD[:end] for end in range(len(GOOD))]
    for _ in range(500):
        one = bytearray(GOOD)
        one[rng.integers(0, 60)] = rng.integers(0, 256)
        damaged.append(bytes(one))
    read = 0
    for content in damaged:
        try:
            samples, rate = data.read_wav(content)
        except DataError:
            pass
        else:
            read += 1
            assert np.isfinite(samples).all()
            assert np.abs(samples).max() <= 1
            assert rate > 0
    assert 0 < read < 500


def test_missing_files_folders_and_huge_ones_are_refused(tmp_path, monkeypatch):
    with pytest.raises(DataError, match="no such file"):
        data.read_wav(tmp_path / "none.wav")
    with pytest.raises(DataError, match="it is a folder"):
        data.read_wav(tmp_path)
    (tmp_path / "a.wav").write_bytes(GOOD)
    monkeypatch.setattr("tinyfractal.data.sound.MOST_BYTES", 100)
    for source in (tmp_path / "a.wav", GOOD):
        with pytest.raises(DataError, match=r"larger than the 100 bytes .* cut it into pieces"):
            data.read_wav(source)


# ----- The formula -----


def by_hand(samples, rate, bands, window, hop, low, high):
    """The definition with loops: a sum of waves for each frequency of each window."""
    width = round(window * rate)
    frames = int(len(samples) / (hop * rate) + 0.5)
    mel = [2595 * math.log10(1 + f / 700) for f in (low, high)]
    step = (mel[1] - mel[0]) / (bands + 1)
    corners = [700 * (10 ** ((mel[0] + b * step) / 2595) - 1) for b in range(bands + 2)]
    hann = [0.5 - 0.5 * math.cos(2 * math.pi * t / width) for t in range(width)]
    result = np.zeros((bands, frames))
    for frame in range(frames):
        start = round((frame + 0.5) * hop * rate - width / 2)
        totals, weights = [0.0] * bands, [0.0] * bands
        for k in range(width // 2 + 1):
            f = k * rate / width
            part = 0
            for t in range(width):
                inside = 0 <= start + t < len(samples)
                x = float(samples[start + t]) if inside else 0.0
                part += hann[t] * x * complex(math.cos(2 * math.pi * f * t / rate),
                                              -math.sin(2 * math.pi * f * t / rate))  # fmt: skip
            for b in range(bands):
                left, middle, right = corners[b : b + 3]
                if left < f < right:
                    up = (f - left) / (middle - left)
                    weight = up if f <= middle else (right - f) / (right - middle)
                    totals[b] += weight * abs(part / sum(hann)) ** 2
                    weights[b] += weight
        result[:, frame] = [10 * math.log10(max(a / b, 1e-15)) for a, b in zip(totals, weights)]
    return result


def test_it_is_the_sum_of_waves_of_the_definition():
    samples = np.random.default_rng(3).normal(0, 0.1, 480).astype(np.float32)
    settings = {"bands": 5, "window": 0.012, "hop": 0.010, "low": 100.0, "high": 3500.0}
    found = data.spectrogram(samples, RATE, **settings)
    assert found.dtype == np.float32
    assert found.shape == (5, 6)
    assert np.allclose(found, by_hand(samples, RATE, **settings), atol=1e-4)


@pytest.mark.parametrize("hertz", [320, 1000, 2480])  # whole numbers of waves in 25 ms
def test_a_pure_tone_is_where_its_frequency_is_and_as_loud_as_it_is(hertz):
    """A Hann window leaves A/2 at the frequency itself and half of that at its two neighbours."""
    amplitude, width, bands = 0.3, 200, 24
    found = data.spectrogram(tone(hertz, amplitude=amplitude), RATE, bands)
    assert found.shape == (bands, 100)
    power = np.zeros(width // 2 + 1)
    k = hertz * width // RATE
    power[k - 1 : k + 2] = (amplitude / 2) ** 2 * np.array([1 / 4, 1, 1 / 4])
    expected = power @ mel_bands(RATE, width, bands, 60, 4000)
    audible = expected > 1e-9
    middle = found[:, 5:-5]  # at the ends there is silence in the window
    assert np.allclose(middle[audible].T, 10 * np.log10(expected[audible]), atol=1e-3)
    assert (middle[~audible] < -90).all()
    edges = np.linspace(*(2595 * np.log10(1 + np.array([60, 4000]) / 700)), bands + 2)
    mel = 2595 * math.log10(1 + hertz / 700)
    assert edges[middle[:, 0].argmax()] < mel < edges[middle[:, 0].argmax() + 2]


def test_a_click_is_where_it_happens():
    samples = np.zeros(RATE, np.float32)
    samples[2040] = 1  # 0.255 s: the middle of frame 25
    found = data.spectrogram(samples, RATE)
    assert found.max(axis=0).argmax() == 25
    assert (found[:, 25] > -60).all()
    assert (found[:, :23] == -150).all()
    assert (found[:, 28:] == -150).all()


def test_it_agrees_with_scipy():
    signal = pytest.importorskip("scipy.signal")
    samples = np.random.default_rng(1).normal(0, 0.1, 4000)
    width, step, bands = 200, 80, 32
    around = np.pad(samples, (width // 2 - step // 2, width))
    _, _, waves = signal.stft(
        around, RATE, "hann", width, width - step, boundary=None, padded=False
    )
    power = np.abs(waves[:, :50]) ** 2
    expected = 10 * np.log10(mel_bands(RATE, width, bands, 60, 4000).T @ power)
    assert np.allclose(data.spectrogram(samples, RATE, bands), expected, atol=1e-4)


def test_the_triangles_are_those_of_librosa():
    filters = pytest.importorskip("librosa.filters")
    for rate, width, bands in ((8000, 200, 24), (16000, 512, 40), (44100, 1102, 32)):
        expected = filters.mel(
            sr=rate, n_fft=width, n_mels=bands, fmin=60, fmax=4000, htk=True, norm=None
        )
        expected /= expected.sum(axis=1, keepdims=True)
        assert np.allclose(mel_bands(rate, width, bands, 60, 4000).T, expected, atol=1e-5)


@pytest.mark.parametrize("bands", [1, 7, 64, 128, 256])
def test_no_band_is_without_a_frequency(bands):
    for rate, width in ((8000, 200), (8000, 80), (44100, 1102)):
        mel = mel_bands(rate, width, bands, 60, 4000)
        assert np.allclose(mel.sum(axis=0), 1)
        assert len(mel) > width // 2
    noise = np.random.default_rng(0).normal(0, 0.1, 4000)
    found = data.spectrogram(noise, RATE, bands).mean(axis=1)
    assert np.ptp(found) < 8  # white noise is about flat


def test_recordings_of_other_rates_give_comparable_pictures():
    for make in (lambda rate: tone(700, rate=rate) + tone(1900, rate=rate),):
        one = data.spectrogram(make(8000), 8000)
        for rate in (11025, 16000, 22050, 44100, 48000):
            other = data.spectrogram(make(rate), rate)
            assert other.shape == one.shape
            loud = one > -60
            assert np.abs(other - one)[loud].mean() < 0.3


def test_what_cannot_be_told_is_refused():
    samples = tone(440)
    with pytest.raises(
        ValueError, match=r"7,999 samples a second hold no frequencies above 3,999\.5"
    ):
        data.spectrogram(samples, 7999)
    assert data.spectrogram(samples, 7999, high=3900.0).shape == (32, 100)
    with pytest.raises(ValueError, match="high needs more than low, 500 Hz, got 500"):
        data.spectrogram(samples, RATE, low=500.0, high=500.0)
    with pytest.raises(DTypeError, match=r"got int16; 16-bit numbers are samples / 32768"):
        data.spectrogram((samples * 32767).astype(np.int16), RATE)
    for wrong in (samples[:0], np.stack([samples, samples], axis=1)):
        with pytest.raises(ShapeError, match=r"one channel, got"):
            data.spectrogram(wrong, RATE)
    with pytest.raises(DataError, match="NaN"):
        data.spectrogram(np.where(samples > 0.4, np.nan, samples), RATE)
    with pytest.raises(ValueError, match="bands needs a whole number from 1 to 256"):
        data.spectrogram(samples, RATE, bands=300)
    assert data.spectrogram(np.ones(1, np.float32), RATE, hop=1.0).shape == (32, 1)


# ----- The picture -----


def test_the_highest_band_is_on_top_and_time_runs_to_the_right():
    rising = np.concatenate([tone(200, 0.5), tone(3000, 0.5)])
    picture = data.decode_sound(wav(rising), (32, 50, 1))
    assert picture.dtype == np.uint8
    assert picture.shape == (32, 50, 1)
    assert picture.max() == 255
    assert picture[:, 5, 0].argmax() > 24
    assert picture[:, 45, 0].argmax() < 8


def test_a_short_sound_lies_in_the_middle_of_silence_and_of_a_long_one_the_middle_is_taken():
    picture = data.decode_sound(wav(tone(1000, 0.3)), (16, 100, 1))[:, :, 0]
    sound = np.flatnonzero(picture.any(axis=0))
    assert 33 <= sound[0] <= 36
    assert 63 <= sound[-1] <= 66
    parts = np.concatenate([tone(300), tone(1000), tone(3000)])
    picture = data.decode_sound(wav(parts), (16, 100, 1))
    alone = data.decode_sound(wav(tone(1000)), (16, 100, 1))
    assert (picture[:, 5:-5].argmax(axis=0) == alone[:, 5:-5].argmax(axis=0)).all()
    assert (
        data.decode_sound(wav(parts), (16, 99, 1), seconds=3.0)[:, 10:20].argmax(axis=0) > 10
    ).all()


@pytest.mark.parametrize("rate", [8000, 11025, 22050, 44100])
@pytest.mark.parametrize("shape", [(8, 8, 1), (32, 64, 1), (40, 97, 1), (64, 1, 1), (1, 300, 1)])
def test_the_picture_has_the_shape_asked_for_at_every_rate(rate, shape):
    for seconds in (0.1, 1.0, 2.5):
        picture = data.decode_sound(wav(tone(1000, 0.7, rate), rate), shape, seconds)
        assert picture.shape == shape
        assert picture.max() == 255


def test_no_click_falls_between_the_windows():
    for at in range(0, RATE, 190):
        samples = np.zeros(RATE)
        samples[at] = 0.5
        picture = data.decode_sound(wav(samples), (8, 10, 1))[:, :, 0]
        assert picture.max(axis=0).argmax() in (at // 800, (at - 1) // 800, (at + 1) // 800)


def test_loudness_does_not_matter_and_silence_is_black():
    word = tone(500, 0.4) * np.hanning(3200) + 0.3 * tone(1500, 0.4)
    loud = data.decode_sound(wav(word, bits=32))
    quiet = data.decode_sound(wav(word / 1000, bits=32))
    assert np.abs(loud.astype(int) - quiet).max() <= 1
    assert loud.std() > 20
    for silence in (np.zeros(RATE), np.zeros(1), np.zeros(3 * RATE)):
        assert not data.decode_sound(wav(silence)).any()
    one = data.decode_sound(wav([0.5]))  # a single sample is a click
    assert one.max() == 255


def test_a_sound_without_high_tones_is_refused_and_colours_too(tmp_path):
    path = tmp_path / "old.wav"
    path.write_bytes(wav(tone(440, rate=6000), 6000))
    with pytest.raises(DataError, match=r"old.wav: 6,000 samples a second .* at least 8,000"):
        data.decode_sound(path)
    with pytest.raises(DataError, match=r"decode_sound: shape needs 1 channel"):
        data.decode_sound(path, (32, 32, 3))


# ----- Augmentation -----

AUGMENT = {
    "shift_time": (data.shift_time, "frames", 2),
    "shift_bands": (data.shift_bands, "bands", 1),
    "mask_time": (data.mask_time, "frames", 2),
    "mask_bands": (data.mask_bands, "bands", 1),
}


def pictures(count, dtype=np.uint8, height=5, width=7):
    return np.random.default_rng(0).integers(1, 255, (count, height, width, 1)).astype(dtype)


@pytest.mark.parametrize("name", AUGMENT)
@pytest.mark.parametrize("dtype", [np.uint8, np.float32])
def test_augmentation_keeps_its_input_and_its_type_and_can_be_repeated(name, dtype):
    function, argument, axis = AUGMENT[name]
    images = pictures(20, dtype)
    before = images.copy()
    one = function(images, np.random.default_rng(1), 2)
    two = function(images, np.random.default_rng(1), 2)
    assert np.array_equal(images, before)
    assert one.dtype == dtype
    assert np.array_equal(one, two)
    assert not np.array_equal(one, images)
    assert np.array_equal(function(images, np.random.default_rng(1), 0), images)
    assert function(images[:0], np.random.default_rng(1), 2).shape == (0, 5, 7, 1)
    too_many = images.shape[axis] + ("mask" in name)
    with pytest.raises(ValueError, match=rf"{name}: {argument} needs .*got {too_many}"):
        function(images, np.random.default_rng(1), too_many)
    with pytest.raises(ShapeError, match=f"{name}: images need shape"):
        function(images[0], np.random.default_rng(1), 2)


@pytest.mark.parametrize("name", ["shift_time", "shift_bands"])
def test_a_shift_moves_along_its_axis_and_silence_comes_in(name):
    function, _, axis = AUGMENT[name]
    images = pictures(3000)
    moved = function(images, np.random.default_rng(0), 2)
    seen = dict.fromkeys(range(-2, 3), 0)
    for old, new in zip(np.moveaxis(images, axis, 1), np.moveaxis(moved, axis, 1)):
        padded = np.concatenate([old[:2] * 0, old, old[:2] * 0])
        by = [s for s in seen if np.array_equal(new, padded[2 - s : 2 - s + len(old)])]
        assert len(by) == 1
        seen[by[0]] += 1
    assert min(seen.values()) > 600 - 4 * (3000 * 0.2 * 0.8) ** 0.5


@pytest.mark.parametrize("name", ["mask_time", "mask_bands"])
def test_a_mask_is_one_stripe_of_silence_anywhere(name):
    function, _, axis = AUGMENT[name]
    images = pictures(4000)
    masked = function(images, np.random.default_rng(0), 3)
    length = images.shape[axis]
    widths, hit = np.zeros(4), np.zeros(length)
    for old, new in zip(np.moveaxis(images, axis, 1), np.moveaxis(masked, axis, 1)):
        gone = np.flatnonzero((new == 0).all(axis=(1, 2)))
        assert np.array_equal(np.delete(new, gone, 0), np.delete(old, gone, 0))
        assert len(gone) <= 3
        assert (np.diff(gone) == 1).all()
        widths[len(gone)] += 1
        hit[gone] += 1
    assert widths.min() > 1000 - 4 * (4000 * 0.25 * 0.75) ** 0.5
    assert hit.min() > 300
