//! The approvals function.

#[tokio::main(flavor = "current_thread")]
async fn main() -> Result<(), lambda_http::Error> {
    telemetry::init();
    web::run(
        approvals_function::App::from_environment(),
        approvals_function::routes,
    )
    .await
}
