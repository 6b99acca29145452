//! Writes `openapi.json` from the functions' route tables, their handlers' types, the comments above the
//! handlers, and the samples with their recorded answers. `--check` fails instead when the file is not what
//! it would write. `--record <endpoint>` has a running stack answer the samples first.

mod answers;
mod examples;
mod operations;
mod schema;
mod tidy;

use anyhow::{Context, Result, bail};
use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use syn::{Attribute, Expr, ExprLit, Item, Lit, Meta};

fn main() -> Result<()> {
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("../..");
    let comments = handler_comments(&root.join("functions"))?;
    let mut document = web::document()
        .with(admin_function::routes())
        .with(approvals_function::routes())
        .with(auth_function::routes())
        .with(contacts_function::routes())
        .with(me_function::routes())
        .with(messaging_function::routes())
        .with(webhooks_function::routes())
        .finish(|handler| comments.get(handler).cloned());
    let samples = demo::samples::all()?;
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    if let [flag, endpoint] = &arguments[..]
        && flag == "--record"
    {
        answers::record(&root, &document, &samples, endpoint)?;
    }
    let problems = examples::add(&mut document, &samples, &answers::load(&root)?);
    let text = format!("{}\n", serde_json::to_string_pretty(&document)?);
    let file = root.join("openapi.json");
    let is_check = arguments.iter().any(|argument| argument == "--check");
    if !is_check {
        std::fs::write(&file, &text)?;
    }
    if !problems.is_empty() {
        bail!(
            "examples of openapi.json are missing or wrong: `cargo xtask openapi --record` records the \
             answers to the samples, and what no sample can be answered is written by hand \
             (docs/adding-an-endpoint.md):\n{}",
            problems.join("\n")
        );
    }
    if is_check && std::fs::read_to_string(&file)? != text {
        bail!("openapi.json is not what the routes say; run `cargo xtask openapi` and commit it");
    }
    Ok(())
}

/// The comment above every function of the functions' crates, by its path: `crate::module::name`.
fn handler_comments(functions: &Path) -> Result<BTreeMap<String, String>> {
    let mut comments = BTreeMap::new();
    for function in std::fs::read_dir(functions)? {
        let function = function?;
        let crate_name = format!(
            "{}_function",
            function.file_name().to_string_lossy().replace('-', "_")
        );
        for file in rust_files(&function.path().join("src"))? {
            let source = std::fs::read_to_string(&file)?;
            let parsed = syn::parse_file(&source).with_context(|| file.display().to_string())?;
            let module = module_path(&function.path().join("src"), &file);
            for item in parsed.items {
                if let Item::Fn(item) = item {
                    comments.insert(
                        format!("{crate_name}{module}::{}", item.sig.ident),
                        comment(&item.attrs),
                    );
                }
            }
        }
    }
    Ok(comments)
}

fn rust_files(dir: &Path) -> Result<Vec<PathBuf>> {
    let mut files = Vec::new();
    for entry in std::fs::read_dir(dir)? {
        let path = entry?.path();
        if path.is_dir() {
            files.extend(rust_files(&path)?);
        } else if path.extension().is_some_and(|extension| extension == "rs") {
            files.push(path);
        }
    }
    Ok(files)
}

/// `::contact` for `contact.rs`, nothing for `lib.rs`.
fn module_path(src: &Path, file: &Path) -> String {
    let relative = file.strip_prefix(src).unwrap_or(file).with_extension("");
    let parts = relative.iter().map(|part| part.to_string_lossy().into_owned());
    let names = parts.filter(|part| part != "lib" && part != "mod");
    names.fold(String::new(), |path, part| path + "::" + &part)
}

fn comment(attributes: &[Attribute]) -> String {
    let lines = attributes.iter().filter_map(|attribute| match &attribute.meta {
        Meta::NameValue(pair) if pair.path.is_ident("doc") => match &pair.value {
            Expr::Lit(ExprLit {
                lit: Lit::Str(text), ..
            }) => Some(text.value().trim().to_owned()),
            _ => None,
        },
        _ => None,
    });
    lines.collect::<Vec<_>>().join("\n")
}
