//! The `hsm` binary: hands the command line to [`hsm::cli`] and exits with the
//! code it returns. Everything else is in the library.

fn main() -> std::process::ExitCode {
    hsm::cli::run(std::env::args_os()).into()
}
