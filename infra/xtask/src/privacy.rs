//! Searches the logs of the whole suite for what must never be in one.

use std::path::Path;

use anyhow::{Result, bail};

/// What the tests' people, numbers, addresses, passwords, tokens and messages look like.
const PERSONAL: [&str; 19] = [
    "@example.com",
    "+2010",
    "\"2010",
    "2010012345",
    "+1415523",
    "Mona",
    "Salma",
    "Basma",
    "violet tram lantern",
    "Bearer ",
    "m3r_",
    "m3l_",
    "m3c_",
    "otpauth://",
    "eyJ",
    "EAAG-",
    "app-secret",
    "twilio-token",
    "global-verify",
];

/// Fails naming the lines that hold any of it.
pub fn search(logs: &Path) -> Result<String> {
    let mut lines = 0;
    let mut found = Vec::new();
    for entry in std::fs::read_dir(logs)?.flatten() {
        let text = std::fs::read_to_string(entry.path())?;
        for line in text.lines() {
            lines += 1;
            if let Some(what) = PERSONAL.iter().find(|what| line.contains(**what)) {
                found.push(format!("{what}: {line}"));
            }
        }
    }
    if lines == 0 {
        bail!("the suite logged nothing, so nothing was searched");
    }
    if found.is_empty() {
        return Ok(format!("{lines} lines of the suite's logs hold nobody's data"));
    }
    found.truncate(10);
    bail!("personal data in the logs:\n{}", found.join("\n"));
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_name_in_a_line_is_found_and_an_id_is_not() {
        let folder = std::env::temp_dir().join(format!("m3-privacy-{}", std::process::id()));
        std::fs::create_dir_all(&folder).unwrap();
        let write = |text: &str| std::fs::write(folder.join("a.log"), text).unwrap();
        write("");
        assert!(search(&folder).is_err());
        write("{\"tenant_id\":\"01a1fef2-51fd-7377-a941-ae92802c052a\",\"status\":200}\n");
        assert!(search(&folder).is_ok());
        write("{\"status\":200}\n{\"to\":\"+201001234567\"}\n");
        assert!(search(&folder).unwrap_err().to_string().contains("+2010"));
        std::fs::remove_dir_all(&folder).unwrap();
    }
}
