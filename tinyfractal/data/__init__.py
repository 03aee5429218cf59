"""Data: what a dataset is, where it comes from, and how it becomes batches.

    from tinyfractal import data

    train, test = data.load("digits")
    standardize = data.Standardize.fit(train.images)
    loader = data.Loader(train, batch_size=100, shuffle=True, transform=standardize)

Read `dataset` first, then `loader` and `augment`: from labelled images to batches. `digits` come
with the library; `readers`, `cifar`, `fsdd` and `bccd` read the published archives, `sources` says
where those are, and `download` fetches them. `images` reads a picture, `sound` a recording;
`archive` reads a folder or a zip, and `cache` keeps what was decoded, so that a `folder` of your
own is decoded once.

Everything here runs on the host, with NumPy; batches move to the backend in the training loop.
"""

from .augment import (
    Compose,
    cutout,
    mask_bands,
    mask_time,
    mirror,
    shift,
    shift_bands,
    shift_time,
)
from .bccd import load_bccd
from .cifar import load_cifar10, load_cifar100
from .dataset import Dataset, Standardize
from .digits import load_digits
from .download import download, fetch
from .folder import ImageFolder
from .fsdd import load_fsdd
from .images import read_image
from .loader import Loader
from .readers import arrays, load, load_bloodmnist, load_mnist, load_npz, read_idx
from .sound import decode_sound, read_wav, spectrogram

__all__ = [
    "Compose",
    "Dataset",
    "ImageFolder",
    "Loader",
    "Standardize",
    "arrays",
    "cutout",
    "decode_sound",
    "download",
    "fetch",
    "load",
    "load_bccd",
    "load_bloodmnist",
    "load_cifar10",
    "load_cifar100",
    "load_digits",
    "load_fsdd",
    "load_mnist",
    "load_npz",
    "mask_bands",
    "mask_time",
    "mirror",
    "read_idx",
    "read_image",
    "read_wav",
    "shift",
    "shift_bands",
    "shift_time",
    "spectrogram",
]
