//! The inbound-message-processor function.

#[tokio::main(flavor = "current_thread")]
async fn main() -> Result<(), worker::Error> {
    telemetry::init();
    let app = inbound_message_processor_function::App::from_environment().await?;
    worker::run_batches(inbound_message_processor_function::NAME, async |message| {
        app.handle(message).await
    })
    .await
}
