//! `fake-providers [--port N]`: the fake providers as a process of the local stack. Prints its URL.

use testkit::fake_providers::FakeProviders;

#[tokio::main]
async fn main() -> std::io::Result<()> {
    let (url, handle) = FakeProviders::start(port()?).await?;
    #[expect(
        clippy::print_stdout,
        reason = "a tool for people and for xtask, which reads this line"
    )]
    {
        println!("{url}");
    }
    handle.wait().await;
    Ok(())
}

/// 0, any free one, unless given.
fn port() -> std::io::Result<u16> {
    let mut arguments = std::env::args().skip(1);
    match (arguments.next().as_deref(), arguments.next(), arguments.next()) {
        (None, None, None) => Ok(0),
        (Some("--port"), Some(port), None) => port.parse().map_err(std::io::Error::other),
        _ => Err(std::io::Error::other("usage: fake-providers [--port N]")),
    }
}
