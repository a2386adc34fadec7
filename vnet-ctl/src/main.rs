//! The command `vnetctl`; everything it does is in the library.

use std::process::ExitCode;

#[tokio::main(flavor = "current_thread")]
async fn main() -> ExitCode {
    vnet_ctl::cli::run().await.into()
}
