//! A Postgres server and how its administrator reaches it.

use std::str::FromStr;
use std::time::Duration;

use anyhow::{Context, Result};
use postgres::config::{Host, SslMode};
use postgres::{Client, Config, NoTls};

use crate::paths::env;

/// A running server, by how an administrator reaches it.
pub struct Server {
    pub admin: Config,
    /// For the eye: where it comes from.
    pub origin: String,
}

impl Server {
    /// The administrator's URL of a database on this server.
    pub fn admin_url(&self, database: &str) -> String {
        let password = self
            .admin
            .get_password()
            .map(String::from_utf8_lossy)
            .unwrap_or_default();
        self.url(self.admin.get_user().unwrap_or("postgres"), &password, database)
    }

    /// A URL of a database on this server for `user`.
    pub fn url(&self, user: &str, password: &str, database: &str) -> String {
        let secret = if password.is_empty() {
            String::new()
        } else {
            format!(":{}", percent(password))
        };
        let tls = if self.tls() { "?sslmode=require" } else { "" };
        format!(
            "postgres://{}{secret}@{}:{}/{database}{tls}",
            percent(user),
            self.host(),
            self.port()
        )
    }

    pub fn host(&self) -> String {
        match self.admin.get_hosts().first() {
            Some(Host::Tcp(name)) => name.clone(),
            _ => "127.0.0.1".to_owned(),
        }
    }

    pub fn port(&self) -> u16 {
        self.admin.get_ports().first().copied().unwrap_or(5432)
    }

    /// Whether functions have to speak TLS to it.
    pub fn tls(&self) -> bool {
        self.admin.get_ssl_mode() == SslMode::Require
    }

    /// A connection to `database` as the administrator.
    pub fn connect(&self, database: &str) -> Result<Client> {
        let mut config = self.admin.clone();
        config.dbname(database).connect_timeout(Duration::from_secs(5));
        config
            .connect(NoTls)
            .with_context(|| format!("cannot connect to {database} on {}:{}", self.host(), self.port()))
    }

    /// Creates the database unless it is there.
    pub fn ensure_database(&self, name: &str) -> Result<()> {
        let mut client = self.connect(self.admin.get_dbname().unwrap_or("postgres"))?;
        if client
            .query_opt("SELECT 1 FROM pg_database WHERE datname = $1", &[&name])?
            .is_none()
        {
            client.batch_execute(&format!("CREATE DATABASE \"{name}\""))?;
        }
        Ok(())
    }

    /// Drops the database and ends whoever is in it.
    pub fn drop_database(&self, name: &str) -> Result<()> {
        let mut client = self.connect(self.admin.get_dbname().unwrap_or("postgres"))?;
        Ok(client.batch_execute(&format!("DROP DATABASE IF EXISTS \"{name}\" WITH (FORCE)"))?)
    }
}

/// The developer's own server, when `DATABASE_URL` names one.
pub fn external() -> Result<Option<Server>> {
    let Some(url) = env("DATABASE_URL") else {
        return Ok(None);
    };
    let admin = Config::from_str(&url).context("DATABASE_URL is not a Postgres URL")?;
    Ok(Some(Server {
        admin,
        origin: "DATABASE_URL".to_owned(),
    }))
}

/// Percent-encodes what a URL's user or password may not hold as it is.
fn percent(text: &str) -> String {
    text.bytes()
        .map(|b| {
            if b.is_ascii_alphanumeric() || b"-._~".contains(&b) {
                char::from(b).to_string()
            } else {
                format!("%{b:02X}")
            }
        })
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_url_keeps_a_password_with_reserved_characters() {
        let admin =
            Config::from_str("postgres://boss:p%40ss%2Fword@db.example:6543/main?sslmode=require").unwrap();
        let server = Server {
            admin,
            origin: String::new(),
        };
        let url = server.admin_url("m3_local");
        assert_eq!(
            url,
            "postgres://boss:p%40ss%2Fword@db.example:6543/m3_local?sslmode=require"
        );
        assert_eq!(
            Config::from_str(&url).unwrap().get_password(),
            Some(&b"p@ss/word"[..])
        );
    }
}
