//! The outbox-relay function.

#[tokio::main(flavor = "current_thread")]
async fn main() -> Result<(), worker::Error> {
    telemetry::init();
    let app = outbox_relay_function::App::from_environment().await?;
    let on_message = async |message| app.handle(message).await;
    worker::run_either(outbox_relay_function::NAME, on_message, async |task| {
        app.sweep(task).await
    })
    .await
}
