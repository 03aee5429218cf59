"""Where the published archives are, and what they have to be.

The sums are of the files as their authors publish them. They also make it safe that two of the
servers still speak plain http: a changed file would not pass. An archive without a published sum
comes over https, and its reader looks at each file in it.
"""

from __future__ import annotations

from typing import NamedTuple


class Archive(NamedTuple):
    """A file to fetch: its name, and its bytes and sums where they are published.

    url: its address, where that is not the data set's with the name behind it.
    """

    file: str
    size: int | None
    sha256: str = ""
    md5: str = ""
    url: str = ""

    def sums(self) -> dict[str, str]:
        """The sums that are known, in hexadecimal."""
        known = {"sha256": self.sha256, "md5": self.md5}
        return {name: value for name, value in known.items() if value}


def download_hint(name: str) -> str:
    """The sentence that ends every message about missing files."""
    return f"""Download it: python -c "from tinyfractal import data; data.download('{name}')\""""


# fmt: off
SOURCES: dict[str, tuple[str, tuple[Archive, ...]]] = {
    "mnist": ("https://ossci-datasets.s3.amazonaws.com/mnist/", (
        Archive("train-images-idx3-ubyte.gz", 9_912_422,
                "440fcabf73cc546fa21475e81ea370265605f56be210a4024d2ca8f203523609"),
        Archive("train-labels-idx1-ubyte.gz", 28_881,
                "3552534a0a558bbed6aed32b30c495cca23d567ec52cac8be1a0730e8010255c"),
        Archive("t10k-images-idx3-ubyte.gz", 1_648_877,
                "8d422c7b0a1c1c79245a5bcf07fe86e33eeafee792b84584aec276f5a2dbc4e6"),
        Archive("t10k-labels-idx1-ubyte.gz", 4_542,
                "f7ae60f92e00ec6debd23a6088c31dbd2371eca3ffa0defaefb259924204aec6"),
    )),
    "fashion-mnist": ("http://fashion-mnist.s3-website.eu-central-1.amazonaws.com/", (
        Archive("train-images-idx3-ubyte.gz", 26_421_880,
                "3aede38d61863908ad78613f6a32ed271626dd12800ba2636569512369268a84"),
        Archive("train-labels-idx1-ubyte.gz", 29_515,
                "a04f17134ac03560a47e3764e11b92fc97de4d1bfaf8ba1a3aa29af54cc90845"),
        Archive("t10k-images-idx3-ubyte.gz", 4_422_102,
                "346e55b948d973a97e58d2351dde16a484bd415d4595297633bb08f03db6a073"),
        Archive("t10k-labels-idx1-ubyte.gz", 5_148,
                "67da17c76eaffca5446c3361aaab5c3cd6d1c2608764d35dfb1850b086bf8dd5"),
    )),
    "kmnist": ("http://codh.rois.ac.jp/kmnist/dataset/kmnist/", (
        Archive("train-images-idx3-ubyte.gz", 18_165_135,
                "51467d22d8cc72929e2a028a0428f2086b092bb31cfb79c69cc0a90ce135fde4"),
        Archive("train-labels-idx1-ubyte.gz", 29_497,
                "e38f9ebcd0f3ebcdec7fc8eabdcdaef93bb0df8ea12bee65224341c8183d8e17"),
        Archive("t10k-images-idx3-ubyte.gz", 3_041_136,
                "edd7a857845ad6bb1d0ba43fe7e794d164fe2dce499a1694695a792adfac43c5"),
        Archive("t10k-labels-idx1-ubyte.gz", 5_120,
                "20bb9a0ef54c7db3efc55a92eef5582c109615df22683c380526788f98e42a1c"),
    )),
    "cifar10": ("https://www.cs.toronto.edu/~kriz/", (
        Archive("cifar-10-binary.tar.gz", 170_052_171,
                "c4a38c50a1bc5f3a1c5537f2155ab9d68f9f25eb1ed8d9ddda3db29a59bca1dd"),
    )),
    "cifar100": ("https://www.cs.toronto.edu/~kriz/", (
        Archive("cifar-100-binary.tar.gz", 168_513_733,
                "58a81ae192c23a4be8b1804d68e518ed807d710a4eb253b1f2a199162a40d8ec"),
    )),
    # GitHub packs a tag when it is asked for, and publishes no sum. (The version that Zenodo keeps,
    # 1.0.8, has two thirds of the recordings.)
    "fsdd": ("https://github.com/Jakobovski/free-spoken-digit-dataset/archive/refs/tags/", (
        Archive("free-spoken-digit-dataset-1.0.10.zip", None,
                url="https://github.com/Jakobovski/free-spoken-digit-dataset/archive/refs/tags/"
                    "v1.0.10.zip"),
    )),
    # GitHub packs the archive of a repository anew when it is asked for, so it has no published sum
    "bccd": ("https://github.com/Shenggan/BCCD_Dataset/archive/refs/heads/", (
        Archive("BCCD_Dataset-master.zip", None,
                url="https://github.com/Shenggan/BCCD_Dataset/archive/refs/heads/master.zip"),
    )),
    "bloodmnist": ("https://zenodo.org/records/10519652/files/", (
        Archive("bloodmnist.npz", None, md5="7053d0359d879ad8a5505303e11de1dc"),
    )),
}
# fmt: on
