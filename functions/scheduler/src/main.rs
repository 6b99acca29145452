//! The scheduler function.

#[tokio::main(flavor = "current_thread")]
async fn main() -> Result<(), worker::Error> {
    telemetry::init();
    let app = scheduler_function::App::from_environment().await?;
    worker::run_schedule(scheduler_function::NAME, async |task| app.handle(task).await).await
}
