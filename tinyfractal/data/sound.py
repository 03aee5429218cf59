"""From a recording to the picture that a network sees: a log-mel spectrogram.

A recording is the pressure of the air, thousands of times a second. A spectrogram says how much of
each frequency there is at each moment: time runs to the right, high tones are on top, and what is
loud is bright. Then a word is a picture, and a convolution can look for its strokes.

`read_wav` reads the file, `spectrogram` is the formula, and `decode_sound` makes of both a picture
of a given size, as bytes. Time is measured in seconds and pitch in hertz, and the bands end at
4,000 Hz: so recordings of different rates give comparable pictures, without being resampled.
"""

from __future__ import annotations

import os
import struct
from typing import Annotated

import numpy as np

from ..check import Count, PathLike, Range, checked
from ..errors import DataError, DTypeError, ShapeError
from ..files import open_file, reading, user_path

LOWEST, HIGHEST = 60.0, 4000.0  # Hz: hum lies below, and telephones carry no more than that
WINDOW, HOP = 0.025, 0.010  # seconds, as usual for speech: shorter than a sound, longer than a tone
FLOOR = 1e-15  # the power of silence, -150 dB, instead of the logarithm of 0
DYNAMIC = 80.0  # dB from white to black in a picture
MOST_BYTES = 1 << 27  # of a file: 128 MiB, 12 minutes of stereo at 44,100 Hz and 16 bits
MOST_RATE = 768_000  # samples a second

Rate = Annotated[int, Range(1, MOST_RATE)]
Bands = Annotated[int, Range(1, 256)]
Seconds = Annotated[float, Range(0.0001, 3600)]
Hertz = Annotated[float, Range(0)]


# ----- The formula -----


@checked
def spectrogram(
    samples: np.ndarray,
    rate: Rate,
    bands: Bands = 32,
    window: Seconds = WINDOW,
    hop: Seconds = HOP,
    low: Hertz = LOWEST,
    high: Hertz = HIGHEST,
) -> np.ndarray:
    """The log-mel spectrogram of a mono recording, `(bands, frames)` float32 in dB.

        x̂[f] = Σ_t h[t] x[start + t] e^(-2πi f t) / Σ_t h[t]     the part of frequency f in a window
        S[b] = 10 log₁₀ Σ_f M[f, b] |x̂[f]|²                      its power in band b, in decibels

    samples: `(T,)` floats from -1 to 1, `rate` of them a second.
    h is a Hann window of `window` seconds. One begins every `hop` seconds; the middle of the first
    is at hop / 2, and there is silence around the recording, so that frames = duration / hop,
    rounded. M are triangles that overlap by half (`mel_bands`). Row 0 is the lowest band.
    A rate that differs changes nothing but what is above `high`.

    After S. Davis and P. Mermelstein, "Comparison of parametric representations for monosyllabic
    word recognition", IEEE Trans. ASSP 28 (1980), where the triangles come from.
    Raises `ShapeError` or `DTypeError` where samples are no mono recording in floats, `DataError`
    for NaN, `ValueError` where the rate is too low for `high`, as 8,000 Hz are for 4,001.
    """
    _check_samples(samples)
    _check_bands("spectrogram", rate, low, high)
    width = max(2, round(window * rate))
    frames = max(1, int(len(samples) / (hop * rate) + 0.5))
    middles = (np.arange(frames) + 0.5) * hop * rate
    silence = width + round(hop * rate)
    padded = np.pad(samples.astype(np.float64), silence)
    starts = np.rint(middles - width / 2).astype(int) + silence
    hann = 0.5 - 0.5 * np.cos(2 * np.pi * np.arange(width) / width)
    pieces = hann * padded[starts[:, np.newaxis] + np.arange(width)]  # (frames, width)
    mel = mel_bands(rate, width, bands, low, high)  # (frequencies, bands)
    waves = np.fft.rfft(pieces, n=2 * len(mel) - 2) / hann.sum()  # (frames, frequencies)
    power = np.abs(waves) ** 2 @ mel
    return 10 * np.log10(np.maximum(power, FLOOR)).T.astype(np.float32)


