//! The outbound-message-sender function.

#[tokio::main(flavor = "current_thread")]
async fn main() -> Result<(), worker::Error> {
    telemetry::init();
    let app = outbound_message_sender_function::App::from_environment().await?;
    worker::run_batches(outbound_message_sender_function::NAME, async |message| {
        app.handle(message).await
    })
    .await
}
