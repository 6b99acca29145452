//! Writes `openapi.json` from the functions' route tables, their handlers' types and the comments
//! above the handlers. `--check` fails instead when the file is not what it would write.

use anyhow::{Context, Result, bail};
use serde_json::Value;
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
    add_examples(&mut document)?;
    let text = format!("{}\n", serde_json::to_string_pretty(&document)?);
    let file = root.join("openapi.json");
    if std::env::args().any(|argument| argument == "--check") {
        if std::fs::read_to_string(&file)? != text {
            bail!("openapi.json is not what the routes say; run `cargo xtask openapi` and commit it");
        }
    } else {
        std::fs::write(&file, text)?;
    }
    Ok(())
}

/// Shows with every body what the sample event of its endpoint sends.
fn add_examples(document: &mut Value) -> Result<()> {
    let samples = demo::samples::all()?;
    let paths = document["paths"].as_object_mut().context("paths")?;
    for (path, operations) in paths {
        for (method, operation) in operations.as_object_mut().into_iter().flatten() {
            let body = operation.pointer_mut("/requestBody/content/application~1json");
            let Some(body) = body else { continue };
            body["example"] = demo::samples::example(&samples, method, path)
                .with_context(|| format!("no sample in infra/demo sends a body to {method} {path}"))?;
        }
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
