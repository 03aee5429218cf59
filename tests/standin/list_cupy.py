"""What CuPy has, read from CuPy itself: writes `cupy/api.json`, from which the stand-in is built.

CuPy can be imported without a GPU or a driver, so this runs anywhere. In a scratch environment:

    python3 -m venv scratch && scratch/bin/pip install cupy-cuda12x
    scratch/bin/python tests/standin/list_cupy.py

A signature is a list of names: "a" must be given, "axis=" may be, after "*" come keywords only, and
"*args" and "**kwargs" take any number.
"""

import inspect
import json
import re
from pathlib import Path

import cupy
import numpy

MODULES = ("", "lib.stride_tricks", "linalg", "random", "fft")
UFUNC = ["out=", "*", "casting=", "dtype="]  # CuPy's take no `where`


def from_parameters(function):
    """The names in a Python function's signature."""
    names, starred = [], False
    for p in inspect.signature(function).parameters.values():
        if p.kind == p.VAR_POSITIONAL:
            names.append(f"*{p.name}")
        elif p.kind == p.VAR_KEYWORD:
            names.append(f"**{p.name}")
        else:
            if p.kind == p.KEYWORD_ONLY and not starred and "*" not in "".join(names):
                names.append("*")
                starred = True
            names.append(p.name + ("" if p.default is p.empty else "="))
    return names


def from_docstring(method):
    """The names in the signature that Cython writes into the first line of a docstring."""
    found = re.match(
        r"[\w.]+\(self(?:, )?(.*?)\)(?: ->.*)?$", (method.__doc__ or "").split("\n")[0]
    )
    if found is None:
        return None
    names = []
    for part in filter(None, re.split(r", ", found[1])):
        name, default, _ = part.partition("=")
        names.append(name.split(" ")[-1] + default)
    return names


def of_module(module):
    """(functions, ufuncs, names that are NumPy's own) of a module of CuPy."""
    functions, ufuncs, same = {}, {}, []
    for name in sorted(n for n in dir(module) if not n.startswith("_")):
        value = getattr(module, name)
        if isinstance(value, cupy.ufunc):
            ufuncs[name] = [f"x{i + 1}" for i in range(value.nin)] + UFUNC
        elif inspect.ismodule(value) or (inspect.isclass(value) and "cupy" in value.__module__):
            continue
        elif value is getattr(numpy, name, None) or isinstance(value, (int, float, type(None))):
            same.append(name)
        elif callable(value):
            try:
                functions[name] = from_parameters(value)
            except (TypeError, ValueError):
                functions[name] = from_docstring(value) or ["*args", "**kwargs"]
    return functions, ufuncs, same


def main():
    """Write the list."""
    found = {"cupy": cupy.__version__, "numpy": numpy.__version__}
    found |= {"functions": {}, "ufuncs": {}, "same": [], "methods": {}, "attributes": []}
    for path in MODULES:
        module = cupy
        for part in filter(None, path.split(".")):
            module = getattr(module, part)
        functions, ufuncs, same = of_module(module)
        dotted = f"{path}." if path else ""
        found["functions"] |= {dotted + name: value for name, value in functions.items()}
        found["ufuncs"] |= {dotted + name: value for name, value in ufuncs.items()}
        found["same"] += [] if path else same
    for name in sorted(dir(cupy.ndarray)):
        value = inspect.getattr_static(cupy.ndarray, name)
        special = name.startswith("__") and callable(value)
        if name.startswith("_") and not special:
            continue
        if not callable(value):
            found["attributes"].append(name)
        elif special:
            found["methods"][name] = ["*args", "**kwargs"]
        else:
            names = from_docstring(value)
            found["methods"][name] = names if names is not None else from_parameters(value)[1:]
    path = Path(__file__).parent / "cupy" / "api.json"
    lines = json.dumps(found, indent=0, ensure_ascii=False)
    lines = re.sub(r"\[[^\[\]{}]*\]", lambda m: " ".join(m[0].split()), lines)
    draft = path.with_name(".api.json.draft")
    draft.write_text(lines + "\n", "utf-8")
    draft.replace(path)
    count = len(found["functions"]) + len(found["ufuncs"])
    print(f"CuPy {found['cupy']}: {count} functions, {len(found['methods'])} methods")


if __name__ == "__main__":
    main()
