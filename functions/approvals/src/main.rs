//! The approvals function.

#[tokio::main(flavor = "current_thread")]
async fn main() -> Result<(), lambda_http::Error> {
    telemetry::init();
    let app = approvals_function::App::from_environment().await?;
    web::run(approvals_function::routes().into_service(app)).await
}
