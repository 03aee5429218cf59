"""The promise of the front page: the default recipe learns the digits, whole and column by column.

One lucky seed proves little, so three are trained, side by side, and the middle one counts. (Of
fourteen runs with different seeds and roundings the worst had 97.8 %, the middle one 98.6 % and the
best 99.2 %: an image of the 359 is 0.3 %.)
"""

import multiprocessing
import os
from concurrent.futures import ProcessPoolExecutor
from statistics import median

import pytest

SEEDS = (0, 1, 2)
WHOLE, COLUMN = 0.98, 0.95  # test accuracy


def train(seed):
    """The last record of the history of a run with the default recipe."""
    from tinyfractal.data import load
    from tinyfractal.recipe import Recipe
    from tinyfractal.train import fit

    train, test = load("digits")
    recipe = Recipe(seed=seed).for_data(train)
    model = recipe.build_model()
    optimizer = recipe.build_optimizer(model)
    return fit(
        model,
        train,
        test,
        optimizer,
        recipe.build_schedule(optimizer),
        epochs=recipe.epochs,
        batch_size=recipe.batch_size,
        transform=recipe.transform(),
        augment=recipe.augment(),
        seed=recipe.seed,
        clip=recipe.clip,
        label_smoothing=recipe.label_smoothing,
        quiet=True,
    )[-1]


@pytest.mark.golden
def test_the_default_recipe_learns_the_digits_whole_and_column_by_column(monkeypatch):
    monkeypatch.setenv("OPENBLAS_NUM_THREADS", "1")  # read when NumPy starts in the processes
    processes = min(len(SEEDS), os.cpu_count() or 1)
    with ProcessPoolExecutor(processes, multiprocessing.get_context("spawn")) as pool:
        records = list(pool.map(train, SEEDS))
    whole = [record["test_accuracy"] for record in records]
    columns = list(zip(*(record["columns"] for record in records)))
    assert len(columns) == 3
    assert median(whole) >= WHOLE, (whole, columns)
    assert min(median(accuracies) for accuracies in columns) > COLUMN, (whole, columns)
