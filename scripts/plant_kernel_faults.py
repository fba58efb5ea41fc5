#!/usr/bin/env python3
"""Plants faults in the kernels, one at a time, and checks that the kernels' tests find each.

In every kernel file, each barrier and each wait for a copy is removed, and each index by which an array is assigned to is moved by one, as is
each address that is stored to by name. The changed file is compiled for the CPU and the tests of its ops run over it. A fault that no test finds ends the script with an error.

Usage: cargo test --release --features kernel-shim --test kernels --no-run    (which names the program)
       python scripts/plant_kernel_faults.py TEST_PROGRAM [FILE ...]
"""

import concurrent.futures
import os
import pathlib
import re
import subprocess
import sys
import tempfile

KERNELS = pathlib.Path(__file__).parent.parent / "kernels"
COMPILE = [os.environ.get("CXX", "c++"), "-std=c++20", "-O1", "-ffp-contract=off", "-fPIC", "-w", "-DKERNEL_SHIM", "-x", "c++"]
# By the name that the program looks for its driver under.
SHARED = ["-shared", "-Wl,-soname,libcuda.so"]
# What tests of a file begin with, where that is not its name.
TESTS = {"embedding": ["embedding", "gather_rows", "drawn"]}
# Headers with faults of their own, and a kernel file that includes them itself and uses all of it.
HEADERS = {"common.cuh": "rms_norm"}


def faults(text):
    """Every changed text, with the line and what was done to it."""
    in_reference = False
    lines = text.split("\n")
    for i, line in enumerate(lines):
        if line.startswith("#ifdef KERNEL_SHIM"):
            in_reference = True
        if line.startswith("#endif"):
            in_reference = False
        code = line.split("//")[0]
        if in_reference or not code.strip() or code.startswith(("#", "DEVICE")):
            continue
        changes = []
        for name in ("sync_block();", "sync_warp();"):
            if name in code:
                changes.append((f"without {name}", code.replace(name, ";", 1)))
        if re.search(r"copy_wait<.*?>\(\);", code):
            changes.append(("without waiting for copies", re.sub(r"copy_wait<.*?>\(\);", ";", code, count=1)))
        # `array[index] = ` and `array[index] += `, also several in a line.
        for match in re.finditer(r"\b(\w+)\[((?:[^\[\]]|\[[^\[\]]*\])+)\] \+?= ", code):
            if is_shared_or_global(match.group(1), text):
                at = match.end(2)
                changes.append((f"{match.group(1)}[… + 1]", code[:at] + " + 1" + code[at:]))
        # `store(pointer, …)` and `store8(pointer, …)`.
        for match in re.finditer(r"\bstore8?\(([^,]+),", code):
            at = match.end(1)
            changes.append(("a store one element on", code[:at] + " + 1" + code[at:]))
        for what, changed in changes:
            yield i + 1, what, "\n".join([*lines[:i], changed, *lines[i + 1 :]])


def is_shared_or_global(name, text):
    """Registers are arrays, too; what is moved there is found by the values alone, so they are left out."""
    patterns = [rf"SHARED\(\w+, {name},", rf"Global<\w+> {name}\b", rf"(Shared|Global)<\w+> {name} =", rf"const auto {name} ="]
    return any(re.search(pattern, text) for pattern in patterns)


def stem_of(file):
    return HEADERS.get(file, pathlib.Path(file).stem)


class Library:
    """The shim with one file replaced."""

    def __init__(self, folder):
        self.folder = pathlib.Path(folder)
        self.objects = {}
        sources = [*KERNELS.glob("*.cu"), *(KERNELS / "shim").glob("*.cu"), *(KERNELS / "shim").glob("*.cpp")]
        with concurrent.futures.ThreadPoolExecutor(os.cpu_count()) as pool:
            list(pool.map(self.compile_whole, sources))

    def compile_whole(self, source):
        target = self.folder / (source.stem + ".whole.o")
        subprocess.run([*COMPILE, f"-I{KERNELS}", "-c", source, "-o", target], check=True)
        self.objects[source.stem] = target

    def whole(self):
        """A library without a fault."""
        library = self.folder / "libkernel_shim.so"
        subprocess.run([COMPILE[0], *SHARED, *self.objects.values(), "-o", library], check=True)
        return library

    def with_text(self, file, text, number):
        """A library in which the file has this text; None if it is no program."""
        folder = self.folder / str(number)
        folder.mkdir()
        stem = stem_of(file)
        source, target = folder / f"{stem}.cu", folder / f"{stem}.o"
        source.write_text((KERNELS / f"{stem}.cu").read_text())
        # A file finds what it includes in its own folder first.
        (folder / file).write_text(text)
        done = subprocess.run([*COMPILE, f"-I{KERNELS}", "-c", source, "-o", target], capture_output=True)
        if done.returncode:
            return None
        library = folder / "libkernel_shim.so"
        objects = [path for name, path in self.objects.items() if name != stem]
        subprocess.run([COMPILE[0], *SHARED, *objects, target, "-o", library], check=True)
        return library


def main():
    program, only = sys.argv[1], sys.argv[2:]
    missed = []
    with tempfile.TemporaryDirectory() as folder:
        library = Library(folder)

        def try_one(job):
            number, file, _, _, text = job
            path = library.with_text(file, text, number)
            stem = stem_of(file)
            if path is None:
                return job, "NO PROGRAM"
            filters = [f"shim_{name}" for name in TESTS.get(stem, [stem])]
            environment = {**os.environ, "FLAMBEAU_KERNEL_SHIM": str(path), "RUST_BACKTRACE": "0"}
            try:
                done = subprocess.run([program, *filters], capture_output=True, text=True, env=environment, timeout=300)
            except subprocess.TimeoutExpired:
                return job, "found"
            finally:
                path.unlink()
            ran = re.search(r"running (\d+) test", done.stdout)
            if done.returncode == 0 and ran and int(ran.group(1)) == 0:
                return job, "NO TESTS"
            return job, "NOT FOUND" if done.returncode == 0 else "found"

        # Without a fault nothing is found.
        whole = library.whole()
        environment = {**os.environ, "FLAMBEAU_KERNEL_SHIM": str(whole)}
        subprocess.run([program], capture_output=True, env=environment, check=True)

        jobs = []
        for source in [*sorted(KERNELS.glob("*.cu")), *(KERNELS / header for header in HEADERS)]:
            if only and source.name not in only:
                continue
            for line, what, text in faults(source.read_text()):
                jobs.append((len(jobs), source.name, line, what, text))
        with concurrent.futures.ThreadPoolExecutor(os.cpu_count()) as pool:
            for (_, file, line, what, _), result in pool.map(try_one, jobs):
                print(f"{file}:{line}: {what}: {result}", flush=True)
                if result != "found":
                    missed.append(f"{file}:{line}: {what}")
    print(f"{len(jobs)} faults, {len(missed)} not found")
    sys.exit(bool(missed) or not jobs)


main()
