//! Builds the kernels: for the CPU with the feature `kernel-shim`, for GPUs with `cuda`. Without them there is nothing to do.
//!
//! For the CPU that is one library, which is also a driver with one card: tests load it in the driver's place. Beside it is one in the place
//! of NVML.
//!
//! For GPUs it wants `nvcc` of CUDA 12 or 13, in `$CUDA_HOME/bin` or the path, and gives `images.rs`: every kernel file compiled for
//! the architectures in `FLAMBEAU_CUDA_ARCHS` (`80,90`; all that are known and that the compiler knows, by default), and as PTX for
//! newer cards. What the kernels take of a multiprocessor goes to the file `FLAMBEAU_KERNEL_RESOURCES`, where that is set.

use std::fmt::Write as _;
use std::path::{Path, PathBuf};
use std::process::{Command, Output};
use std::sync::Mutex;
use std::{env, fs, thread};

fn main() {
    let has = |feature: &str| env::var_os(format!("CARGO_FEATURE_{feature}")).is_some();
    let (for_cpu, for_gpu) = (has("KERNEL_SHIM"), has("CUDA"));
    let needed = if for_cpu || for_gpu {
        "kernels"
    } else {
        "kernels/build.rs"
    };
    println!("cargo:rerun-if-changed={needed}");
    let out = PathBuf::from(env::var_os("OUT_DIR").expect("cargo sets OUT_DIR"));
    if for_cpu {
        println!("cargo:rerun-if-env-changed=CXX");
        shim(&out);
    }
    if for_cpu && !for_gpu {
        shim_images(&out);
    }
    if for_gpu {
        for name in [
            "CUDA_HOME",
            "FLAMBEAU_CUDA_ARCHS",
            "FLAMBEAU_KERNEL_RESOURCES",
        ] {
            println!("cargo:rerun-if-env-changed={name}");
        }
        cuda(&out);
    }
}

/// The files of a folder that end in `extension`, by name.
fn files(folder: &str, extension: &str) -> Vec<PathBuf> {
    let entries = fs::read_dir(folder).unwrap_or_else(|error| panic!("{folder}: {error}"));
    let paths = entries.filter_map(|entry| Some(entry.ok()?.path()));
    let mut paths: Vec<_> = paths
        .filter(|path| path.extension().is_some_and(|e| e == extension))
        .collect();
    paths.sort();
    paths
}

/// A call of the compiler that gives what `ptxas` and drivers are to see, whatever flags are set for other crates' kernels.
fn nvcc(path: &Path) -> Command {
    let mut command = Command::new(path);
    command
        .env_remove("NVCC_APPEND_FLAGS")
        .env_remove("NVCC_PREPEND_FLAGS")
        .args(["-std=c++17", "-O3", "-Werror", "all-warnings"]);
    command
}

fn stem(path: &Path) -> &str {
    path.file_stem()
        .and_then(|stem| stem.to_str())
        .expect("kernels have plain names")
}

/// Runs commands, as many at once as cargo allows; a failing one ends the build with what it said.
fn run_all(commands: Vec<Command>) -> Vec<Output> {
    let num_jobs = env::var("NUM_JOBS")
        .ok()
        .and_then(|jobs| jobs.parse().ok())
        .unwrap_or(1);
    let mut outputs: Vec<Option<Output>> = commands.iter().map(|_| None).collect();
    let jobs = Mutex::new(commands.into_iter().zip(&mut outputs));
    thread::scope(|scope| {
        for _ in 0..num_jobs {
            scope.spawn(|| {
                loop {
                    let next = jobs.lock().expect("no job panics with the lock").next();
                    let Some((mut command, output)) = next else {
                        return;
                    };
                    *output = Some(run(&mut command));
                }
            });
        }
    });
    outputs.into_iter().flatten().collect()
}

fn run(command: &mut Command) -> Output {
    let output = command.output().unwrap_or_else(|error| {
        panic!("{command:?}: {error}. kernels/build.rs says what the features need")
    });
    let said = String::from_utf8_lossy(&output.stderr);
    assert!(
        output.status.success(),
        "{command:?}: {}\n{said}",
        output.status
    );
    output
}

