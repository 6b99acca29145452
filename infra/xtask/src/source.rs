//! The project's own source, read as tokens.

use std::fs;
use std::path::{Path, PathBuf};
use std::str::FromStr;

use anyhow::{Context, Result, anyhow};
use proc_macro2::{Literal, TokenStream};

/// The Rust files below a folder, in the order of their paths.
pub fn files(folder: &Path) -> Result<Vec<PathBuf>> {
    let mut found = Vec::new();
    let entries = fs::read_dir(folder).with_context(|| format!("cannot read {}", folder.display()))?;
    for entry in entries {
        let path = entry?.path();
        if path.is_dir() {
            found.extend(files(&path)?);
        } else if path.extension().is_some_and(|end| end == "rs") {
            found.push(path);
        }
    }
    found.sort();
    Ok(found)
}

/// What a file holds.
pub fn tokens(file: &Path) -> Result<TokenStream> {
    let text = fs::read_to_string(file).with_context(|| format!("cannot read {}", file.display()))?;
    TokenStream::from_str(&text).map_err(|error| anyhow!("{}: {error}", file.display()))
}

/// What a string literal says; `None` of every other literal.
pub fn string(literal: &Literal) -> Option<String> {
    let string: syn::LitStr = syn::parse_str(&literal.to_string()).ok()?;
    Some(string.value())
}
