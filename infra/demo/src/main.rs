//! `demo seed` puts the demo tenant's fixed rows into the database whose administrator's URL comes on
//! standard input. `demo events [--check]` writes events/, or says whether it is what it would write.

use anyhow::{Context, Result, bail};
use demo::samples;
use std::path::Path;

#[tokio::main(flavor = "current_thread")]
async fn main() -> Result<()> {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("../..");
    match arguments.iter().map(String::as_str).collect::<Vec<_>>()[..] {
        ["seed"] => {
            let url = std::io::read_to_string(std::io::stdin())?;
            demo::seed(url.trim()).await.context("the demo tenant's rows")
        }
        ["events"] => samples::write(&root),
        ["events", "--check"] => samples::check(&root),
        _ => bail!("demo seed | demo events [--check]"),
    }
}