def mel_bands(rate: int, width: int, bands: int, low: float, high: float) -> np.ndarray:
    """Triangles M `(frequencies, bands)`: how much of each frequency belongs to each band.

    The ear tells 100 from 200 Hz as easily as 3,000 from 3,500. On the mel scale,
    m(f) = 2595 log₁₀(1 + f / 700), equal steps sound equal (D. O'Shaughnessy, "Speech
    Communication", 1987). The corners of the triangles are equally spaced there.
    Each column sums to 1: a band holds the mean power of its frequencies.
    The frequencies are those of a window of `width` samples, or lie closer where a triangle is so
    narrow that it could fall between them.
    """
    first, last = 2595 * np.log10(1 + np.array([low, high]) / 700)
    corners = 700 * (10 ** (np.linspace(first, last, bands + 2) / 2595) - 1)  # in Hz
    half = int(np.ceil(max(width, rate / (corners[1] - corners[0])) / 2))
    frequencies = np.linspace(0, rate / 2, half + 1)
    left, middle, right = corners[:-2], corners[1:-1], corners[2:]
    rising = (frequencies[:, np.newaxis] - left) / (middle - left)
    falling = (right - frequencies[:, np.newaxis]) / (right - middle)
    triangles = np.maximum(0, np.minimum(rising, falling))
    return triangles / triangles.sum(axis=0)


def _check_samples(samples: np.ndarray) -> None:
    if samples.dtype.kind != "f":
        raise DTypeError(
            f"spectrogram: samples need floats from -1 to 1, got {samples.dtype}; 16-bit numbers "
            "are samples / 32768"
        )
    if samples.ndim != 1 or samples.size == 0:
        raise ShapeError(
            f"spectrogram: samples need shape (T,), one channel, got {samples.shape}; of several "
            "channels take the mean, samples.mean(axis=1)"
        )
    if not np.isfinite(samples).all():
        raise DataError("spectrogram: samples hold NaN or infinite values")


def _check_bands(name: str, rate: int, low: float, high: float) -> None:
    if not low < high:
        raise ValueError(f"{name}: high needs more than low, {low:g} Hz, got {high:g}")
    if high > rate / 2:
        raise ValueError(
            f"{name}: {rate:,} samples a second hold no frequencies above {rate / 2:,g} Hz, and "
            f"the bands reach to {high:,g}; record with a rate of at least {2 * high:,.0f}"
        )


# ----- A picture of a recording -----


@checked
def decode_sound(
    source: PathLike | bytes,
    shape: tuple[Count, Count, Count] = (32, 64, 1),
    seconds: Seconds = 1.0,
    name: str | None = None,
) -> np.ndarray:
    """A WAV file as the picture that a network sees, `(H, W, 1)` uint8.

    H mel bands, the highest on top, and W frames over exactly `seconds`. A shorter recording is
    padded with silence to both sides, a longer one cut to its middle. The loudest spot is 255,
    and what is 80 dB or more below it is 0: how loud the recording is does not matter. Silence is
    black. A window lasts two frames, but at least 25 ms, so that no sound falls between them.
    name: what an error calls bytes. Raises `DataError` as `read_wav` does, and for a rate below
    8,000 Hz.
    """
    height, width, channels = shape
    if channels != 1:
        raise DataError(f"decode_sound: shape needs 1 channel, (H, W, 1), got {tuple(shape)}")
    samples, rate = read_wav(source, name)
    try:
        _check_bands(_named(source, name), rate, LOWEST, HIGHEST)
    except ValueError as error:
        raise DataError(str(error)) from None
    samples = _fitted(samples, max(1, round(seconds * rate)))
    loudest = np.abs(samples).max()
    if loudest == 0:
        return np.zeros(shape, np.uint8)
    hop = len(samples) / rate / width
    decibels = spectrogram(samples / loudest, rate, height, max(WINDOW, 2 * hop), hop)
    bright = np.clip(1 + (decibels - decibels.max()) / DYNAMIC, 0, 1)
    return np.rint(255 * bright[::-1, :, np.newaxis]).astype(np.uint8)


