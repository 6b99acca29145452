//! The migrator function.

#[tokio::main(flavor = "current_thread")]
async fn main() -> Result<(), lambda_runtime::Error> {
    telemetry::init();
    worker::run_once("migrator", migrator_function::handle).await
}
