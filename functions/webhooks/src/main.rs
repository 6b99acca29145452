//! The webhooks function.

#[tokio::main(flavor = "current_thread")]
async fn main() -> Result<(), lambda_http::Error> {
    telemetry::init();
    web::run(
        webhooks_function::App::from_environment(),
        webhooks_function::routes,
    )
    .await
}