/// One library with all kernels for the CPU, which the tests load by the path in `FLAMBEAU_KERNEL_SHIM`. The folder `driver` beside it
/// has it by the name of the driver's library, and the library that speaks of its card by the name of NVML; and by that of cuBLAS one
/// that is empty and needs the driver's, where its functions are found.
fn shim(out: &Path) {
    // As make has it: a program and, maybe, flags.
    let compiler = env::var("CXX").unwrap_or_else(|_| "c++".to_owned());
    let mut words = compiler.split_whitespace();
    let program = words.next().expect("CXX names a compiler");
    let flags: Vec<&str> = words.collect();
    let mut objects = Vec::new();
    let mut commands = Vec::new();
    for source in [
        files("kernels", "cu"),
        files("kernels/shim", "cu"),
        files("kernels/shim", "cpp"),
    ]
    .concat()
    {
        let object = out.join(stem(&source)).with_extension("o");
        let mut command = Command::new(program);
        command.args(&flags);
        command.args(["-std=c++20", "-O2", "-ffp-contract=off", "-fPIC"]);
        command.args([
            "-Wall",
            "-Wextra",
            "-Werror",
            "-Wno-unknown-pragmas",
            "-DKERNEL_SHIM",
            "-Ikernels",
        ]);
        command
            .args(["-x", "c++", "-c"])
            .arg(&source)
            .arg("-o")
            .arg(&object);
        commands.push(command);
        objects.push(object);
    }
    run_all(commands);
    let link = |objects: &[PathBuf], name: &str, library: &Path| {
        run(Command::new(program)
            .args(&flags)
            .args(["-shared", "-Wl,-z,defs"])
            .arg(format!("-Wl,-soname,{name}"))
            .args(objects)
            .arg("-o")
            .arg(library));
    };
    let (management, objects): (Vec<_>, Vec<_>) =
        (objects.into_iter()).partition(|object| stem(object) == "management");
    let library = out.join("libkernel_shim.so");
    link(&objects, "libcuda.so", &library);
    let driver = out.join("driver");
    fs::create_dir_all(&driver).expect("OUT_DIR is there to write to");
    let name = "libnvidia-ml.so.1";
    link(&management, name, &driver.join(name));
    fs::copy(&library, driver.join("libcuda.so")).expect("it was just linked");
    run(Command::new(program)
        .args(&flags)
        .args(["-shared", "-Wl,-soname,libcublas.so", "-Wl,--no-as-needed"])
        .arg(&library)
        .arg("-o")
        .arg(driver.join("libcublas.so")));
    println!("cargo:rustc-env=FLAMBEAU_KERNEL_SHIM={}", library.display());
}

/// What stands for the files' images where the driver is the shim, which has the kernels itself.
fn shim_images(out: &Path) {
    let ptx: Vec<_> = (files("kernels", "cu").into_iter())
        .map(|source| {
            let placeholder = out.join(stem(&source)).with_extension("shim");
            fs::write(&placeholder, format!("shim:{}", stem(&source)))
                .expect("OUT_DIR is there to write to");
            (source, placeholder)
        })
        .collect();
    let ptx: Vec<_> = (ptx.iter())
        .map(|(source, placeholder)| (stem(source), placeholder.clone()))
        .collect();
    let code = images(&[], &ptx).expect("a string takes all that is written");
    fs::write(out.join("images.rs"), code).expect("OUT_DIR is there to write to");
}

/// Compute capabilities that kernels are compiled for.
const ARCHITECTURES: [u32; 5] = [80, 86, 89, 90, 100];

fn cuda(out: &Path) {
    let compiler = env::var_os("CUDA_HOME")
        .map_or_else(|| "nvcc".into(), |home| Path::new(&home).join("bin/nvcc"));
    let sources = files("kernels", "cu");
    let architectures = architectures(&compiler);
    let compile = |source: &Path, image: &Path, flags: &[&str]| {
        let mut command = nvcc(&compiler);
        command.args(flags).arg(source).arg("-o").arg(image);
        command
    };
    let (mut cubins, mut commands) = (Vec::new(), Vec::new());
    for source in &sources {
        for architecture in &architectures {
            let image = out.join(format!("{}.sm_{architecture}.cubin", stem(source)));
            let of = format!("-arch=sm_{architecture}");
            commands.push(compile(source, &image, &["-cubin", "-Xptxas", "-v", &of]));
            cubins.push((stem(source), *architecture, image));
        }
    }
    let outputs = run_all(commands);
    if let Some(path) = env::var_os("FLAMBEAU_KERNEL_RESOURCES") {
        let said = cubins.iter().zip(&outputs);
        let said = said.map(|((_, architecture, _), output)| {
            (*architecture, String::from_utf8_lossy(&output.stderr))
        });
        fs::write(&path, resources(said))
            .unwrap_or_else(|error| panic!("{}: {error}", path.display()));
    }
    // Newer cards compile the PTX of the oldest: it names no instruction that they lack.
    let (commands, ptx): (Vec<_>, Vec<_>) = (sources.iter())
        .map(|source| {
            let image = out.join(stem(source)).with_extension("ptx");
            let command = compile(source, &image, &["-ptx", "-arch=compute_80"]);
            (command, (stem(source), image))
        })
        .unzip();
    run_all(commands);
    let code = images(&cubins, &ptx).expect("a string takes all that is written");
    fs::write(out.join("images.rs"), code).expect("OUT_DIR is there to write to");
}

