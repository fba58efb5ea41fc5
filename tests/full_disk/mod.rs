//! The program where there is no more room: a limit of the size of files stands for a full file system.

use std::process::Command;

/// The program, to which writing more than `blocks` of 512 bytes to a file is an error.
pub fn flambeau(blocks: &str) -> Command {
    // The signal is ignored, which leaves an error of the write, as a full disk gives one.
    let script = r#"trap '' XFSZ; ulimit -f "$0" && exec "$@""#;
    let mut command = Command::new("sh");
    command.args(["-c", script, blocks, env!("CARGO_BIN_EXE_flambeau")]);
    command
}