def _fitted(samples: np.ndarray, count: int) -> np.ndarray:
    """So many samples: the middle of a longer recording, or a shorter one amid silence."""
    if len(samples) >= count:
        start = (len(samples) - count) // 2
        return samples[start : start + count]
    missing = count - len(samples)
    return np.pad(samples, (missing // 2, missing - missing // 2))


# ----- WAV files -----

PCM, FLOAT, EXTENSIBLE = 1, 3, 0xFFFE
OTHERS = {FLOAT: "floats", 2: "ADPCM", 6: "A-law", 7: "µ-law", 0x11: "ADPCM", 0x55: "MP3"}
MEND = "save it as WAV, PCM, 16 bit"


@checked
def read_wav(source: PathLike | bytes, name: str | None = None) -> tuple[np.ndarray, int]:
    """The samples of a WAV file, `(T,)` float32 from -1 to 1, and their number per second.

    source: a path, or the bytes of the file; `name` is what an error calls those.
    Whole numbers of 8, 16, 24 or 32 bits (PCM). Of several channels it is the mean.
    A WAV file is "RIFF", its size, "WAVE", and then chunks: four letters, a size, so many bytes.
    "fmt " says how the sound is stored, "data" is the sound; others, such as "LIST", are skipped.
    Raises `DataError` where it is no such file, cut short, empty or larger than 128 MiB.
    """
    called = _named(source, name)
    with reading(called):
        content = _content(source)
        if len(content) > MOST_BYTES:
            raise DataError(
                f"{called}: larger than the {MOST_BYTES:,} bytes that are read; cut it into pieces"
            )
        if content[:4] != b"RIFF" or content[8:12] != b"WAVE":
            raise DataError(f"{called}: is no WAV file; {MEND}{_looks_like(content)}")
        channels, rate, size = 0, 0, 0
        at = 12
        while at + 8 <= len(content):
            kind, length = struct.unpack_from("<4sI", content, at)
            at += 8
            if kind == b"fmt ":
                channels, rate, size = _format(called, content[at : at + length])
            elif kind == b"data":
                if not size:
                    raise DataError(f"{called}: does not say how its sound is stored; {MEND}")
                return _samples(called, content[at : at + length], length, channels, size), rate
            at += length + length % 2  # an odd chunk has a byte of padding
        raise DataError(f"{called}: cut short, there is no sound in it; save it again")


def _named(source: PathLike | bytes, name: str | None) -> str:
    if name is not None:
        return name
    return "the sound" if isinstance(source, bytes) else os.fspath(user_path(source))


def _content(source: PathLike | bytes) -> bytes:
    if isinstance(source, bytes):
        return source
    with open_file(user_path(source)) as file:
        return file.read(MOST_BYTES + 1)


def _looks_like(content: bytes) -> str:
    mp3 = content[:3] == b"ID3" or content[:2] in (b"\xff\xfb", b"\xff\xf3", b"\xff\xf2")
    names = {b"OggS": "Ogg", b"fLaC": "FLAC", b"RF64": "RF64", b"RIFX": "RIFX", b"FORM": "AIFF"}
    found = "MP3" if mp3 else names.get(content[:4], "")
    return f" (its bytes look like {found})" if found else ""


def _format(called: str, chunk: bytes) -> tuple[int, int, int]:
    """Channels, rate and bytes of a number, of a "fmt " chunk that makes sense."""
    if len(chunk) < 16:
        raise DataError(f"{called}: cut short, no WAV header in it; save it again")
    code, channels, rate, _, block, bits = struct.unpack_from("<HHIIHH", chunk)
    if code == EXTENSIBLE and len(chunk) >= 26:  # then the code proper comes later
        (code,) = struct.unpack_from("<H", chunk, 24)
    if code != PCM:
        kind = OTHERS.get(code, f"of format {code}")
        raise DataError(f"{called}: its samples are {kind}, not whole numbers (PCM); {MEND}")
    size = (bits + 7) // 8
    if not 1 <= size <= 4:
        raise DataError(f"{called}: its samples have {bits} bits, 8 to 32 are read; {MEND}")
    if channels == 0 or block != channels * size:
        raise DataError(
            f"{called}: damaged, says that it has {channels} channels of {bits} bits and "
            f"{block} bytes for each moment; {MEND}"
        )
    if not 1 <= rate <= MOST_RATE:
        raise DataError(
            f"{called}: damaged, says {rate:,} samples a second; 1 to {MOST_RATE:,} are read"
        )
    return channels, rate, size


def _samples(called: str, data: bytes, length: int, channels: int, size: int) -> np.ndarray:
    """The mean of the channels, from the bytes of a "data" chunk that should have `length`."""
    if len(data) < length or length % (channels * size):
        raise DataError(
            f"{called}: cut short, {len(data):,} bytes of sound where its header says {length:,}; "
            "save it again"
        )
    if length == 0:
        raise DataError(f"{called}: empty, no sound in it; remove it or record it again")
    numbers = np.frombuffer(data, np.uint8).reshape(-1, size)
    # The bytes become the highest ones of a 32-bit number, little end first.
    whole = np.zeros((len(numbers), 4), np.uint8)
    whole[:, 4 - size :] = numbers
    if size == 1:  # only those have no sign, and 128 in the middle
        whole[:, 3] ^= 0x80
    waves = whole.view("<i4").reshape(-1, channels).mean(axis=1) / 2.0**31
    return waves.astype(np.float32)