/// The tables that `backend/cuda` includes.
fn images(
    cubins: &[(&str, u32, PathBuf)],
    ptx: &[(&str, PathBuf)],
) -> Result<String, std::fmt::Error> {
    let mut code = String::new();
    writeln!(
        code,
        "/// Files of kernels for one compute capability (major · 10 + minor) each."
    )?;
    writeln!(code, "static CUBINS: &[(&str, u32, &[u8])] = &[")?;
    for (stem, architecture, image) in cubins {
        writeln!(
            code,
            "    ({stem:?}, {architecture}, include_bytes!({image:?})),"
        )?;
    }
    writeln!(code, "];\n/// The same as text for the driver's compiler.")?;
    writeln!(code, "static PTX: &[(&str, &str)] = &[")?;
    for (stem, image) in ptx {
        writeln!(code, "    ({stem:?}, include_str!({image:?})),")?;
    }
    writeln!(code, "];")?;
    Ok(code)
}

/// Those asked for; else all that this compiler knows.
fn architectures(compiler: &Path) -> Vec<u32> {
    if let Ok(list) = env::var("FLAMBEAU_CUDA_ARCHS") {
        let parse = |name: &str| {
            let known = name
                .trim()
                .parse()
                .ok()
                .filter(|number| ARCHITECTURES.contains(number));
            known.unwrap_or_else(|| {
                panic!("FLAMBEAU_CUDA_ARCHS: {name} is none of {ARCHITECTURES:?}")
            })
        };
        return list.split(',').map(parse).collect();
    }
    let known = nvcc(compiler)
        .arg("--list-gpu-code")
        .output()
        .unwrap_or_else(|error| {
            panic!(
                "{}: {error}. The feature cuda needs nvcc: scripts/cuda_toolchain.sh installs it",
                compiler.display()
            )
        });
    let known = String::from_utf8_lossy(&known.stdout).into_owned();
    let is_known = |number: &u32| {
        known
            .lines()
            .any(|line| line.trim() == format!("sm_{number}"))
    };
    ARCHITECTURES.into_iter().filter(is_known).collect()
}

/// A table of what `ptxas` says of each kernel.
fn resources<S: AsRef<str>>(said: impl Iterator<Item = (u32, S)>) -> String {
    let mut rows = Vec::new();
    for (architecture, said) in said {
        let mut kernel = String::new();
        let mut spills = [0; 2];
        for line in said.as_ref().lines() {
            if let Some((_, rest)) = line.split_once("Compiling entry function '") {
                kernel = rest.split('\'').next().unwrap_or_default().to_owned();
            } else if line.contains("bytes spill stores") {
                let number = |part: &str| {
                    part.split_whitespace()
                        .next()
                        .and_then(|word| word.parse().ok())
                };
                let mut numbers = line.split(',').skip(1).filter_map(number);
                spills = [0; 2].map(|_: u32| numbers.next().unwrap_or_default());
            } else if let Some((_, rest)) = line.split_once("Used ") {
                let number = |unit: &str| -> u32 {
                    let before = rest
                        .split(',')
                        .find_map(|part| part.trim().strip_suffix(unit));
                    before
                        .and_then(|number| number.trim().parse().ok())
                        .unwrap_or_default()
                };
                let [stores, loads] = spills;
                let (registers, shared) = (number("registers"), number("bytes smem"));
                rows.push(format!(
                    "| {kernel} | {architecture} | {registers} | {shared} | {stores} | {loads} |"
                ));
            }
        }
    }
    rows.sort();
    let head = "| kernel | sm | registers | static shared memory, bytes | spill stores, bytes | spill loads, bytes |\n|---|---|---|---|---|---|\n";
    format!("{head}{}\n", rows.join("\n"))
}
