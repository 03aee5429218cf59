// Runs a Python program in Pyodide, which is Python in WebAssembly as a browser has it, under node.
//
//     node pyodide.mjs RUNTIME WHEELS LIBRARY PROGRAM
//
// RUNTIME: the folder of the npm package `pyodide`. WHEELS: a folder with its builds of NumPy and
// others. LIBRARY: a zip file with `tinyfractal/` in it. PROGRAM: a Python file.
import { readFileSync } from "node:fs";
import { pathToFileURL } from "node:url";

const [runtime, wheels, library, program] = process.argv.slice(2);
try {
  const { loadPyodide } = await import(pathToFileURL(`${runtime}/pyodide.mjs`));
  const python = await loadPyodide({ indexURL: runtime, packageCacheDir: wheels });
  await python.loadPackage("numpy", { messageCallback: () => {} });
  python.unpackArchive(new Uint8Array(readFileSync(library)), "zip", { extractDir: "/library" });
  python.runPython("import sys; sys.path.insert(0, '/library')");
  await python.runPythonAsync(readFileSync(program, "utf8"));
} catch (error) {
  console.error(error.message); // node itself would also print a line of a million letters
  process.exit(1);
}
