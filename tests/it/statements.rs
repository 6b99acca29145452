//! Every statement in the source is one that the migrated schema takes, and every list is answered
//! from an index that starts with the tenant.

mod lists;

use crate::support::World;
use proc_macro2::{TokenStream, TokenTree};
use std::path::{Path, PathBuf};
use std::str::FromStr;

/// Literals are prepared one by one. Of a text that a macro puts together from several, only the parts that
/// are statements by themselves are: whole, it is prepared by the tests that run it, and lists in [`lists`].
#[tokio::test]
async fn every_statement_prepares() {
    let world = World::new().await;
    let admin = world.admin_sql().await;
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("..");
    let mut statements = Vec::new();
    for folder in ["shared/domain", "shared/platform/db/src", "functions"] {
        for file in sources(&root.join(folder)) {
            let source = std::fs::read_to_string(&file).unwrap();
            literals(TokenStream::from_str(&source).unwrap(), &mut |text| {
                if is_statement(&text) {
                    statements.push((file.clone(), text));
                }
            });
        }
    }
    assert!(
        statements.len() > 30,
        "only {} statements were found",
        statements.len()
    );
    for (file, statement) in statements {
        let prepared = admin.prepare(&statement).await;
        assert!(
            prepared.is_ok(),
            "{}: {statement}\n{:?}",
            file.display(),
            prepared.err()
        );
    }
}

fn is_statement(text: &str) -> bool {
    let text = text.trim_start();
    let starts = ["SELECT ", "INSERT INTO ", "UPDATE ", "DELETE FROM ", "WITH "];
    starts.iter().any(|start| text.starts_with(start)) && !text.contains("{}")
}

fn sources(folder: &Path) -> Vec<PathBuf> {
    let entries = std::fs::read_dir(folder)
        .unwrap()
        .map(|entry| entry.unwrap().path());
    entries
        .flat_map(|path| match path.is_dir() {
            true if path.ends_with("tests") => Vec::new(),
            true => sources(&path),
            false => Some(path)
                .filter(|path| path.extension().is_some_and(|end| end == "rs"))
                .into_iter()
                .collect(),
        })
        .collect()
}

fn literals(tokens: TokenStream, found: &mut impl FnMut(String)) {
    for token in tokens {
        match token {
            TokenTree::Group(group) => literals(group.stream(), found),
            TokenTree::Literal(literal) => {
                if let Ok(text) = syn::parse_str::<syn::LitStr>(&literal.to_string()) {
                    found(text.value());
                }
            }
            TokenTree::Ident(_) | TokenTree::Punct(_) => {}
        }
    }
}
