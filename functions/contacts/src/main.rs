//! The contacts function.

#[tokio::main(flavor = "current_thread")]
async fn main() -> Result<(), lambda_http::Error> {
    telemetry::init();
    web::run(
        contacts_function::App::from_environment(),
        contacts_function::routes,
    )
    .await
}
