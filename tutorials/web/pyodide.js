// The kernel loads this in place of Pyodide's own pyodide.js. It takes Pyodide from where
// packages.json says, and adds the packages of this site to Pyodide's lock file: so
// `import tinyfractal` loads the library as `import numpy` loads NumPy.

self.loadPyodide = async (options) => {
  const here = options.indexURL;
  const site = await (await fetch(new URL("packages.json", here))).json();
  const home = new URL(site.pyodide, here).href;
  const lock = await (await fetch(new URL("pyodide-lock.json", home))).json();
  for (const [name, entry] of Object.entries(site.packages)) {
    lock.packages[name] = { ...entry, file_name: new URL(entry.file_name, here).href };
  }
  importScripts(new URL("pyodide.js", home)); // puts Pyodide's loadPyodide in place of this one
  const lockFileURL = URL.createObjectURL(new Blob([JSON.stringify(lock)]));
  return self.loadPyodide({ ...options, indexURL: home, lockFileURL });
};
