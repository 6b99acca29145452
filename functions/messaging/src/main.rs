//! The messaging function.

#[tokio::main(flavor = "current_thread")]
async fn main() -> Result<(), lambda_http::Error> {
    telemetry::init();
    web::run(
        messaging_function::App::from_environment(),
        messaging_function::routes,
    )
    .await
}
