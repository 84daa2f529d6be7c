// Run DIR/SCRIPT on the real MicroPython, with DIR as its whole file system and import path.
// usage: node run.mjs DIR SCRIPT
//
// The package's own command line cannot import from the disk and exits 0 after a traceback,
// so this loader takes its place: a Python exception is exit 1.
import { readFileSync, readdirSync } from "node:fs";
import { join } from "node:path";
import { loadMicroPython } from "@micropython/micropython-webassembly-pyscript/micropython.mjs";

const APP = "/app";
const [root, script] = process.argv.slice(2);

const mp = await loadMicroPython({
  heapsize: 4 * 1024 * 1024,
  pystack: 16 * 1024,
  stdout: (line) => process.stdout.write(line + "\n"),
});

function copy(from, to) {
  mp.FS.mkdir(to);
  for (const entry of readdirSync(from, { withFileTypes: true })) {
    const [source, target] = [join(from, entry.name), `${to}/${entry.name}`];
    if (entry.isDirectory()) copy(source, target);
    else mp.FS.writeFile(target, readFileSync(source));
  }
}

copy(root, APP);
try {
  mp.runPython(`import os, sys\nos.chdir("${APP}")\nsys.path.insert(0, "${APP}")\n`);
  mp.runPython(readFileSync(join(root, script), "utf8"));
} catch (error) {
  if (error.name !== "PythonError") throw error;
  process.stderr.write(error.message);
  process.exitCode = 1;
}
